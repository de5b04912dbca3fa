// policy_reply.h - the wire format of policy delegation: what a server answers, and attributes of
// what it is asked. Pure; any bytes give an action, a problem or "more".

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace postern::smtpd {

// `name=value` lines up to an empty one; of them `action` counts.
struct PolicyReply {
  enum class State : unsigned char { kMore, kAction, kBad };
  State state = State::kMore;
  std::string action;        // kAction: "REJECT text"
  std::size_t consumed = 0;  // kAction: bytes of the reply
  std::string_view problem;  // kBad
};
inline constexpr std::size_t kMaxPolicyReply = std::size_t{64} << 10;
[[nodiscard]] PolicyReply parse_policy_reply(std::string_view input);

// "name=value\n", the value made fit for one line.
void append_attribute(std::string& request, std::string_view name, std::string_view value);

}  // namespace postern::smtpd
