#include "common/mailauth/converted_top.h"

#include <fmt/format.h>

#include <charconv>
#include <cstddef>

#include "common/base/encode.h"
#include "common/base/text.h"
#include "common/mailauth/crypto.h"
#include "common/queuefile/envelope.h"

namespace postern::mailauth {

namespace {

std::string fingerprint(std::string_view top) { return base64_encode(sha256(top)); }

}  // namespace

std::string print_converted_top(std::string_view top, std::string_view converted) {
  std::string value =
      fmt::format("{} {} {}", top.size(), fingerprint(top), xtext_encode(converted));
  if (value.size() > queuefile::kMaxAttributeValue) value.clear();
  return value;
}

void put_converted_top(std::string& header, std::string_view attribute) {
  const auto words = split_words(attribute);
  if (words.size() != 3) return;
  std::size_t length = 0;
  const auto [end, error] =
      std::from_chars(words[0].data(), words[0].data() + words[0].size(), length);
  if (error != std::errc() || length > header.size()) return;
  const auto converted = xtext_decode(words[2]);
  if (!converted || fingerprint(std::string_view(header).substr(0, length)) != words[1]) return;
  header.replace(0, length, *converted);
}

}  // namespace postern::mailauth
