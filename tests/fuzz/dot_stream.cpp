// Content: decoding does not depend on the cut, and what the encoder writes ends only at its end.

#include <algorithm>
#include <array>
#include <cassert>
#include <cstdint>
#include <string_view>

#include "common/smtpwire/chunk.h"
#include "common/smtpwire/dot.h"

using namespace postern;

namespace {

std::string encode(std::string_view text, std::size_t limit) {
  smtpwire::DotEncoder encoder(limit);
  std::array<char, 16> buffer{};
  std::string wire;
  while (!text.empty()) {
    const std::size_t written = encoder.encode(text, buffer);
    assert(written > 0);
    wire.append(buffer.data(), written);
  }
  wire.append(buffer.data(), encoder.finish(buffer));
  return wire;
}

// What DATA means, one byte after the other; the slow truth for CRLF-only input.
std::string decode_simply(std::string_view wire) {
  std::string out;
  bool start = true;
  for (std::size_t i = 0; i < wire.size(); ++i) {
    if (start && wire.substr(i).starts_with(".\r\n")) return out;
    if (start && wire[i] == '.') ++i;
    start = false;
    if (wire.substr(i).starts_with("\r\n")) {
      out += '\n';
      ++i;
      start = true;
    } else {
      out += wire[i];
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view input(static_cast<const char*>(static_cast<const void*>(data)), size);
  const std::size_t step = 1 + data[0] % 7U;
  const auto bare_lf = static_cast<smtpwire::BareLf>(data[1] % 3U);
  const auto bare_cr = static_cast<smtpwire::BareCr>(data[1] / 3U % 3U);
  const std::string_view wire = input.substr(2);

  smtpwire::DotDecoder whole({bare_lf, bare_cr});
  smtpwire::DotDecoder pieces({bare_lf, bare_cr});
  std::string text;
  std::string same;
  const std::size_t used = whole.decode(wire, text);
  std::size_t at = 0;
  while (at < wire.size() && !pieces.done()) at += pieces.decode(wire.substr(at, step), same);
  assert(text == same && used == at);
  assert(whole.done() == pieces.done());
  assert(whole.seen_bare_lf() == pieces.seen_bare_lf());
  assert(whole.seen_bare_cr() == pieces.seen_bare_cr());
  if (bare_cr != smtpwire::BareCr::kKeep) assert(text.find('\r') == std::string::npos);
  if (whole.done() && bare_lf != smtpwire::BareLf::kAllow) {
    assert(wire.substr(0, used).ends_with(".\r\n"));
  }

  smtpwire::ChunkDecoder chunks({bare_lf, bare_cr});
  std::string chunked;
  chunks.decode(wire, chunked);
  chunks.finish(chunked);

  for (const std::size_t limit : {std::size_t{0}, std::size_t{5}}) {
    const std::string sent = encode(text, limit);
    smtpwire::DotDecoder reader({smtpwire::BareLf::kNormalize, smtpwire::BareCr::kKeep});
    std::string got;
    assert(reader.decode(sent, got) == sent.size() && reader.done());
    assert(!reader.seen_bare_lf() && !reader.seen_bare_cr());
    assert(got == decode_simply(sent));
    if (limit != 0) continue;
    std::string expected = text;
    std::replace(expected.begin(), expected.end(), '\r', ' ');
    if (!expected.empty() && !expected.ends_with('\n')) expected += '\n';
    assert(got == expected);
  }
  return 0;
}
