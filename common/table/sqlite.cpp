// sqlite:file - one query to a local data base file; sqlite_table(5).

#include <fmt/format.h>
#include <sqlite3.h>

#include <memory>
#include <utility>

#include "common/base/text.h"
#include "common/table/database.h"

namespace postern::table {

namespace {

// A writer holds its lock for moments. Longer, and mail waits better than this process does.
constexpr int kBusyMilliseconds = 1000;

struct CloseDatabase {
  void operator()(sqlite3* database) const { ::sqlite3_close(database); }
};
struct Finalize {
  void operator()(sqlite3_stmt* statement) const { ::sqlite3_finalize(statement); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;
using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

std::string quote_sql(std::string_view text) { return replace_all(text, "'", "''"); }

Result<Database> open_database(const std::string& path) {
  sqlite3* raw = nullptr;
  constexpr int kFlags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX;
  const int status = ::sqlite3_open_v2(path.c_str(), &raw, kFlags, nullptr);
  Database database(raw);
  if (status != SQLITE_OK) {
    return fail_temporary(fmt::format("open {}: {}", path, ::sqlite3_errstr(status)));
  }
  ::sqlite3_busy_timeout(raw, kBusyMilliseconds);
  return database;
}

class SqliteTable final : public Table {
 public:
  struct Parts {
    std::string path, query, format;
    std::size_t expansion_limit = 0;
    DomainFilter filter;
  };

  SqliteTable(std::string_view name, const OpenOptions& options, Parts parts, Database database,
              bool has_file)
      : Table("sqlite", name, options.fold_keys),
        parts_(std::move(parts)),
        database_(std::move(database)),
        stamp_(stamp_of(parts_.path)) {
    if (has_file) watch(std::string(name));
  }

  // Writing to the data base is no change for us, replacing its file is.
  [[nodiscard]] bool changed() const override {
    if (Table::changed()) return true;
    const auto now = stamp_of(parts_.path);
    return now && stamp_ && (now->inode != stamp_->inode || now->device != stamp_->device);
  }

 private:
  Found do_find(std::string_view key) override {
    if (!parts_.filter.admits(key)) return std::nullopt;
    const auto query = expand_query(parts_.query, key, quote_sql);
    if (!query) return std::nullopt;
    sqlite3_stmt* raw = nullptr;
    const int prepared = ::sqlite3_prepare_v2(database_.get(), query->data(),
                                              static_cast<int>(query->size()), &raw, nullptr);
    const Statement statement(raw);
    if (prepared != SQLITE_OK) return error("query", ::sqlite3_errmsg(database_.get()));
    // An empty query, or one that only has a comment, finds nothing.
    if (statement == nullptr) return std::nullopt;
    std::string result;
    std::size_t values = 0;
    for (;;) {
      const int status = ::sqlite3_step(statement.get());
      if (status == SQLITE_DONE) break;
      if (status != SQLITE_ROW) return error("query", ::sqlite3_errmsg(database_.get()));
      const int columns = ::sqlite3_column_count(statement.get());
      for (int column = 0; column < columns; ++column) {
        const unsigned char* text = ::sqlite3_column_text(statement.get(), column);
        if (text == nullptr) continue;
        const auto size = static_cast<std::size_t>(::sqlite3_column_bytes(statement.get(), column));
        const std::string value(text, text + size);
        if (!append_result(result, parts_.format, value, key)) continue;
        if (parts_.expansion_limit > 0 && ++values > parts_.expansion_limit) {
          return error("query", fmt::format("more than expansion_limit = {} results for {}",
                                            parts_.expansion_limit, key));
        }
      }
    }
    if (result.empty()) return std::nullopt;
    return result;
  }

  Parts parts_;
  Database database_;
  std::optional<FileStamp> stamp_;
};

}  // namespace

OpenedTable open_sqlite(std::string_view name, const OpenOptions& options,
                        const config::Values* values) {
  const std::string label = fmt::format("open sqlite:{}", name);
  auto settings = DatabaseSettings::read(name, values);
  if (!settings) return fail_in(label, std::move(settings).error());
  const auto bad = [&](std::string_view what) {
    return fail(Error::Kind::kConfig, fmt::format("{}: {}: {}", label, settings->source(), what));
  };
  SqliteTable::Parts parts{.path = settings->text("dbpath"),
                           .query = settings->text("query"),
                           .format = settings->text("result_format", "%s"),
                           .expansion_limit = 0,
                           .filter = DomainFilter(settings->text("domain"))};
  TRY(parts.expansion_limit, settings->count("expansion_limit", 0));
  if (parts.path.empty()) return bad("dbpath is missing: the path of the data base file");
  if (parts.query.empty()) {
    // The form of old: parts of a query, each under its own name.
    const std::string table = settings->text("table");
    const std::string select = settings->text("select_field");
    const std::string where = settings->text("where_field");
    if (table.empty() || select.empty() || where.empty()) return bad("query is missing");
    parts.query = fmt::format("SELECT {} FROM {} WHERE {}='%s' {}", select, table, where,
                              settings->text("additional_conditions"));
  }
  if (const auto fault = find_template_fault(parts.query)) return bad("query: " + *fault);
  if (const auto fault = find_template_fault(parts.format)) return bad("result_format: " + *fault);
  auto database = open_database(parts.path);
  if (!database) return fail_in(label, std::move(database).error());
  return std::make_unique<SqliteTable>(name, options, std::move(parts), *std::move(database),
                                       settings->is_file());
}

}  // namespace postern::table
