// cdb: tables, read through tinycdb, which checks every offset against the mapped size.

#include <cdb.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>

#include "common/sys/fd.h"
#include "common/table/table.h"
#include "common/table/trailing_nul.h"
#include "common/table/types.h"

namespace postern::table {

namespace {

class CdbTable final : public Table {
 public:
  CdbTable(std::string_view name, bool fold_keys) : Table("cdb", name, fold_keys) {}
  ~CdbTable() override {
    if (mapped_) ::cdb_free(&cdb_);
  }

  Result<void> open(const std::string& path) {
    watch(path);
    fd_ = sys::Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd_) return open_error(path, sys::errno_text(errno));
    if (::cdb_init(&cdb_, fd_.get()) != 0) return open_error(path, sys::errno_text(errno));
    mapped_ = true;
    return {};
  }

  Result<void> for_each(const Visit& visit) override {
    unsigned position = 0;
    cdb_seqinit(&position, &cdb_);
    for (;;) {
      const int status = ::cdb_seqnext(&position, &cdb_);
      if (status < 0) return error("list", sys::errno_text(errno));
      if (status == 0) return {};
      TRY(const auto key, bytes_at(cdb_keypos(&cdb_), cdb_keylen(&cdb_)));
      TRY(const auto value, bytes_at(cdb_datapos(&cdb_), cdb_datalen(&cdb_)));
      if (!visit(without_nul(key), without_nul(value))) return {};
    }
  }

 private:
  // A view into the mapped file.
  [[nodiscard]] Result<std::string_view> bytes_at(unsigned position, unsigned length) {
    const void* bytes = ::cdb_get(&cdb_, length, position);
    if (bytes == nullptr) return error("read", "file is damaged");
    return std::string_view(static_cast<const char*>(bytes), length);
  }

  Found do_find(std::string_view key) override {
    return nul_style_.find(key, [&](std::string_view stored) -> Found {
      const int status = ::cdb_find(&cdb_, stored.data(), static_cast<unsigned>(stored.size()));
      if (status < 0) return error("read", sys::errno_text(errno));
      if (status == 0) return std::nullopt;
      TRY(const auto value, bytes_at(cdb_datapos(&cdb_), cdb_datalen(&cdb_)));
      return std::string(without_nul(value));
    });
  }

  sys::Fd fd_;
  struct ::cdb cdb_{};
  bool mapped_ = false;
  TrailingNul nul_style_;
};

}  // namespace

OpenedTable open_cdb(std::string_view name, const OpenOptions& options) {
  auto table = std::make_unique<CdbTable>(name, options.fold_keys);
  DO(table->open(fmt::format("{}.cdb", name)));
  return table;
}

}  // namespace postern::table
