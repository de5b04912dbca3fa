#include "common/table/table.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include "common/base/text.h"
#include "common/table/fold_key.h"
#include "common/table/types.h"

namespace postern::table {

namespace {

using Registry = std::map<std::string, OpenFunction, std::less<>>;

Registry& registry() {
  static Registry types = {
      {"btree", open_btree},       {"cdb", open_cdb},           {"cidr", open_cidr},
      {"debug", open_debug},       {"environ", open_environ},   {"fail", open_fail},
      {"hash", open_hash},         {"inline", open_inline},     {"internal", open_internal},
      {"lmdb", open_lmdb},         {"pcre", open_pcre},         {"pipemap", open_pipemap},
      {"randmap", open_randmap},   {"regexp", open_regexp},     {"static", open_static},
      {"texthash", open_texthash}, {"unionmap", open_unionmap}, {"unix", open_unix},
  };
  return types;
}

}  // namespace

std::optional<FileStamp> stamp_of(const std::string& path) {
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0) return std::nullopt;
  return FileStamp{st.st_dev, st.st_ino, st.st_mtim.tv_sec, st.st_mtim.tv_nsec, st.st_size};
}

Table::Table(std::string_view type, std::string_view name, bool fold_keys)
    : name_(fmt::format("{}:{}", type, name)), fold_keys_(fold_keys) {}

Found Table::find(std::string_view key) {
  if (!fold_keys_ || is_folded(key)) return do_find(key);
  const auto folded = fold_key(key, utf8_);
  if (!folded) return std::nullopt;
  return do_find(*folded);
}

Result<bool> Table::find_into(std::string_view key, std::string& value) {
  if (!fold_keys_ || is_folded(key)) return do_find_into(key, value);
  const auto folded = fold_key(key, utf8_);
  if (!folded) return false;
  return do_find_into(*folded, value);
}

Result<bool> Table::do_find_into(std::string_view key, std::string& value) {
  TRY(auto found, do_find(key));
  if (!found) return false;
  value = *std::move(found);
  return true;
}

Result<void> Table::find_each(std::span<const std::string_view> keys, const FoundOne& found) {
  if (!fold_keys_ || std::ranges::all_of(keys, is_folded)) return do_find_each(keys, found);
  std::deque<std::string> folded;
  std::vector<std::string_view> all;
  std::vector<std::size_t> indices;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    std::string_view key = keys[i];
    if (!is_folded(key)) {
      auto in_small_letters = fold_key(key, utf8_);
      if (!in_small_letters) continue;
      key = folded.emplace_back(*std::move(in_small_letters));
    }
    all.push_back(key);
    indices.push_back(i);
  }
  return do_find_each(
      all, [&](std::size_t index, std::string_view value) { found(indices[index], value); });
}

Result<void> Table::do_find_each(std::span<const std::string_view> keys, const FoundOne& found) {
  std::string value;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    TRY(const bool is_found, do_find_into(keys[i], value));
    if (is_found) found(i, value);
  }
  return {};
}

Result<void> Table::for_each(const Visit& visit) {
  static_cast<void>(visit);
  return fail_temporary(fmt::format("table {}: sequence operation is not supported", name_));
}

bool Table::changed() const {
  if (watched_path_.empty()) return false;
  const auto now = stamp_of(watched_path_);
  return now.has_value() && now != stamp_;
}

void Table::watch(std::string path) {
  stamp_ = stamp_of(path);
  watched_path_ = std::move(path);
}

std::unexpected<Error> Table::open_error(std::string_view path, std::string_view reason) {
  return fail_temporary(fmt::format("open database {}: {}", path, reason));
}

std::unexpected<Error> Table::error(std::string_view doing, std::string_view reason) const {
  return fail_temporary(fmt::format("{} {}: {}", doing, name_, reason));
}

OpenedTable open_table(std::string_view type_and_name, const OpenOptions& options) {
  if (type_and_name.starts_with(kLiteral)) {
    OpenOptions literal = options;
    literal.no_substitution = true;
    type_and_name.remove_prefix(kLiteral.size());
    return open_table(type_and_name, literal);
  }
  constexpr std::string_view kProxy = "proxy:";
  while (type_and_name.starts_with(kProxy)) type_and_name.remove_prefix(kProxy.size());
  const auto [type, name] = split_at_first(type_and_name, ':');
  if (type.empty() || name.empty()) {
    return fail(Error::Kind::kConfig,
                fmt::format("open dictionary: expecting \"type:name\" form instead of \"{}\"",
                            type_and_name));
  }
  const auto found = registry().find(type);
  if (found == registry().end()) {
    return fail(Error::Kind::kConfig, fmt::format("unsupported dictionary type: {}", type));
  }
  TRY(auto table, found->second(name, options));
  table->utf8_ = options.utf8;
  return table;
}

std::vector<std::string> literal_names(std::vector<std::string> names) {
  for (std::string& name : names) {
    if (name.starts_with("proxy:")) continue;
    // Also as a part of another.
    const bool has_patterns =
        name.find("regexp:") != std::string::npos || name.find("pcre:") != std::string::npos;
    if (has_patterns) name.insert(0, kLiteral);
  }
  return names;
}

void register_type(std::string type, OpenFunction open) {
  registry()[std::move(type)] = std::move(open);
}

std::vector<std::string> known_types() {
  std::vector<std::string> out;
  for (const auto& [type, open] : registry()) out.push_back(type);
  return out;
}

std::string with_type(std::string_view type_and_name, std::string_view default_type) {
  const auto colon = type_and_name.find(':');
  // A colon behind a slash belongs to a path.
  if (colon != std::string_view::npos && colon < type_and_name.find('/')) {
    return std::string(type_and_name);
  }
  return fmt::format("{}:{}", default_type, type_and_name);
}

Result<TableSet> TableSet::open(std::string_view list, const OpenOptions& options) {
  TableSet set;
  set.options_ = options;
  for (const auto word : split_words_braced(list)) {
    TRY(auto table, open_table(word, options));
    set.tables_.push_back(std::move(table));
  }
  return set;
}

Result<std::optional<TableSet::Hit>> TableSet::find_hit(std::string_view key) {
  for (std::size_t i = 0; i < tables_.size(); ++i) {
    TRY(auto value, tables_[i]->find(key));
    if (value) return Hit{*std::move(value), i};
  }
  return std::nullopt;
}

Found TableSet::find(std::string_view key) {
  TRY(auto hit, find_hit(key));
  if (!hit) return std::nullopt;
  return std::move(hit->value);
}

std::vector<std::string> TableSet::refresh() {
  std::vector<std::string> troubles;
  for (auto& table : tables_) {
    if (!table->changed()) continue;
    auto fresh = open_table(table->name(), options_);
    if (!fresh) {
      troubles.push_back(fresh.error().text);
      continue;
    }
    table = *std::move(fresh);
    ++generation_;
  }
  return troubles;
}

std::vector<std::string> TableSet::names() const {
  std::vector<std::string> out;
  for (const auto& table : tables_) out.push_back(table->name());
  return out;
}

std::vector<std::string> TableSet::warnings() const {
  std::vector<std::string> out;
  for (const auto& table : tables_) {
    out.insert(out.end(), table->warnings().begin(), table->warnings().end());
  }
  return out;
}

}  // namespace postern::table
