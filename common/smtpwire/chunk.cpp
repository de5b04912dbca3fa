#include "common/smtpwire/chunk.h"

namespace postern::smtpwire {

void ChunkDecoder::decode(std::string_view in, std::string& out) {
  look_for_nul(in);
  out.reserve(out.size() + in.size() + 1);
  while (!in.empty()) in.remove_prefix(line_part(in, out));
}

void ChunkDecoder::finish(std::string& out) {
  if (held_crs_ > 0) seen_bare_cr_ = true;
  if (!at_line_start_) out += '\n';
  held_crs_ = 0;
  at_line_start_ = true;
}

}  // namespace postern::smtpwire
