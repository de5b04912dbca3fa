// chunk.h - message content in BDAT chunks (RFC 3030): no dots, lines may be cut between chunks.

#pragma once

#include <string>
#include <string_view>

#include "common/smtpwire/dot.h"

namespace postern::smtpwire {

// One message; feed the bytes of all its chunks.
class ChunkDecoder : public LineEndDecoder {
 public:
  explicit ChunkDecoder(const DecodeRules& rules) : LineEndDecoder(rules) {}

  void decode(std::string_view in, std::string& out);

  // After the last chunk: ends a line that was not ended.
  void finish(std::string& out);
};

}  // namespace postern::smtpwire
