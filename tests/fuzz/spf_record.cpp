// SPF: a record is parsed or refused, its macros expand, and its evaluation asks only so much.

#include <cassert>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/mailauth/spf.h"
#include "common/mailauth/spf_record.h"
#include "tests/support/table_dns.h"

using namespace postern;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string input(static_cast<const char*>(static_cast<const void*>(data)), size);
  static_cast<void>(mailauth::parse_spf_record(input));
  const auto value = [](char) { return std::string("a.b-c.example.com"); };
  const auto domain = mailauth::expand_spf_macros(input, mailauth::SpfMacroUse::kDomain, value);
  const auto text = mailauth::expand_spf_macros(input, mailauth::SpfMacroUse::kText, value);
  assert(!domain || text);

  mailauth::TableDns dns;
  dns.add("d.example", dns::RecordType::kTxt, "v=spf1 " + input);
  dns.add("d.example", dns::RecordType::kMx, "mx.d.example");
  dns.add("mx.d.example", dns::RecordType::kA, "192.0.2.7");
  dns.add("1.2.0.192.in-addr.arpa", dns::RecordType::kPtr, "mx.d.example");
  mailauth::SpfRequest request;
  request.client = *dns::parse_address("192.0.2.1");
  request.helo = "mx.d.example";
  request.sender = "a@d.example";
  const auto verdict = mailauth::result_of(mailauth::check_spf(dns, request));
  // 1 record, 10 terms of up to 11 look-ups, the client's names, an explanation.
  assert(dns.questions <= 1 + 10 * 11 + 11 + 1);
  const auto header =
      mailauth::format_received_spf(verdict, request, mailauth::SpfIdentity::kMailFrom);
  assert(header.find('\n') == std::string::npos);
  return 0;
}
