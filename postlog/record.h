// record.h - what processes write on the log pipe, read back: common/log/log.h has the format.
//
// A process that was taken over may write anything: whatever comes gives records of one printable
// line each. A line that is no record (the last words of a failed assertion, what a library says on
// standard error) is kept, marked as such.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/log/log.h"

namespace postern::postlog {

enum class RecordKind : unsigned char { kText, kJson, kForeign };

struct Record {
  RecordKind kind = RecordKind::kText;
  log::Level level = log::Level::kInfo;
  std::string_view line;  // without its end
};

// Never fails: what is not one of ours is kForeign.
[[nodiscard]] Record parse_record(std::string_view line);

// Puts '?' for control characters, in place.
void make_printable(std::string& bytes);

// "Nov 24 13:53:56 host postfix/smtpd[1]: text" in its parts.
struct ClassicLine {
  std::string_view time;  // 15 characters
  std::string_view host;
  std::string_view rest;  // from the tag on
};
[[nodiscard]] std::optional<ClassicLine> parse_classic_line(std::string_view line);

// Cuts a stream of bytes into lines.
class LineCutter {
 public:
  // Longer lines are given out in pieces.
  static constexpr std::size_t kMaxLine = 8192;

  void add(std::string_view bytes) { buffer_ += bytes; }
  // The next whole line, without its end; valid until the next call. At the end of the input
  // (`flush`) also what has no end.
  [[nodiscard]] std::optional<std::string_view> next(bool flush = false);

 private:
  std::string buffer_;
  std::size_t start_ = 0;
};

}  // namespace postern::postlog
