// domain_list.h - a SiteList whose tables are asked: mydestination, relay_domains and kin.
//
//     example.org       the domain; with parent matching also its subdomains
//     .example.org      its subdomains, where parent matching is off
//     type:table        a table with the domain as a key
//     /file             more patterns, as they were when the configuration was accepted
//     !pattern          not this one; the first pattern that fits decides

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/config/site_list.h"
#include "common/config/values.h"
#include "tables/registry.h"

namespace postern::tables {

class DomainList {
 public:
  DomainList() = default;
  DomainList(const std::vector<std::string>& words, bool match_parents,
             const config::Values& values);

  [[nodiscard]] Result<bool> matches(Registry& registry, std::string_view domain) const;

 private:
  config::SiteList list_;
};

}  // namespace postern::tables
