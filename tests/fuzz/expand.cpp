// expand.cpp - any bytes as a value; the names a to d refer to each other.

#include "common/config/expand.h"

#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern::config;
  if (size > 16384) return 0;
  const std::string text(data, data + size);
  const Lookup lookup = [&](std::string_view name) -> std::optional<std::string> {
    if (name == "a") return "x";
    if (name == "b") return "$a ${a?{$c}}";
    if (name == "c") return text;
    if (name == "d") return "";
    return std::nullopt;
  };
  const auto value = expand(text, lookup);
  if (value && value->size() > 2 * kMaxExpansion) std::abort();
  (void)names_in(text);
  return 0;
}
