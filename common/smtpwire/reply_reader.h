// reply_reader.h - what a server answered, read piece by piece by a client that trusts nobody.
//
// A reply is bounded in bytes and in lines, so that an endless or dripping one costs nothing; the
// deadline for the whole reply is the caller's. Text is kept as it came, without line ends; it is
// cleaned where it is logged.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/mail/status.h"

namespace postern::smtpwire {

struct ServerReply {
  int code = 0;
  std::vector<std::string> lines;  // without code and separator; lines over the count are dropped

  [[nodiscard]] char klass() const { return static_cast<char>('0' + code / 100); }
  [[nodiscard]] bool is_positive() const { return klass() == '2' || klass() == '3'; }
  // As log lines quote it: "550 5.1.1 no such user", the lines joined by blanks.
  [[nodiscard]] std::string to_line() const;
  // That of its last line, if it is of the class of the code, or x.0.0.
  [[nodiscard]] mail::Status status() const;
};

struct ReplyLimits {
  std::size_t line_length = 2048;  // longer lines are cut, not refused
  std::size_t lines = 128;         // kept; more are read and dropped
  std::size_t total_size = 65536;  // more is an error: the peer is not an SMTP server
};

class ReplyReader {
 public:
  explicit ReplyReader(const ReplyLimits& limits = {}) : limits_(limits) {}

  // Takes bytes from the front of `in`. True: a whole reply is there, take() it; what remains in
  // `in` came behind it. An error (kTemporary) means that the connection is of no further use.
  [[nodiscard]] Result<bool> feed(std::string_view& in);

  [[nodiscard]] ServerReply take();

  // Some bytes of a reply are there, but not all.
  [[nodiscard]] bool is_partial() const { return total_ > 0 && !complete_; }

 private:
  [[nodiscard]] Result<bool> end_line();

  ReplyLimits limits_;
  ServerReply reply_;
  std::string line_;
  std::size_t total_ = 0;
  bool complete_ = false;
};

}  // namespace postern::smtpwire
