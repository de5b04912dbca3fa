#include "common/config/dkim_tables.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"

namespace postern::config {

namespace {

constexpr std::size_t kMaxEntries = 100'000;

// Calls for each line with two words; what is none goes to `wrong`.
template <typename Call>
void for_each_line(std::string_view text, std::vector<unsigned>& wrong, const Call& call) {
  unsigned number = 0;
  for (std::string_view line : split_fields(text, '\n')) {
    ++number;
    line = trim(line);
    if (line.empty() || line.front() == '#') continue;
    const std::string_view first = next_word(line, kBlanks);
    line = trim(line);
    if (line.empty() || !call(first, line)) wrong.push_back(number);
  }
}

}  // namespace

std::optional<DkimKey> parse_dkim_key(std::string_view text) {
  const auto [domain, rest] = split_at_first(text, ':');
  const auto [selector, path] = split_at_first(rest, ':');
  if (domain.empty() || selector.empty() || !path.starts_with('/')) return std::nullopt;
  return DkimKey{to_lower(trim(domain)), std::string(trim(selector)), std::string(trim(path))};
}

DkimKeyTable parse_dkim_keys(std::string_view text, std::vector<unsigned>& wrong) {
  DkimKeyTable table;
  for_each_line(text, wrong, [&](std::string_view name, std::string_view value) {
    auto key = parse_dkim_key(value);
    if (!key || table.size() == kMaxEntries) return false;
    table.insert_or_assign(std::string(name), *std::move(key));
    return true;
  });
  return table;
}

DkimSigningTable parse_dkim_rules(std::string_view text, std::vector<unsigned>& wrong) {
  DkimSigningTable table;
  for_each_line(text, wrong, [&](std::string_view pattern, std::string_view names) {
    const auto words = split_words(names);
    if (words.empty() || table.size() == kMaxEntries) return false;
    DkimRule rule{to_lower(pattern), {}};
    for (const auto word : words) rule.keys.emplace_back(word);
    // A line more for the same pattern adds its keys.
    const auto same = std::ranges::find(table, rule.pattern, &DkimRule::pattern);
    if (same != table.end()) {
      for (auto& key : rule.keys) same->keys.push_back(std::move(key));
    } else {
      table.push_back(std::move(rule));
    }
    return true;
  });
  return table;
}

const DkimRule* find_dkim_rule(const DkimSigningTable& table, std::string_view address) {
  const std::string whole = to_lower(address);
  const std::string_view domain = split_at_last(whole, '@').second;
  for (const auto& rule : table) {
    const std::string_view pattern = rule.pattern;
    const bool is_match =
        pattern.find('*') != std::string_view::npos ? glob_match(pattern, whole)
        : pattern.find('@') != std::string_view::npos
            ? pattern == whole || (pattern.front() == '@' && pattern.substr(1) == domain)
        : pattern.starts_with('.') ? domain.ends_with(pattern)
                                   : pattern == domain;
    if (is_match) return &rule;
  }
  return nullptr;
}

std::optional<std::string> dkim_table_file(std::string_view value) {
  for (const std::string_view type : {"file:", "refile:"}) {
    if (value.starts_with(type)) value.remove_prefix(type.size());
  }
  if (!value.starts_with('/')) return std::nullopt;
  return std::string(value);
}

std::string dkim_file_name(std::string_view path) { return fmt::format("dkim:{}", path); }

std::string dkim_key_path(std::string_view pattern, std::string_view domain,
                          std::string_view selector, std::string_view config_directory) {
  std::string path = replace_all(pattern, "$domain", domain);
  path = replace_all(path, "$selector", selector);
  return replace_all(path, "$config_directory", config_directory);
}

}  // namespace postern::config
