#include "common/smtpclient/transcript.h"

#include <fmt/format.h>

#include "common/log/clean.h"
#include "common/policy/debug_peers.h"

namespace postern::smtpclient {

namespace {
constexpr std::size_t kMaxShown = 1000;

bool is_protocol_error(int code) {
  return code < 200 || code >= 600 || (code >= 500 && code < 510) || code == 555;
}
}  // namespace

void Transcript::add_command(std::string_view line) { add("Out:", policy::loggable_command(line)); }

void Transcript::add_reply(const smtpwire::ServerReply& reply) {
  if (is_protocol_error(reply.code)) has_protocol_error_ = true;
  for (std::size_t i = 0; i < reply.lines.size(); ++i) {
    const char mark = i + 1 < reply.lines.size() ? '-' : ' ';
    add("In: ", reply.code == 334 ? "334 (not shown)"
                                  : fmt::format("{}{}{}", reply.code, mark, reply.lines[i]));
  }
  if (reply.lines.empty()) add("In: ", fmt::format("{}", reply.code));
}

void Transcript::add(std::string_view direction, std::string_view line) {
  if (text_.size() >= kMaxSize) return;
  text_ += fmt::format(" {} {}\n", direction, log::clean(line, kMaxShown));
}

void Transcript::clear() {
  text_.clear();
  has_protocol_error_ = false;
}

}  // namespace postern::smtpclient
