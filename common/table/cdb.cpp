// cdb: tables, read through tinycdb, which checks every offset against the mapped size.

#include <cdb.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

#include "common/sys/fd.h"
#include "common/table/table.h"
#include "common/table/trailing_nul.h"
#include "common/table/types.h"

namespace postern::table {

namespace {

class CdbTable final : public StoredTable {
 public:
  CdbTable(std::string_view name, bool fold_keys) : StoredTable("cdb", name, fold_keys) {}
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

  [[nodiscard]] bool is_faster_in_batches() const override { return true; }

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

  Result<bool> do_find_into(std::string_view key, std::string& value) override {
    return nul_style_.find(key, [&](std::string_view stored) -> Result<bool> {
      const int status = ::cdb_find(&cdb_, stored.data(), static_cast<unsigned>(stored.size()));
      if (status < 0) return error("read", sys::errno_text(errno));
      if (status == 0) return false;
      TRY(const auto bytes, bytes_at(cdb_datapos(&cdb_), cdb_datalen(&cdb_)));
      value = without_nul(bytes);
      return true;
    });
  }

  // Each look-up is two visits to memory that is in no cache, one behind the other. So those of
  // some keys are made ready together.
  Result<void> do_find_each(std::span<const std::string_view> keys,
                            const FoundOne& found) override {
    std::string value;
    std::array<Probe, kTogether> probes{};
    for (std::size_t begin = 0; begin < keys.size(); begin += kTogether) {
      const auto some = keys.subspan(begin, std::min(kTogether, keys.size() - begin));
      for (std::size_t i = 0; i < some.size(); ++i) probes[i] = ask_for_slot(some[i]);
      for (std::size_t i = 0; i < some.size(); ++i) ask_for_record(probes[i]);
      for (std::size_t i = 0; i < some.size(); ++i) {
        TRY(const bool is_found, do_find_into(some[i], value));
        if (is_found) found(begin + i, value);
      }
    }
    return {};
  }

  // The format is in cdb(5): 256 hash tables with slots of a hash and a position; whatever has
  // another hash is passed over, up to an empty slot. What is wrong here costs time only: tinycdb
  // looks again.
  struct Probe {
    unsigned hash = 0;
    const char* slot = nullptr;  // nullptr: there is nothing to ask for
    const char* end = nullptr;   // of the table
  };
  [[nodiscard]] Probe ask_for_slot(std::string_view key) {
    Probe probe;
    if (nul_style_.is_with_nul()) {
      stored_ = key;
      stored_ += '\0';
      key = stored_;
    }
    probe.hash = ::cdb_hash(key.data(), static_cast<unsigned>(key.size()));
    const char* const table = bytes_or_null(probe.hash % 256 * kSlot, kSlot);
    if (table == nullptr) return probe;
    const unsigned slots = number_at(table + 4);
    if (slots == 0 || slots > kMaxSlots) return probe;
    const char* const first = bytes_or_null(number_at(table), slots * kSlot);
    if (first == nullptr) return probe;
    probe.slot = first + probe.hash / 256 % slots * kSlot;
    probe.end = first + slots * kSlot;
    __builtin_prefetch(probe.slot);
    return probe;
  }
  void ask_for_record(const Probe& probe) {
    if (probe.slot == nullptr) return;
    for (const char* slot = probe.slot; slot != probe.end; slot += kSlot) {
      const unsigned position = number_at(slot + 4);
      if (position == 0) return;
      if (number_at(slot) != probe.hash) continue;
      const char* const record = bytes_or_null(position, 1);
      if (record == nullptr) return;
      __builtin_prefetch(record);
      __builtin_prefetch(record + kCacheLine);
      return;
    }
  }
  [[nodiscard]] const char* bytes_or_null(unsigned position, unsigned length) {
    return static_cast<const char*>(::cdb_get(&cdb_, length, position));
  }
  [[nodiscard]] static unsigned number_at(const char* bytes) {
    return ::cdb_unpack(static_cast<const unsigned char*>(static_cast<const void*>(bytes)));
  }

  static constexpr std::size_t kTogether = 32;
  static constexpr std::size_t kCacheLine = 64;
  static constexpr unsigned kSlot = 8;
  static constexpr unsigned kMaxSlots = std::numeric_limits<unsigned>::max() / kSlot;

  std::string stored_;
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
