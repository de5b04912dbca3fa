// Texts around TLS: names that clients send, PEM files, lists of protocols.

#include <cassert>
#include <cstdint>
#include <string_view>

#include "common/tls/certificate.h"
#include "common/tls/key_files.h"
#include "common/tls/policy.h"
#include "common/tls/server_name.h"

using namespace postern;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(static_cast<const char*>(static_cast<const void*>(data)), size);
  if (const auto name = tls::parse_server_name(text)) {
    assert(!name->empty() && name->size() <= 253);
  }
  const std::string open = tls::public_part(text);
  const std::string secret = tls::private_part(text);
  assert(tls::private_part(open).empty());
  assert(tls::public_part(open) == open);
  if (secret.empty()) assert(open == text);
  static_cast<void>(tls::parse_certificates(text));
  static_cast<void>(tls::parse_public_identities(open, true));
  static_cast<void>(tls::parse_identities(text));
  static_cast<void>(tls::parse_protocols(text));
  const auto half = text.size() / 2;
  static_cast<void>(tls::matches_name(text.substr(0, half), text.substr(half), true));
  return 0;
}
