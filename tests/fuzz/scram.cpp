// SCRAM messages of a client and of a server: any bytes are refused or understood, and nobody logs
// in without the password.

#include <cassert>
#include <cstdint>
#include <string_view>

#include "common/sasl/scram.h"

using namespace postern;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(static_cast<const char*>(static_cast<const void*>(data)), size);
  const auto half = input.find('\n');
  const auto first = input.substr(0, half);
  const auto second = half == std::string_view::npos ? std::string_view() : input.substr(half + 1);
  sasl::ScramEntry entry;
  entry.iterations = 1;
  entry.salt = "salt";
  entry.stored_key = sasl::digest(sasl::Hash::kSha256, "nobody knows this");
  entry.server_key = entry.stored_key;
  for (const bool is_plus : {false, true}) {
    sasl::ScramServer server(sasl::Hash::kSha256, is_plus, "tls-exporter", "binding");
    if (!server.read_first(first)) continue;
    (void)server.challenge(entry, "server");
    assert(!server.read_final(second));
  }
  (void)sasl::parse_scram_entry(sasl::Hash::kSha256, input);
  // Not as many rounds as a server may ask for: the fuzzer has no time.
  if (input.find(",i=") != std::string_view::npos && input.size() - input.find(",i=") > 6) return 0;
  sasl::ScramClient client(sasl::Hash::kSha256, "user", "pencil", "nonce");
  const auto answer = client.answer(first);
  assert(!answer || answer->starts_with("c=biws,r=nonce"));
  (void)client.check_final(second).has_value();
  return 0;
}
