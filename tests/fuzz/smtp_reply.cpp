// Replies of a server: bounded whatever it sends, the same in one piece and byte by byte.

#include <cassert>
#include <cstdint>
#include <string_view>

#include "common/smtpwire/ehlo.h"
#include "common/smtpwire/reply_reader.h"

using namespace postern;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(static_cast<const char*>(static_cast<const void*>(data)), size);
  const smtpwire::ReplyLimits limits{.line_length = 50, .lines = 5, .total_size = 500};
  smtpwire::ReplyReader whole(limits);
  smtpwire::ReplyReader pieces(limits);
  std::string_view in = input;
  std::size_t at = 0;
  for (;;) {
    const auto done = whole.feed(in);
    Result<bool> same = false;
    while (at < input.size() && same && !*same) {
      std::string_view piece = input.substr(at, 1);
      same = pieces.feed(piece);
      if (same) at += 1 - piece.size();
    }
    assert(done.has_value() == same.has_value());
    if (!done || !*done) break;
    assert(*same && at == input.size() - in.size());
    const auto reply = whole.take();
    const auto other = pieces.take();
    assert(reply.code == other.code && reply.lines == other.lines);
    assert(reply.lines.size() <= limits.lines);
    static_cast<void>(smtpwire::parse_ehlo(reply.lines));
    static_cast<void>(reply.status());
  }
  return 0;
}
