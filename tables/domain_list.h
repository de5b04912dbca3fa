// domain_list.h - lists of domains as mydestination, relay_domains and kin have them.
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
  struct Pattern {
    std::string text;  // lower case, or the table's name
    bool is_table = false;
    bool is_negated = false;
  };
  void add(std::string_view word, const config::Values& values, unsigned depth);

  std::vector<Pattern> patterns_;
  bool match_parents_ = false;
};

}  // namespace postern::tables
