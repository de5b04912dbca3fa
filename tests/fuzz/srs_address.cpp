// SRS and BATV: what we make leads back.

#include <cassert>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/mail/address.h"
#include "common/mailauth/batv.h"
#include "common/mailauth/srs.h"

using namespace postern;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string input(static_cast<const char*>(static_cast<const void*>(data)), size);
  constexpr std::int64_t kNow = 1'795'900'000;
  mailauth::SrsRules rules;
  rules.domain = "srs.example.net";
  rules.secrets = {"a secret that no input holds"};
  // No assertion that nothing is taken: a fuzzer that watches comparisons learns a hash of 24 bits.
  const auto reverse = mailauth::srs_reverse(rules, input, kNow);
  assert(!reverse || mailauth::is_srs_address(input));

  const auto forward = mailauth::srs_forward(rules, input, kNow);
  if (forward && *forward != input) {
    const auto back = mailauth::srs_reverse(rules, *forward, kNow);
    const auto domain = mail::split_address(input).domain;
    const bool was_plain = !mailauth::is_srs_address(input);
    if (was_plain && mail::is_valid_hostname(domain)) assert(back && *back == input);
  }
  mailauth::BatvRules batv;
  batv.key = "another";
  const auto plain = mailauth::batv_verify(batv, input, kNow);
  assert(!plain || mailauth::is_batv_address(input));
  const auto tagged = mailauth::batv_sign(batv, input, kNow);
  if (tagged != input) assert(mailauth::batv_verify(batv, tagged, kNow) == input);
  return 0;
}
