// What a milter sends: packets of any bytes, in any pieces.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "common/milter/codec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern::milter;
  std::string_view input(reinterpret_cast<const char*>(data), size);
  for (;;) {
    const Packet packet = parse_packet(input);
    if (packet.state != Packet::State::kWhole) break;
    if (packet.consumed > input.size()) std::abort();
    if (packet.command == kOptions) (void)parse_options(packet.payload);
    const auto reply = parse_reply(packet.command, packet.payload);
    // A header's name never ends a line.
    if (reply && reply->is_change() && reply->name.find('\n') != std::string::npos &&
        reply->kind <= Reply::Kind::kChangeHeader) {
      std::abort();
    }
    input.remove_prefix(packet.consumed);
  }
  return 0;
}
