#include "tables/domain_list.h"

namespace postern::tables {

DomainList::DomainList(const std::vector<std::string>& words, bool match_parents,
                       const config::Values& values)
    : list_(words, match_parents, values) {}

Result<bool> DomainList::matches(Registry& registry, std::string_view domain) const {
  using Kind = config::SiteList::Match::Kind;
  auto match = list_.match(domain);
  while (match.kind == Kind::kAskTable) {
    const auto forms = list_.forms(domain);
    for (std::size_t i = 0; i < forms.size(); ++i) {
      TRY(const auto found, registry.find_key({std::string(match.table)}, forms[i], i > 0));
      if (found) return match.if_found == Kind::kYes;
    }
    match = list_.match(domain, match.next);
  }
  return match.kind == Kind::kYes;
}

}  // namespace postern::tables
