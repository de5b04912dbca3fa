// Replies of the servers behind tcp: and socketmap: tables: bounded, the same in one piece and byte
// by byte, and never a value longer than what was sent.

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <string_view>

#include "common/table/server_wire.h"

using namespace postern;

namespace {

void check(table::ServerAddress::Protocol protocol, std::string_view input) {
  using State = table::ServerReply::State;
  const table::ServerAddress server{protocol, "unix:s", "map"};
  const table::ServerLimits limits{100, 1000};
  const auto whole = table::parse_server_reply(server, input, limits);
  assert(whole.consumed <= input.size());
  assert((whole.state == State::kDone) == (whole.consumed > 0));
  assert(whole.state != State::kBad || !whole.found);
  if (whole.found && *whole.found) assert((*whole.found)->size() < whole.consumed);
  // Whatever is not decided by then is longer than any answer.
  if (input.size() > 2 * table::kMaxTcpLine) assert(whole.state != State::kMore);
  for (std::size_t end = 0; end <= std::min<std::size_t>(input.size(), 4200); ++end) {
    const auto part = table::parse_server_reply(server, input.substr(0, end), limits);
    if (part.state == State::kMore) continue;
    assert(part.state == whole.state && part.consumed == whole.consumed);
    break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(static_cast<const char*>(static_cast<const void*>(data)), size);
  check(table::ServerAddress::Protocol::kTcp, input);
  check(table::ServerAddress::Protocol::kSocketmap, input);
  if (const auto server = table::parse_server_table(input)) {
    const auto request = table::encode_request(*server, input, {});
    if (request && server->protocol == table::ServerAddress::Protocol::kTcp) {
      assert(request->find('\n') == request->size() - 1 && request->size() <= table::kMaxTcpLine);
    }
  }
  return 0;
}
