// rewrite.h - bring an address into standard form, and find out which domain it is for.
//
// Trivial rewriting completes and tidies: `user` to `user@myorigin`, `user@host` to
// `user@host.mydomain`, `host!user` to `user@host`, `@route:user@host` to `user@host`. It is pure:
// both `tables` (trivial-rewrite's part) and `cleanup` call it with rules from main.cf.

#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "common/base/result.h"

namespace postern::mail {

// Members have the names of their parameters in postconf(5).
struct RewriteRules {
  bool append_at_myorigin = true;
  bool append_dot_mydomain = false;
  bool swap_bangpath = true;
  bool allow_percent_hack = true;
  std::string myorigin;
  std::string mydomain;
  std::string remote_header_rewrite_domain;
};

enum class RewriteContext : unsigned char {
  kLocal,   // completes with myorigin and mydomain
  kRemote,  // completes with remote_header_rewrite_domain, or not at all when that is empty
};

// External form in, external form out (as in a header). An empty address stays empty.
[[nodiscard]] std::string rewrite_external(const RewriteRules& rules, RewriteContext context,
                                           std::string_view external);
// The same for the internal form (as in an envelope).
[[nodiscard]] std::string rewrite_address(const RewriteRules& rules, RewriteContext context,
                                          std::string_view internal);

struct ResolveRules {
  RewriteRules rewrite;
  bool resolve_dequoted_address = true;  // look for @ % ! inside a quoted local part too
  bool resolve_null_domain = false;      // `user@` is `user`
  bool resolve_numeric_domain = false;   // `user@192.0.2.1` is `user@[192.0.2.1]`
  bool allow_min_user = false;           // a local part may start with '-'
  std::string empty_address_recipient = "MAILER-DAEMON";
};

// What remains of an address when the domains that are local have been taken off.
struct ResolvedForm {
  std::string recipient;  // internal; what is delivered to
  std::string local_part;
  std::string domain;  // the one to route by; the last local one if is_local
  bool is_local = false;
  bool is_routed = false;  // still had a routing operator in its local part (RESOLVE_FLAG_ROUTED)
  bool is_error = false;   // no such form can be mailed to: 501 5.1.3 (5.1.7 for a sender)
};

// Takes off local domains one after the other (`u%there@here` is for `there`) until what is left
// is remote or a plain local user. `is_local` answers for one domain, and may fail (a table).
[[nodiscard]] Result<ResolvedForm> resolve_form(
    const ResolveRules& rules, std::string_view internal,
    const std::function<Result<bool>(const std::string&)>& is_local);

}  // namespace postern::mail
