// Replies of policy servers: bounded, the same in one piece and byte by byte, and never an action
// that is longer than what was sent.

#include <cassert>
#include <cstdint>
#include <string_view>

#include "common/policy/dns_list.h"
#include "smtpd/restrictions/policy_reply.h"

using namespace postern;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(static_cast<const char*>(static_cast<const void*>(data)), size);
  const auto whole = smtpd::parse_policy_reply(input);
  if (whole.state == smtpd::PolicyReply::State::kAction) {
    assert(!whole.action.empty() && whole.action.size() < whole.consumed);
    assert(whole.consumed <= size && whole.action.find('\n') == std::string::npos);
  }
  for (std::size_t end = 0; end <= size && end < 4096; ++end) {
    const auto part = smtpd::parse_policy_reply(input.substr(0, end));
    if (part.state == smtpd::PolicyReply::State::kMore) continue;
    assert(part.state == whole.state && part.action == whole.action);
    break;
  }
  static_cast<void>(
      policy::parse_dns_list(input, policy::DnsListBy::kClientAddress, false).has_value());
  return 0;
}
