// layout.h - where the parts of a queue file are, and the checksum that holds them together.
//
//     file    := version-line  envelope  body  [body ...]  header  [extra]  trailer
//     trailer := magic (8)  9 numbers (8 each, little end first)  checksum (4)  end-magic (4)
//
// The numbers are offset and length of envelope, body, header and extra run, and the message
// size. The body comes first because it is written as it arrives, while the header is finished
// last; where a milter replaced the body, the first run stays as dead bytes and only the second
// one is named. The body is one run of lines that end in LF, sent as it is but for LF to CRLF. The
// header is one run of lines without the empty line that ends it.
//
// The checksum is CRC-32 over the whole file up to itself, state bytes taken as kPending. The
// trailer is the last thing written: a file without one was never acknowledged.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/result.h"

namespace postern::queuefile {

inline constexpr std::string_view kVersionLine = "postern-queue 1\n";
inline constexpr std::size_t kTrailerSize = 8 + 9 * 8 + 4 + 4;
inline constexpr std::size_t kCoveredTrailer = kTrailerSize - 8;  // by the checksum

// Up to this size a file is written with one write and read with one read.
inline constexpr std::size_t kSmallFile = std::size_t{64} << 10;

struct Extent {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;

  [[nodiscard]] std::uint64_t end() const { return offset + length; }
  friend bool operator==(const Extent&, const Extent&) = default;
};

struct Layout {
  Extent envelope;
  Extent body;
  Extent header;
  Extent extra;  // length 0 when there is none
  std::uint64_t message_size = 0;
  std::uint32_t checksum = 0;

  friend bool operator==(const Layout&, const Layout&) = default;
};

// The running checksum.
class Checksum {
 public:
  void add(std::string_view bytes);
  [[nodiscard]] std::uint32_t value() const { return value_; }

 private:
  std::uint32_t value_ = 0;
};

// Appends the trailer, `file_so_far` being the checksum of all before it. Sets layout.checksum.
void append_trailer(std::string& out, Layout& layout, Checksum file_so_far);

// Does the file end as a finished one does? `tail` is its last bytes, kTrailerSize or more.
[[nodiscard]] bool has_trailer(std::string_view tail);

// Reads and checks the trailer at the end of `tail`: every part is inside the file, in order and
// within its bounds. Precondition: has_trailer(tail).
[[nodiscard]] Result<Layout> parse_trailer(std::string_view tail, std::uint64_t file_size);

}  // namespace postern::queuefile
