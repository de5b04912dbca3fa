#include "postern/check_tables.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "common/base/text.h"
#include "common/config/expand.h"
#include "common/config/param.h"
#include "common/table/server_wire.h"
#include "common/table/source.h"
#include "common/table/table.h"
#include "postern/check.h"

namespace postern::control {

using namespace config;

namespace {

// What a value's words of the form type:name say about tables.
struct FileType {
  std::string_view type, suffix;
};
constexpr FileType kFileTypes[] = {{"hash", ".db"}, {"btree", ".db"}, {"lmdb", ".lmdb"},
                                   {"cdb", ".cdb"}, {"texthash", ""}, {"regexp", ""},
                                   {"pcre", ""},    {"cidr", ""},     {"sqlite", ""}};

// Known by name, but only some builds have them.
constexpr std::string_view kOtherTypes[] = {
    "environ", "fail",  "internal", "ldap",  "memcache", "mongodb", "mysql",    "nis",
    "nisplus", "pgsql", "pipemap",  "proxy", "randmap",  "redis",   "unionmap", "unix"};

bool is_known_type(std::string_view type) {
  static const std::vector<std::string> built_in = table::known_types();
  return std::ranges::find(built_in, type) != built_in.end();
}

bool is_other_type(std::string_view type) {
  return std::ranges::find(kOtherTypes, type) != std::end(kOtherTypes);
}

// What opening it says. Rules that do not parse are left out by the daemons.
void check_content(const Values& values, std::string_view parameter, std::string_view word,
                   Problems& problems) {
  table::OpenOptions options;
  options.bad_rules = table::BadRules::kSkip;
  const auto opened = table::open_table(word, options);
  if (!opened) {
    problems.push_back(values.problem(parameter, opened.error().text));
    return;
  }
  for (std::string text : (*opened)->warnings()) {
    constexpr std::string_view kSkipped = ": skipping this rule";
    if (text.ends_with(kSkipped)) text.resize(text.size() - kSkipped.size());
    problems.push_back(values.problem(parameter, std::move(text), Severity::kWarning));
  }
}

}  // namespace

void check_table(const Values& values, std::string_view parameter, std::string_view word,
                 bool is_plain, Problems& problems) {
  while (word.starts_with('!')) word.remove_prefix(1);
  while (word.starts_with("proxy:")) word.remove_prefix(6);
  const auto [type, name] = split_at_first(word, ':');
  if (word.find(':') == std::string_view::npos) {
    if (!is_plain && !word.empty() && !word.starts_with('/')) {
      problems.push_back(values.problem(
          parameter, fmt::format("\"{:.80}\" is no table: type:name expected", word)));
    }
    return;
  }
  const bool is_set = values.is_set(parameter);
  const auto* const file_type = std::ranges::find(kFileTypes, type, &FileType::type);
  if (file_type == std::end(kFileTypes)) {
    if (type == "unionmap" || type == "pipemap") {
      // Each part is a table; the braces hold them together in a list, too.
      for (const auto part : split_words_braced(table::inside_braces(name).value_or(""))) {
        check_table(values, parameter, part, false, problems);
      }
      return;
    }
    if (is_plain || is_known_type(type)) return;
    if (table::is_server_table(word)) {
      const auto server = table::parse_server_table(word);
      if (!server) problems.push_back(values.problem(parameter, server.error().text));
      return;
    }
    if (is_other_type(type)) {
      problems.push_back(values.problem(
          parameter, fmt::format("{:.120}: table type {} is not supported yet", word, type),
          Severity::kWarning));
    } else {
      problems.push_back(values.problem(
          parameter, fmt::format("{:.120}: unknown table type \"{:.40}\"", word, type)));
    }
    return;
  }
  if (name.starts_with('{')) return check_content(values, parameter, word, problems);
  if (!name.starts_with('/')) return;  // relative to the queue directory
  const std::string path = fmt::format("{}{}", name, file_type->suffix);
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) {
    std::string text = fmt::format("{:.200}: {} is missing", word, path);
    struct stat source{};
    if (!file_type->suffix.empty() && stat(std::string(name).c_str(), &source) == 0) {
      text += parameter == "alias_maps" ? std::string("; make it with: newaliases")
                                        : fmt::format("; make it with: postmap {}", word);
    }
    // Nobody asked for the table of a default.
    problems.push_back(
        values.problem(parameter, std::move(text), is_set ? Severity::kError : Severity::kWarning));
    return;
  }
  struct stat source{};
  if (!file_type->suffix.empty() && stat(std::string(name).c_str(), &source) == 0 &&
      source.st_mtime > status.st_mtime) {
    problems.push_back(
        values.problem(parameter, fmt::format("{:.200} is older than its source {}", path, name),
                       Severity::kWarning));
  }
  check_content(values, parameter, word, problems);
}

namespace {

void check_tables_of(const Values& values, const ParamInfo& param, Problems& problems) {
  if (param.standing == Standing::kNotYet || param.standing == Standing::kNoEffect) return;
  if (param.name == "proxy_read_maps" || param.name == "proxy_write_maps") return;
  // Other defaults name no table of their own, but those of parameters that are looked at anyway.
  if (!values.is_set(param.name) && param.name != "alias_maps") return;
  const bool is_tables = param.type == ParamType::kTables;
  if (!is_tables && param.type != ParamType::kList && param.type != ParamType::kNetworks) return;
  const auto text = values.expanded(param.name);
  if (!text) return;  // said by check_values
  for (const std::string& word : split_list(*text)) {
    check_table(values, param.name, word, !is_tables, problems);
  }
}

}  // namespace

Problems check_tables(const Snapshot& snapshot) {
  Problems problems;
  const auto shared = unowned(snapshot);
  const Values values(shared);
  for (const ParamInfo param : all_params()) check_tables_of(values, param, problems);
  for (const Service& service : snapshot.services) {
    const Values scope(shared, service);
    for (const auto& [name, value] : service.overrides) {
      if (const auto param = find_param(name)) {
        check_tables_of(scope, *param, problems);
      }
    }
  }
  return problems;
}

}  // namespace postern::control
