// transcript.h - what was said in a session with a server, for the postmaster (notify_classes =
// protocol): commands and replies, never content, never a login.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "common/smtpwire/reply_reader.h"

namespace postern::smtpclient {

class Transcript {
 public:
  // Beyond, the rest is left out.
  static constexpr std::size_t kMaxSize = std::size_t{64} << 10;

  void add_command(std::string_view line);
  void add_reply(const smtpwire::ServerReply& reply);
  // The last reply was none of trouble: another command was tried in the place of the first.
  void forgive() { has_protocol_error_ = false; }

  // A reply that says that what we sent makes no sense (RFC 5321 4.2.1: x0z), or is no reply.
  [[nodiscard]] bool has_protocol_error() const { return has_protocol_error_; }
  // Whole lines.
  [[nodiscard]] const std::string& text() const { return text_; }
  void clear();

 private:
  void add(std::string_view direction, std::string_view line);

  std::string text_;
  bool has_protocol_error_ = false;
};

}  // namespace postern::smtpclient
