// database.h - what tables that ask a data base have in common: their settings, the query made of a
// key, the result made of a row.
//
//     dbpath = /etc/postfix/aliases.sqlite       settings, in a file or as NAME_dbpath in main.cf
//     query = SELECT goto FROM alias WHERE address = '%s'
//     result_format = %s@example.com
//
// In a query %s is the key, %u and %d its local part and domain, %1 to %9 the labels of the domain
// from the right; %S %U %D are the same. In a result_format the small letters speak of the value
// found and the capitals of the key. What a template needs and a key or value does not have makes
// no question, and no result.

#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/config/values.h"
#include "common/table/table.h"

namespace postern::table {

class DatabaseSettings {
 public:
  // `name` is a file where it begins with / or ., and else the prefix of names in main.cf.
  [[nodiscard]] static Result<DatabaseSettings> read(std::string_view name,
                                                     const config::Values* values);
  // For tests: the text of such a file.
  [[nodiscard]] static Result<DatabaseSettings> parse(std::string_view text, std::string_view file);

  [[nodiscard]] std::string text(std::string_view name, std::string_view initial = {}) const;
  [[nodiscard]] Result<std::size_t> count(std::string_view name, std::size_t initial) const;
  [[nodiscard]] const std::string& source() const { return source_; }
  [[nodiscard]] bool is_file() const { return is_file_; }

 private:
  std::map<std::string, std::string, std::less<>> settings_;
  std::string source_;
  bool is_file_ = false;
};

// Whether the key may be asked for: with a `domain` list only user@domain of one of them.
class DomainFilter {
 public:
  explicit DomainFilter(std::string_view list);
  [[nodiscard]] bool admits(std::string_view key) const;

 private:
  std::vector<std::string> domains_;
};

using Quote = std::function<std::string(std::string_view)>;

// The query for a key; nothing when the key lacks a part that the template names.
[[nodiscard]] std::optional<std::string> expand_query(std::string_view pattern,
                                                      std::string_view key, const Quote& quote);

// Adds one value to a result, after a comma where there is one already. False when the value or the
// key lacks a part that the format names, or the value is empty: nothing is added then.
[[nodiscard]] bool append_result(std::string& result, std::string_view format,
                                 std::string_view value, std::string_view key);

// What is wrong with a template.
[[nodiscard]] std::optional<std::string> find_template_fault(std::string_view pattern);

[[nodiscard]] OpenedTable open_sqlite(std::string_view name, const OpenOptions& options,
                                      const config::Values* values);

// Makes these types known to open_table. `values` gives the configuration of the moment, for
// tables whose settings are in main.cf; without it, settings come from files only.
using CurrentValues = std::function<const config::Values*()>;
void register_database_types(CurrentValues values = {});

}  // namespace postern::table
