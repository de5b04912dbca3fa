// main_cf.cpp - any bytes as main.cf, and every value of it expanded.

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "common/config/lint.h"
#include "common/config/main_cf.h"
#include "common/config/values.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern::config;
  if (size > 65536) return 0;
  const std::string text(data, data + size);
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->settings = parse_main_cf(text, "main.cf").settings;
  snapshot->index();
  const Values values(snapshot);
  for (const Setting& setting : snapshot->settings) {
    if (setting.value.size() > size) std::abort();
    (void)values.expanded(setting.name);
  }
  const auto again = parse_snapshot(serialize(*snapshot));
  if (!again || again->settings.size() != snapshot->settings.size()) std::abort();
  (void)parse_snapshot(text);
  return 0;
}
