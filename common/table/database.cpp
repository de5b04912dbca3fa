#include "common/table/database.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/config/main_cf.h"
#include "common/table/source.h"

namespace postern::table {

namespace {

// The names that the settings of any type may have, for those that stand in main.cf.
constexpr std::string_view kNames[] = {
    "dbpath",      "query",        "result_format",         "domain",         "table",
    "where_field", "select_field", "additional_conditions", "expansion_limit"};

bool is_path(std::string_view name) { return name.starts_with('/') || name.starts_with('.'); }

struct Parts {
  std::string_view whole, user, domain;
  bool has_domain = false;
};

Parts parts_of(std::string_view address) {
  const auto at = address.rfind('@');
  if (at == std::string_view::npos || at == 0) return {address, address, {}, false};
  return {address, address.substr(0, at), address.substr(at + 1), true};
}

// The label number `n` from the right, from 1.
std::optional<std::string_view> label_of(std::string_view domain, std::size_t n) {
  const auto labels = split_fields(domain, '.');
  if (domain.empty() || labels.size() < n) return std::nullopt;
  return labels[labels.size() - n];
}

// What one letter stands for; nothing where the address has no such part.
std::optional<std::string_view> part_for(char letter, const Parts& parts) {
  switch (letter) {
    case 's':
      return parts.whole;
    case 'u':
      return parts.user;
    case 'd':
      if (!parts.has_domain || parts.domain.empty()) return std::nullopt;
      return parts.domain;
    default:
      if (!parts.has_domain) return std::nullopt;
      return label_of(parts.domain, static_cast<std::size_t>(letter - '0'));
  }
}

// Expands `pattern`: small letters with `value`, capitals with `key`.
std::optional<std::string> expand_template(std::string_view pattern, const Parts& value,
                                           const Parts& key, const Parts& digits,
                                           const Quote& quote) {
  std::string out;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '%' || i + 1 == pattern.size()) {
      out += pattern[i];
      continue;
    }
    const char letter = pattern[++i];
    if (letter == '%') {
      out += '%';
      continue;
    }
    const Parts& from = is_digit(letter) ? digits : is_upper(letter) ? key : value;
    const auto part = part_for(to_lower(letter), from);
    if (!part) return std::nullopt;
    out += quote(*part);
  }
  return out;
}

}  // namespace

Result<DatabaseSettings> DatabaseSettings::parse(std::string_view text, std::string_view file) {
  DatabaseSettings settings;
  settings.source_ = file;
  settings.is_file_ = true;
  const config::MainCf parsed = config::parse_main_cf(text, file);
  for (const auto& problem : parsed.problems) {
    if (problem.severity == config::Severity::kError) {
      return fail(Error::Kind::kConfig, config::log_text(problem));
    }
  }
  for (const auto& setting : parsed.settings) settings.settings_[setting.name] = setting.value;
  return settings;
}

Result<DatabaseSettings> DatabaseSettings::read(std::string_view name,
                                                const config::Values* values) {
  constexpr std::size_t kMaxFile = std::size_t{1} << 20U;
  if (is_path(name)) {
    TRY(const auto text, read_text_file(std::string(name), kMaxFile));
    return parse(text, name);
  }
  DatabaseSettings settings;
  settings.source_ = fmt::format("main.cf, {}_*", name);
  if (values == nullptr) {
    return fail(Error::Kind::kConfig,
                fmt::format("{}: expected the path of a file with the table's settings", name));
  }
  for (const auto known : kNames) {
    const std::string full = fmt::format("{}_{}", name, known);
    if (values->is_set(full)) settings.settings_[std::string(known)] = values->text(full);
  }
  return settings;
}

std::string DatabaseSettings::text(std::string_view name, std::string_view initial) const {
  const auto found = settings_.find(name);
  return found == settings_.end() ? std::string(initial) : found->second;
}

Result<std::size_t> DatabaseSettings::count(std::string_view name, std::size_t initial) const {
  const auto found = settings_.find(name);
  if (found == settings_.end()) return initial;
  const auto value = parse_integer<std::int64_t>(found->second, 0);
  if (!value) {
    return fail(Error::Kind::kConfig,
                fmt::format("{}: {} = {}: a number expected", source_, name, found->second));
  }
  return static_cast<std::size_t>(*value);
}

DomainFilter::DomainFilter(std::string_view list) {
  constexpr std::size_t kMaxFile = std::size_t{16} << 20U;
  for (const auto word : split_words(list)) {
    if (!word.starts_with('/')) {
      domains_.push_back(to_lower(word));
      continue;
    }
    const auto text = read_text_file(std::string(word), kMaxFile);
    if (!text) continue;
    for (const auto& line : logical_lines(*text)) {
      for (const auto domain : split_words(line.text)) domains_.push_back(to_lower(domain));
    }
  }
  std::ranges::sort(domains_);
}

bool DomainFilter::admits(std::string_view key) const {
  if (domains_.empty()) return true;
  const auto at = key.rfind('@');
  if (at == std::string_view::npos || at == 0) return false;
  return std::ranges::binary_search(domains_, to_lower(key.substr(at + 1)));
}

std::optional<std::string> expand_query(std::string_view pattern, std::string_view key,
                                        const Quote& quote) {
  const Parts parts = parts_of(key);
  return expand_template(pattern, parts, parts, parts, quote);
}

bool append_result(std::string& result, std::string_view format, std::string_view value,
                   std::string_view key) {
  if (value.empty()) return false;
  const Parts key_parts = parts_of(key);
  const auto text = expand_template(format, parts_of(value), key_parts, key_parts,
                                    [](std::string_view part) { return std::string(part); });
  if (!text) return false;
  if (!result.empty()) result += ',';
  result += *text;
  return true;
}

std::optional<std::string> find_template_fault(std::string_view pattern) {
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '%') continue;
    if (i + 1 == pattern.size()) return "a % at the end";
    const char letter = pattern[++i];
    if (std::string_view("%sudSUD123456789").find(letter) == std::string_view::npos) {
      return fmt::format("%{} is not known; %s %u %d %S %U %D %1 to %9 and %% are", letter);
    }
  }
  return std::nullopt;
}

void register_database_types(CurrentValues values) {
  register_type("sqlite",
                [values = std::move(values)](std::string_view name, const OpenOptions& options) {
                  // main.cf is read only for a table whose settings are there.
                  const bool in_main_cf = values && !is_path(name);
                  return open_sqlite(name, options, in_main_cf ? values() : nullptr);
                });
}

}  // namespace postern::table
