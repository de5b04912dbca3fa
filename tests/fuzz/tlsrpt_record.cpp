// TXT records at _smtp._tls: any text is a record or none, and no address ends a line.

#include <cstdint>
#include <string_view>

#include "common/mail/report_address.h"

using namespace postern;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(static_cast<const char*>(static_cast<const void*>(data)), size);
  const auto addresses = mail::parse_tlsrpt_record(input);
  if (!addresses) return 0;
  if (addresses->size() > mail::kMaxReportAddresses) __builtin_trap();
  for (const auto& address : *addresses) {
    if (address.target.find_first_of("\r\n \"<>") != std::string::npos) __builtin_trap();
  }
  return 0;
}
