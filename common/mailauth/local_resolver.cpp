#include "common/mailauth/local_resolver.h"

#include <fmt/format.h>

#include "common/base/encode.h"
#include "common/config/load.h"
#include "common/dns/conf.h"
#include "common/dns/resolver.h"
#include "common/loop/loop.h"

namespace postern::mailauth {

namespace {

struct ToText {
  std::string operator()(const dns::Address& address) const { return address.to_text(); }
  std::string operator()(const dns::Host& host) const { return host.name; }
  std::string operator()(const dns::Mx& mx) const { return mx.host; }
  std::string operator()(const dns::Txt& txt) const { return txt.text; }
  std::string operator()(const dns::Srv& srv) const { return srv.target; }
  std::string operator()(const dns::Tlsa& tlsa) const {
    return fmt::format("{} {} {} {}", tlsa.usage, tlsa.selector, tlsa.matching_type,
                       hex_encode(tlsa.data));
  }
  std::string operator()(const dns::Soa& soa) const { return soa.primary; }
};

loop::Task<void> ask(dns::Resolver& resolver, std::string name, dns::RecordType type,
                     loop::Loop& turns, dns::LookupPtr& out) {
  out = co_await resolver.look_up(std::move(name), type);
  turns.stop();
}

// Never null.
dns::LookupPtr look_up(std::string name, dns::RecordType type) {
  constexpr std::size_t kMaxFile = std::size_t{1} << 20;
  const auto text = config::read_file("/etc/resolv.conf", kMaxFile);
  loop::Loop loop;
  dns::Resolver resolver(dns::parse_resolv_conf(text.value_or("")));
  dns::LookupPtr found;
  loop::spawn(ask(resolver, std::move(name), type, loop, found));
  if (found == nullptr) loop.run();  // some names are answered at once
  return found;
}

}  // namespace

bool is_validated(std::string name, dns::RecordType type) {
  return look_up(std::move(name), type)->is_authenticated;
}

DnsAnswer ask_dns(std::string name, dns::RecordType type) {
  DnsAnswer answer;
  if (!is_query_name(name)) {
    answer.status = DnsStatus::kNoSuchName;
    return answer;
  }
  const dns::LookupPtr found = look_up(std::move(name), type);
  switch (found->status) {
    case dns::LookupStatus::kFound:
      answer.status = DnsStatus::kFound;
      break;
    case dns::LookupStatus::kNoSuchName:
      answer.status = DnsStatus::kNoSuchName;
      break;
    case dns::LookupStatus::kNoData:
      answer.status = DnsStatus::kNoData;
      break;
    case dns::LookupStatus::kTemporary:
      break;
  }
  for (const auto& record : found->records) {
    answer.records.push_back(std::visit(ToText{}, record.data));
  }
  return answer;
}

}  // namespace postern::mailauth
