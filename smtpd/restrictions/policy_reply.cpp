#include "smtpd/restrictions/policy_reply.h"

#include "common/base/text.h"

namespace postern::smtpd {

PolicyReply parse_policy_reply(std::string_view input) {
  PolicyReply reply;
  const auto bad = [&](std::string_view problem) {
    reply.state = PolicyReply::State::kBad;
    reply.problem = problem;
    reply.action.clear();
    return reply;
  };
  std::size_t at = 0;
  bool has_action = false;
  for (;;) {
    const auto end = input.find('\n', at);
    if (end == std::string_view::npos) {
      if (input.size() > kMaxPolicyReply) return bad("reply too long");
      return PolicyReply{};
    }
    std::string_view line = input.substr(at, end - at);
    at = end + 1;
    if (at > kMaxPolicyReply) return bad("reply too long");
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) break;
    const auto equals = line.find('=');
    if (equals == std::string_view::npos || equals == 0) return bad("a line is no name=value");
    if (line.find('\0') != std::string_view::npos) return bad("a NUL byte");
    if (trim(line.substr(0, equals)) != "action") continue;
    if (has_action) return bad("more than one action");
    has_action = true;
    reply.action = trim(line.substr(equals + 1));
  }
  if (!has_action) return bad("no action");
  reply.state = PolicyReply::State::kAction;
  reply.consumed = at;
  return reply;
}

void append_attribute(std::string& request, std::string_view name, std::string_view value) {
  request += name;
  request += '=';
  for (const char c : value) request += c == '\n' || c == '\r' || c == '\0' ? '?' : c;
  request += '\n';
}

}  // namespace postern::smtpd
