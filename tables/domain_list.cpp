#include "tables/domain_list.h"

#include "common/base/text.h"

namespace postern::tables {

namespace {
constexpr unsigned kMaxFileDepth = 8;
constexpr unsigned kMaxLabels = 50;
}  // namespace

DomainList::DomainList(const std::vector<std::string>& words, bool match_parents,
                       const config::Values& values)
    : match_parents_(match_parents) {
  for (const auto& word : words) add(word, values, 0);
}

void DomainList::add(std::string_view word, const config::Values& values, unsigned depth) {
  bool negated = false;
  while (word.starts_with('!')) {
    negated = !negated;
    word.remove_prefix(1);
  }
  if (word.starts_with('/')) {
    const auto text = values.file(word);
    if (!text || depth >= kMaxFileDepth) return;
    for (const auto line : split_words(*text, "\n")) {
      const auto pattern = trim(line);
      if (pattern.empty() || pattern.starts_with('#')) continue;
      for (const auto one : split_words(pattern)) {
        add(negated ? "!" + std::string(one) : std::string(one), values, depth + 1);
      }
    }
    return;
  }
  const bool is_table = word.find(':') != std::string_view::npos && !word.starts_with('[');
  patterns_.push_back({is_table ? std::string(word) : to_lower(word), is_table, negated});
}

Result<bool> DomainList::matches(Registry& registry, std::string_view domain) const {
  const std::string lower = to_lower(domain);
  // The domain itself, then its parents, each in the form that the list is written in.
  std::vector<std::string> forms = {lower};
  std::string_view rest = lower;
  for (unsigned i = 0; i < kMaxLabels && !rest.starts_with('['); ++i) {
    const auto dot = rest.find('.');
    if (dot == std::string_view::npos) break;
    rest.remove_prefix(dot + 1);
    if (rest.empty()) break;
    forms.push_back(match_parents_ ? std::string(rest) : "." + std::string(rest));
  }
  for (const Pattern& pattern : patterns_) {
    for (std::size_t i = 0; i < forms.size(); ++i) {
      bool hit = pattern.text == forms[i];
      if (pattern.is_table) {
        TRY(const auto found, registry.find_key({pattern.text}, forms[i], i > 0));
        hit = found.has_value();
      }
      if (hit) return !pattern.is_negated;
    }
  }
  return false;
}

}  // namespace postern::tables
