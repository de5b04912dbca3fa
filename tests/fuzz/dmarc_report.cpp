// Aggregate reports: any text is a report or is refused.

#include <cstdint>
#include <string_view>

#include "common/mailauth/dmarc_report.h"

using namespace postern;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(static_cast<const char*>(static_cast<const void*>(data)), size);
  static_cast<void>(mailauth::parse_dmarc_report(input));
  return 0;
}
