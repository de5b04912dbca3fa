// lmdb: tables. Opened without LMDB's own locks: a file is never changed in place by us, but
// replaced, so a reader has a stable one for as long as it keeps it open.

#include <fmt/format.h>
#include <lmdb.h>

#include <cerrno>
#include <utility>

#include "common/table/key_order.h"
#include "common/table/table.h"
#include "common/table/trailing_nul.h"
#include "common/table/types.h"

namespace postern::table {

namespace {

struct CloseEnv {
  void operator()(MDB_env* env) const { ::mdb_env_close(env); }
};
struct AbortTxn {
  void operator()(MDB_txn* txn) const { ::mdb_txn_abort(txn); }
};
struct CloseCursor {
  void operator()(MDB_cursor* cursor) const { ::mdb_cursor_close(cursor); }
};

std::string_view view(const MDB_val& value) {
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}

class LmdbTable final : public StoredTable {
 public:
  LmdbTable(std::string_view name, bool fold_keys) : StoredTable("lmdb", name, fold_keys) {}

  Result<void> open(const std::string& path) {
    watch(path);
    MDB_env* env = nullptr;
    if (const int status = ::mdb_env_create(&env); status != 0) {
      return open_error(path, ::mdb_strerror(status));
    }
    env_.reset(env);
    constexpr unsigned kFlags = MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS;
    if (const int status = ::mdb_env_open(env, path.c_str(), kFlags, 0); status != 0) {
      return open_error(path, ::mdb_strerror(status));
    }
    max_key_ = static_cast<std::size_t>(::mdb_env_get_maxkeysize(env));
    TRY(const auto txn, begin("open"));
    if (const int status = ::mdb_dbi_open(txn.get(), nullptr, 0, &dbi_); status != 0) {
      return open_error(path, ::mdb_strerror(status));
    }
    return {};
  }

  [[nodiscard]] bool is_faster_in_batches() const override { return true; }

  Result<void> for_each(const Visit& visit) override {
    TRY(const auto txn, begin("list"));
    MDB_cursor* raw = nullptr;
    if (const int status = ::mdb_cursor_open(txn.get(), dbi_, &raw); status != 0) {
      return failed("list", status);
    }
    const std::unique_ptr<MDB_cursor, CloseCursor> cursor(raw);
    for (;;) {
      MDB_val key{};
      MDB_val value{};
      const int status = ::mdb_cursor_get(cursor.get(), &key, &value, MDB_NEXT);
      if (status == MDB_NOTFOUND) return {};
      if (status != 0) return failed("list", status);
      if (!visit(without_nul(view(key)), without_nul(view(value)))) return {};
    }
  }

 private:
  using Txn = std::unique_ptr<MDB_txn, AbortTxn>;

  [[nodiscard]] Result<Txn> begin(std::string_view doing) {
    MDB_txn* txn = nullptr;
    const int status = ::mdb_txn_begin(env_.get(), nullptr, MDB_RDONLY, &txn);
    if (status != 0) return failed(doing, status);
    return Txn(txn);
  }

  [[nodiscard]] std::unexpected<Error> failed(std::string_view doing, int status) const {
    return error(doing, ::mdb_strerror(status));
  }

  Result<bool> do_find_into(std::string_view key, std::string& value) override {
    DO(renew());
    const Reset reset(reader_.get());
    return nul_style_.find(key, [&](std::string_view stored) -> Result<bool> {
      // Longer keys and empty ones cannot be in the file.
      if (stored.empty() || stored.size() > max_key_) return false;
      MDB_val name{stored.size(), const_cast<char*>(stored.data())};
      MDB_val bytes{};
      const int status = ::mdb_get(reader_.get(), dbi_, &name, &bytes);
      if (status == MDB_NOTFOUND) return false;
      if (status != 0) return failed("read", status);
      value = without_nul(view(bytes));
      return true;
    });
  }

  // In the order of the keys: what one look-up has brought into the cache serves the next one.
  Result<void> do_find_each(std::span<const std::string_view> keys,
                            const FoundOne& found) override {
    DO(renew());
    const Reset reset(reader_.get());
    MDB_cursor* raw = nullptr;
    if (const int status = ::mdb_cursor_open(reader_.get(), dbi_, &raw); status != 0) {
      return failed("read", status);
    }
    const std::unique_ptr<MDB_cursor, CloseCursor> cursor(raw);
    for (const std::size_t index : order_of(keys)) {
      DO(nul_style_.find(keys[index], [&](std::string_view stored) -> Result<bool> {
        if (stored.empty() || stored.size() > max_key_) return false;
        MDB_val name{stored.size(), const_cast<char*>(stored.data())};
        MDB_val bytes{};
        const int status = ::mdb_cursor_get(raw, &name, &bytes, MDB_SET);
        if (status == MDB_NOTFOUND) return false;
        if (status != 0) return failed("read", status);
        found(index, without_nul(view(bytes)));
        return true;
      }));
    }
    return {};
  }

  // One transaction for all look-ups, begun anew for each: another program may write to the file.
  [[nodiscard]] Result<void> renew() {
    if (reader_ == nullptr) {
      TRY(reader_, begin("read"));
      return {};
    }
    if (const int status = ::mdb_txn_renew(reader_.get()); status != 0) {
      reader_.reset();
      return failed("read", status);
    }
    return {};
  }
  struct Reset {
    explicit Reset(MDB_txn* reader) : txn(reader) {}
    Reset(const Reset&) = delete;
    Reset& operator=(const Reset&) = delete;
    ~Reset() { ::mdb_txn_reset(txn); }
    MDB_txn* txn;
  };

  std::unique_ptr<MDB_env, CloseEnv> env_;
  Txn reader_;  // ends before env_
  MDB_dbi dbi_ = 0;
  std::size_t max_key_ = 0;
  TrailingNul nul_style_;
};

}  // namespace

OpenedTable open_lmdb(std::string_view name, const OpenOptions& options) {
  auto table = std::make_unique<LmdbTable>(name, options.fold_keys);
  DO(table->open(fmt::format("{}.lmdb", name)));
  return table;
}

}  // namespace postern::table
