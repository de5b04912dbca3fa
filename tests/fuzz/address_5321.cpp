// SMTP paths: any bytes give a path or a reason; a path's address survives printing and reading.

#include <cassert>
#include <cstdint>
#include <string_view>

#include "common/mail/address.h"
#include "common/mail/rewrite.h"

using namespace postern;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(static_cast<const char*>(static_cast<const void*>(data)), size);
  for (const bool strict : {false, true}) {
    std::string_view text = input;
    mail::PathError error{};
    const auto path = mail::parse_path(text, {.strict = strict, .allow_empty = true}, error);
    if (!path) continue;
    assert(text.size() < input.size());
    assert(input.ends_with(text));
    const std::string& address = path->address;
    if (address.find(':') == std::string::npos) {
      assert(mail::unquote_address(mail::quote_address(address)) == address);
    }
    static_cast<void>(mail::strip_extension(address, "+-"));
    mail::RewriteRules rules;
    rules.append_dot_mydomain = true;
    rules.myorigin = "origin.test";
    rules.mydomain = "parity.test";
    static_cast<void>(mail::rewrite_address(rules, mail::RewriteContext::kLocal, address));
    const auto form = mail::resolve_form(
        {.rewrite = rules}, address,
        [](const std::string& domain) { return Result<bool>(domain.size() % 2 == 0); });
    assert(form.has_value());
    assert(form->is_error || !form->local_part.starts_with('-'));
  }
  static_cast<void>(mail::is_valid_domain(input));
  return 0;
}
