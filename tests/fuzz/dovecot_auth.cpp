// Lines of a Dovecot authentication server: any bytes give a line or garbage, and what comes back
// in a request is one line.

#include <cassert>
#include <cstdint>
#include <string_view>

#include "common/sasl/dovecot.h"

using namespace postern;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(static_cast<const char*>(static_cast<const void*>(data)), size);
  const auto line = sasl::parse_dovecot_line(input);
  if (line.kind == sasl::DovecotLine::Kind::kMechanism) {
    assert(sasl::is_mechanism_name(line.mechanism.name));
  }
  assert(!line.user || line.user->size() < size);
  sasl::DovecotRequest request;
  request.mechanism = "PLAIN";
  request.service = std::string(input);
  request.initial_response = std::string(input);
  for (const auto& text : {sasl::dovecot_auth(request), sasl::dovecot_continue(1, input)}) {
    assert(text.find('\n') == text.size() - 1);
  }
  return 0;
}
