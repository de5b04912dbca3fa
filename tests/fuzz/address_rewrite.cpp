// Trivial rewriting brings any bytes into standard form, and what is in standard form stays as it
// is: rewriting twice gives what rewriting once gave, in both forms and by all rules.
//
// One exception is by design, and Postfix's, too: in `user@host.` the dot says that the name is
// whole. It is taken off, so that with append_dot_mydomain the name is completed the next time, and
// stays so from then on.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/mail/rewrite.h"

namespace {

using namespace postern::mail;

template <typename Rewrite>
void check_stable(const RewriteRules& rules, RewriteContext context, std::string_view text,
                  const Rewrite& rewrite) {
  // No control character gets through a command or a header's parser.
  if (std::ranges::any_of(text, [](char c) { return postern::is_control(c); })) return;
  const std::string once = rewrite(text);
  // Of what no command and no resolver lets through nothing is promised.
  const auto parts = split_address(once);
  if (parts.has_domain && !is_valid_domain(parts.domain)) return;
  if (once.starts_with('@')) return;
  const std::string twice = rewrite(once);
  if (twice == once) return;
  const std::string& domain =
      context == RewriteContext::kLocal ? rules.mydomain : rules.remote_header_rewrite_domain;
  const bool was_whole = rules.append_dot_mydomain && text.find('.') != std::string_view::npos &&
                         twice == once + "." + domain;
  if (!was_whole || rewrite(twice) != twice) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1 || size > 4096) return 0;
  const unsigned choice = data[0];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  RewriteRules rules;
  rules.append_at_myorigin = (choice & 1U) == 0;
  rules.append_dot_mydomain = (choice & 2U) != 0;
  rules.swap_bangpath = (choice & 4U) == 0;
  rules.allow_percent_hack = (choice & 8U) == 0;
  rules.myorigin = "origin.test";
  rules.mydomain = "domain.test";
  if ((choice & 16U) != 0) rules.remote_header_rewrite_domain = "remote.test";
  const auto context = (choice & 32U) != 0 ? RewriteContext::kRemote : RewriteContext::kLocal;

  check_stable(rules, context, text,
               [&](std::string_view each) { return rewrite_address(rules, context, each); });
  check_stable(rules, context, text,
               [&](std::string_view each) { return rewrite_external(rules, context, each); });

  ResolveRules resolve;
  resolve.rewrite = rules;
  resolve.resolve_dequoted_address = (choice & 64U) == 0;
  resolve.allow_min_user = (choice & 128U) != 0;
  const auto form = resolve_form(resolve, text, [](const std::string& domain) {
    return postern::Result<bool>(domain == "origin.test" || domain.size() % 3 == 0);
  });
  if (!form) std::abort();
  return 0;
}
