// Reports about TLS: any text is a report or is refused, and what was read can be printed.

#include <cstdint>
#include <string_view>

#include "common/tls/tls_report.h"

using namespace postern;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(static_cast<const char*>(static_cast<const void*>(data)), size);
  const auto report = tls::parse_tls_report(input);
  if (report && !tls::parse_tls_report(tls::print_tls_report(*report))) __builtin_trap();
  return 0;
}
