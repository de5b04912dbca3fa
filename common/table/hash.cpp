// hash: and btree: tables, files of Berkeley DB 5.3.

#include <db.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "common/table/table.h"
#include "common/table/trailing_nul.h"
#include "common/table/types.h"

namespace postern::table {

namespace {

struct CloseDb {
  void operator()(DB* db) const { db->close(db, 0); }
};
struct CloseCursor {
  void operator()(DBC* cursor) const { cursor->close(cursor); }
};

DBT make_dbt(std::string_view bytes) {
  DBT dbt{};
  // libdb takes void* for keys that it only reads.
  dbt.data = const_cast<char*>(bytes.data());
  dbt.size = static_cast<u_int32_t>(bytes.size());
  return dbt;
}

std::string_view view(const DBT& dbt) { return {static_cast<const char*>(dbt.data), dbt.size}; }

class DbTable final : public StoredTable {
 public:
  DbTable(std::string_view type, std::string_view name, bool fold_keys)
      : StoredTable(type, name, fold_keys) {}

  Result<void> open(DBTYPE type, const std::string& path, const OpenOptions& options) {
    watch(path);
    DB* db = nullptr;
    if (const int status = ::db_create(&db, nullptr, 0); status != 0) {
      return open_error(path, ::db_strerror(status));
    }
    db_.reset(db);
    db->set_errcall(db, [](const DB_ENV*, const char*, const char*) {});
    const auto cache = static_cast<u_int32_t>(options.db_cache_size);
    int status = db->set_cachesize(db, 0, cache, 0);
    if (status == 0) status = db->open(db, nullptr, path.c_str(), nullptr, type, DB_RDONLY, 0);
    if (status != 0) return open_error(path, ::db_strerror(status));
    return {};
  }

  Result<void> for_each(const Visit& visit) override {
    DBC* raw = nullptr;
    if (const int status = db_->cursor(db_.get(), nullptr, &raw, 0); status != 0) {
      return error("list", ::db_strerror(status));
    }
    const std::unique_ptr<DBC, CloseCursor> cursor(raw);
    for (;;) {
      DBT key{};
      DBT value{};
      const int status = cursor->get(cursor.get(), &key, &value, DB_NEXT);
      if (status == DB_NOTFOUND) return {};
      if (status != 0) return error("list", ::db_strerror(status));
      if (!visit(without_nul(view(key)), without_nul(view(value)))) return {};
    }
  }

 private:
  Result<bool> do_find_into(std::string_view key, std::string& value) override {
    return nul_style_.find(key, [&](std::string_view stored) -> Result<bool> {
      DBT dbt = make_dbt(stored);
      DBT bytes{};
      const int status = db_->get(db_.get(), nullptr, &dbt, &bytes, 0);
      if (status == DB_NOTFOUND) return false;
      if (status != 0) return error("read", ::db_strerror(status));
      value = without_nul(view(bytes));
      return true;
    });
  }

  std::unique_ptr<DB, CloseDb> db_;
  TrailingNul nul_style_;
};

OpenedTable open_db(std::string_view type_name, DBTYPE type, std::string_view name,
                    const OpenOptions& options) {
  auto table = std::make_unique<DbTable>(type_name, name, options.fold_keys);
  DO(table->open(type, fmt::format("{}.db", name), options));
  return table;
}

}  // namespace

OpenedTable open_hash(std::string_view name, const OpenOptions& options) {
  return open_db("hash", DB_HASH, name, options);
}

OpenedTable open_btree(std::string_view name, const OpenOptions& options) {
  return open_db("btree", DB_BTREE, name, options);
}

}  // namespace postern::table
