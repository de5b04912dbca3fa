// message.h - the message on standard input, as it comes from programs and terminals.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/result.h"

namespace postern::sendmail {

// sendmail_fix_line_endings: whether CR before LF goes.
enum class FixLineEnds : unsigned char {
  kNever,
  kAlways,
  kStrict,  // where the first line has one
};

// Reads lines from a descriptor. Line ends become LF as `fix` says, a leading
// From_ line is dropped, a lone dot ends the input unless that is switched off, and a last line
// without an end gets one.
class MessageReader {
 public:
  MessageReader(int fd, bool ignore_dots, FixLineEnds fix)
      : fd_(fd), ignore_dots_(ignore_dots), fix_(fix) {}

  // Up to about 64 KiB of whole lines; empty at the end.
  [[nodiscard]] Result<std::string> next();
  [[nodiscard]] bool is_8bit() const { return is_8bit_; }

 private:
  [[nodiscard]] bool take_line(std::string_view line, std::string& out);

  int fd_;
  bool ignore_dots_;
  FixLineEnds fix_;
  std::string buffer_;
  bool at_end_ = false;
  bool is_first_ = true;
  bool is_8bit_ = false;
};

// The recipients that a header names, in internal form: those of the Resent- fields if there are
// any, else To, Cc and Bcc. At most `limit`.
[[nodiscard]] std::vector<std::string> recipients_of_header(std::string_view header,
                                                            std::size_t limit);

// What a dry run (-bv) sends: a header, and nothing in it but whom it is about.
[[nodiscard]] std::string probe_message(std::string_view sender,
                                        const std::vector<std::string>& recipients);

// The internal form of addresses as a user writes them: "Name <a@b>", "<>", "a@b".
[[nodiscard]] std::vector<std::string> addresses_of_argument(std::string_view text);

}  // namespace postern::sendmail
