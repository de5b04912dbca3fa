// PROXY headers: what is accepted is whole, bounded and the same whatever follows it.

#include <cassert>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/config/networks.h"
#include "common/smtpwire/proxy_header.h"

using namespace postern;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(static_cast<const char*>(static_cast<const void*>(data)), size);
  using State = smtpwire::ProxyHeader::State;
  const auto header = smtpwire::parse_proxy_header(input);
  if (header.state == State::kMore) assert(size < smtpwire::kMaxProxyHeader);
  if (header.state != State::kDone) return 0;
  assert(header.consumed <= size && header.consumed <= smtpwire::kMaxProxyHeader);
  if (!header.is_local) {
    assert(config::parse_ip_address(header.client_address));
    assert(config::parse_ip_address(header.server_address));
  }
  const auto again = smtpwire::parse_proxy_header(std::string(input.substr(0, header.consumed)));
  assert(again.state == State::kDone && again.consumed == header.consumed);
  return 0;
}
