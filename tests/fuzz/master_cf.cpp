// master_cf.cpp - any bytes as master.cf; what was understood must print and read back.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "common/config/master_cf.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern::config;
  if (size > 65536) return 0;
  const MasterCf cf = parse_master_cf(std::string(data, data + size), "master.cf");
  for (const Service& service : cf.services) {
    const auto again = parse_service(print_service(service, MasterStyle::kOneLine), "", 0);
    if (!again || again->columns != service.columns || again->args != service.args) std::abort();
    if (again->overrides != service.overrides) std::abort();
    (void)print_service(service, MasterStyle::kFolded);
  }
  return 0;
}
