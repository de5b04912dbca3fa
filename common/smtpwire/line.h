// line.h - command and reply lines out of a stream of bytes.
//
// The caller has one buffer and shows the whole unread part of it to next() until that says kMore;
// then it reads more and shows the longer part. Nothing is scanned twice, nothing is copied.

#pragma once

#include <cstddef>
#include <string_view>

namespace postern::smtpwire {

struct Line {
  enum class State : unsigned char {
    kMore,     // no line yet, and the limit is not reached
    kLine,     // `text` is a line
    kTooLong,  // `text` is the part within the limit; what belongs to the line is thrown away
  };
  State state = State::kMore;
  std::string_view text;     // without its line end; a view into the buffer
  std::size_t consumed = 0;  // bytes to drop from the front of the buffer, when done with `text`
  bool bare_lf = false;      // ended by LF alone
  bool bare_cr = false;      // holds a CR that is no line end
  bool nul = false;
};

class LineSplitter {
 public:
  // Lines of up to `limit` bytes, their end not counted (postconf(5) line_length_limit).
  explicit LineSplitter(std::size_t limit) : limit_(limit) {}

  // After kLine and kTooLong the caller drops `consumed` bytes before the next call. A line over
  // the limit is reported once, as kTooLong, and its rest is consumed silently (kMore with
  // `consumed` set): memory stays at the limit however long the line is.
  [[nodiscard]] Line next(std::string_view buffer);

  // For the lines that come; the rest of one that was too long is still thrown away.
  void set_limit(std::size_t limit) { limit_ = limit; }

 private:
  std::size_t limit_;
  std::size_t searched_ = 0;  // no LF in front of here
  bool skipping_ = false;
};

}  // namespace postern::smtpwire
