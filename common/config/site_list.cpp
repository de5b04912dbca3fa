#include "common/config/site_list.h"

#include <algorithm>

#include "common/base/text.h"
#include "common/config/networks.h"

namespace postern::config {

namespace {

constexpr unsigned kMaxFileDepth = 8;
constexpr unsigned kMaxLabels = 50;

}  // namespace

SiteList::SiteList(const std::vector<std::string>& words, bool match_parents, const Values& values)
    : match_parents_(match_parents) {
  for (const auto& word : words) add(word, values, 0);
}

// The depth is that of files that name files; it is bounded.
void SiteList::add(std::string_view word, const Values& values, unsigned depth) {
  bool is_negated = false;
  while (word.starts_with('!')) {
    is_negated = !is_negated;
    word.remove_prefix(1);
  }
  if (word.starts_with('/')) {
    const auto text = values.file(word);
    if (!text || depth >= kMaxFileDepth) return;
    for (const auto line : split_words(*text, "\n")) {
      const auto pattern = trim(line);
      if (pattern.starts_with('#')) continue;
      for (const auto one : split_words(pattern)) {
        add(is_negated ? "!" + std::string(one) : std::string(one), values, depth + 1);
      }
    }
    return;
  }
  const bool is_table =
      word.find(':') != std::string_view::npos && !word.starts_with('[') && !parse_ip_address(word);
  patterns_.push_back({is_table ? std::string(word) : to_lower(word), is_table, is_negated});
}

std::vector<std::string> SiteList::forms(std::string_view domain) const {
  std::vector<std::string> result = {to_lower(domain)};
  std::string_view rest = result.front();
  std::vector<std::string> parents;
  for (unsigned i = 0; i < kMaxLabels && !rest.starts_with('['); ++i) {
    const auto dot = rest.find('.');
    if (dot == std::string_view::npos || dot + 1 == rest.size()) break;
    rest.remove_prefix(dot + 1);
    parents.push_back(match_parents_ ? std::string(rest) : "." + std::string(rest));
  }
  result.insert(result.end(), parents.begin(), parents.end());
  return result;
}

SiteList::Match SiteList::match(std::string_view domain, std::size_t from) const {
  const auto keys = forms(domain);
  for (std::size_t i = from; i < patterns_.size(); ++i) {
    const Pattern& pattern = patterns_[i];
    const auto decided = pattern.is_negated ? Match::Kind::kNo : Match::Kind::kYes;
    if (pattern.is_table) return {Match::Kind::kAskTable, pattern.text, decided, i + 1};
    if (std::find(keys.begin(), keys.end(), pattern.text) != keys.end()) {
      return {decided, {}, Match::Kind::kNo, 0};
    }
  }
  return {};
}

}  // namespace postern::config
