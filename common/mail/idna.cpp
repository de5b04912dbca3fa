#include "common/mail/idna.h"

#include <idn2.h>

#include <memory>

#include "common/base/text.h"

namespace postern::mail {

namespace {

// Twice what DNS can hold: longer ones are no domains.
constexpr std::size_t kMaxDomain = 512;

}  // namespace

std::optional<std::string> to_a_labels(std::string_view domain) {
  if (is_all_ascii(domain)) return to_lower(domain);
  if (domain.size() > kMaxDomain || domain.find('\0') != std::string_view::npos ||
      !is_valid_utf8(domain)) {
    return std::nullopt;
  }
  const std::string text(domain);
  char* converted = nullptr;
  const int done =
      ::idn2_to_ascii_8z(text.c_str(), &converted, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
  const std::unique_ptr<char, void (*)(void*)> owned(converted, ::idn2_free);
  if (done != IDN2_OK || converted == nullptr) return std::nullopt;
  return to_lower(converted);
}

std::string with_a_labels(std::string_view address) {
  const auto at = address.rfind('@');
  if (at == std::string_view::npos || is_all_ascii(address.substr(at + 1))) {
    return std::string(address);
  }
  const auto domain = to_a_labels(address.substr(at + 1));
  return std::string(address.substr(0, at + 1)) +
         (domain ? *domain : std::string(address.substr(at + 1)));
}

}  // namespace postern::mail
