// table_dns.h - DNS answers out of a table, for tests of mail authentication.

#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/base/text.h"
#include "common/mailauth/dns_source.h"
#include "common/mailauth/local_resolver.h"

namespace postern::mailauth {

class TableDns final : public DnsSource {
 public:
  void add(std::string_view name, dns::RecordType type, std::string record) {
    auto& answer = answers_[{to_lower(name), type}];
    answer.status = DnsStatus::kFound;
    answer.records.push_back(std::move(record));
    names_.insert({to_lower(name), true});
  }
  // No answer for this name, whatever the type, unless a record was added.
  void fail(std::string_view name) { failing_.insert({to_lower(name), true}); }

  loop::Task<DnsAnswer> look_up(std::string name, dns::RecordType type) override {
    ++questions;
    if (name.ends_with('.')) name.pop_back();
    make_lower(name);
    constexpr unsigned kMostAliases = 10;
    for (unsigned i = 0; i < kMostAliases; ++i) {
      const auto alias = answers_.find({name, dns::RecordType::kCname});
      if (alias == answers_.end()) break;
      name = to_lower(trim_right(alias->second.records.front(), "."));
    }
    DnsAnswer answer;
    const auto found = answers_.find({name, type});
    if (found != answers_.end()) {
      answer = found->second;
    } else if (failing_.contains(name)) {
      answer.status = DnsStatus::kTemporary;
    } else {
      answer.status = names_.contains(name) ? DnsStatus::kNoData : DnsStatus::kNoSuchName;
    }
    co_return answer;
  }

  unsigned questions = 0;

 private:
  std::map<std::pair<std::string, dns::RecordType>, DnsAnswer> answers_;
  std::map<std::string, bool> names_;
  std::map<std::string, bool> failing_;
};

}  // namespace postern::mailauth
