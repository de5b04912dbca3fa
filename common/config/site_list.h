// site_list.h - a list of domains, as far as it can be judged without tables (fast_flush_domains).
//
//     example.org       the domain; with parent matching also its subdomains
//     .example.org      its subdomains, where parent matching is off
//     type:table        a table with the domain as a key: the caller has to ask
//     /file             more patterns, as they were when the configuration was accepted
//     !pattern          not this one; the first pattern that fits decides

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/config/values.h"

namespace postern::config {

class SiteList {
 public:
  SiteList() = default;
  SiteList(const std::vector<std::string>& words, bool match_parents, const Values& values);

  struct Match {
    enum class Kind : unsigned char { kYes, kNo, kAskTable };
    Kind kind = Kind::kNo;
    std::string_view table;     // kAskTable; a view into the list
    Kind if_found = Kind::kNo;  // kAskTable: the answer when the table has one of forms()
    std::size_t next = 0;       // kAskTable: where to go on when it has not
  };
  [[nodiscard]] Match match(std::string_view domain, std::size_t from = 0) const;

  // The keys that a table is asked for: the domain, then its parents. Lower case.
  [[nodiscard]] std::vector<std::string> forms(std::string_view domain) const;
  [[nodiscard]] bool empty() const { return patterns_.empty(); }

 private:
  struct Pattern {
    std::string text;  // lower case, or the table's name
    bool is_table = false;
    bool is_negated = false;
  };
  void add(std::string_view word, const Values& values, unsigned depth);

  std::vector<Pattern> patterns_;
  bool match_parents_ = false;
};

}  // namespace postern::config
