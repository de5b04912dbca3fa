#include "common/mail/rewrite.h"

#include <algorithm>
#include <vector>

#include "common/base/text.h"
#include "common/mail/address.h"

namespace postern::mail {

namespace {

using Tokens = std::vector<Token>;

constexpr std::size_t kNone = static_cast<std::size_t>(-1);
// Each round takes one operator away; a path with more of them is an attack, not an address.
constexpr std::size_t kMaxRounds = 100;

std::size_t find_special(const Tokens& tokens, char special, std::size_t from = 0) {
  for (std::size_t i = from; i < tokens.size(); ++i) {
    if (tokens[i].is(special)) return i;
  }
  return kNone;
}

std::size_t rfind_special(const Tokens& tokens, char special) {
  for (std::size_t i = tokens.size(); i-- > 0;) {
    if (tokens[i].is(special)) return i;
  }
  return kNone;
}

Token special(char c) { return {Token::Kind::kSpecial, false, std::string(1, c)}; }

void append_text(Tokens& tokens, std::string_view text) {
  for (auto& token : scan_address(text)) tokens.push_back(std::move(token));
}

// Erases the tokens [from, to).
void erase(Tokens& tokens, std::size_t from, std::size_t to) {
  tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(from),
               tokens.begin() + static_cast<std::ptrdiff_t>(to));
}

// `site!user` to `user@site`; `a!b!user` to `b!user@a`.
bool swap_bang(Tokens& tokens) {
  const std::size_t bang = find_special(tokens, '!');
  if (bang == kNone || bang == 0 || bang + 1 == tokens.size()) return false;
  Tokens swapped(tokens.begin() + static_cast<std::ptrdiff_t>(bang) + 1, tokens.end());
  swapped.push_back(special('@'));
  swapped.insert(swapped.end(), tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(bang));
  tokens = std::move(swapped);
  return true;
}

bool swap_percent(Tokens& tokens) {
  const std::size_t percent = rfind_special(tokens, '%');
  if (percent == kNone || percent + 1 == tokens.size()) return false;
  tokens[percent] = special('@');
  return true;
}

// Not dot-dot or at-dot: leaving broken forms alone makes the later complaint accurate.
void strip_trailing_dot(Tokens& tokens) {
  const std::size_t n = tokens.size();
  if (n < 2 || !tokens[n - 1].is('.')) return;
  if (tokens[n - 2].is('.') || tokens[n - 2].is('@')) return;
  tokens.pop_back();
}

void append_domain(Tokens& tokens, std::string_view domain) {
  const std::size_t at = rfind_special(tokens, '@');
  if (at == kNone || at + 1 == tokens.size()) return;
  for (std::size_t i = at + 1; i < tokens.size(); ++i) {
    if (tokens[i].is('.') || tokens[i].kind == Token::Kind::kLiteral) return;
  }
  tokens.push_back(special('.'));
  append_text(tokens, domain);
}

void rewrite_tokens(const RewriteRules& rules, RewriteContext context, Tokens& tokens) {
  if (tokens.empty()) return;
  const bool local = context == RewriteContext::kLocal;
  const std::string& origin = local ? rules.myorigin : rules.remote_header_rewrite_domain;
  const std::string& domain = local ? rules.mydomain : rules.remote_header_rewrite_domain;

  // What stands behind a route may be one more.
  while (tokens.front().is('@')) {
    const std::size_t colon = find_special(tokens, ':');
    if (colon == kNone || colon + 1 >= tokens.size()) break;
    erase(tokens, 0, colon + 1);
  }
  if (find_special(tokens, '@') == kNone) {
    const bool swapped = rules.swap_bangpath && swap_bang(tokens);
    if (!swapped && rules.allow_percent_hack) swap_percent(tokens);
  }
  if (rules.append_at_myorigin && !origin.empty() && find_special(tokens, '@') == kNone) {
    tokens.push_back(special('@'));
    append_text(tokens, origin);
  }
  if (rules.append_dot_mydomain && !domain.empty()) append_domain(tokens, domain);
  strip_trailing_dot(tokens);
}

std::string print_from(const Tokens& tokens, std::size_t from, std::size_t to = kNone) {
  to = std::min(to, tokens.size());
  return print_internal(std::span(tokens).subspan(from, to - from));
}

bool has_route(const ResolveRules& rules, const Tokens& tokens) {
  return find_special(tokens, '@') != kNone ||
         (rules.rewrite.swap_bangpath && find_special(tokens, '!') != kNone) ||
         (rules.rewrite.allow_percent_hack && find_special(tokens, '%') != kNone);
}

}  // namespace

std::string rewrite_external(const RewriteRules& rules, RewriteContext context,
                             std::string_view external) {
  Tokens tokens = scan_address(external);
  rewrite_tokens(rules, context, tokens);
  return print_external(tokens);
}

std::string rewrite_address(const RewriteRules& rules, RewriteContext context,
                            std::string_view internal) {
  if (internal.empty()) return {};
  Tokens tokens = scan_address(quote_address(internal));
  rewrite_tokens(rules, context, tokens);
  return print_internal(tokens);
}

Result<ResolvedForm> resolve_form(const ResolveRules& rules, std::string_view internal,
                                  const std::function<Result<bool>(const std::string&)>& is_local) {
  ResolvedForm form;
  Tokens tokens = scan_address(quote_address(internal));
  std::string saved_domain;
  bool saw_local = false;

  // Locally submitted or not, a recipient like -oX must never reach a command line.
  if (!rules.allow_min_user && internal.starts_with('-')) form.is_error = true;

  for (std::size_t round = 0;; ++round) {
    if (round == kMaxRounds) {
      form.is_error = true;
      break;
    }
    strip_trailing_dot(tokens);
    if (!tokens.empty() && tokens.back().is('@')) {
      if (!rules.resolve_null_domain) {
        form.is_error = true;
        break;
      }
      tokens.pop_back();
      continue;
    }
    const std::size_t at = rfind_special(tokens, '@');
    if (at != kNone) {
      std::string domain = print_from(tokens, at + 1);
      if (rules.resolve_numeric_domain && is_address_literal("[" + domain + "]")) {
        domain = "[" + domain + "]";
        tokens.resize(at);
        for (auto& token : scan_address("@" + domain)) tokens.push_back(std::move(token));
      }
      TRY(const bool local, is_local(domain));
      if (!local) {
        saved_domain = domain;
        saw_local = false;
        break;
      }
      saved_domain = domain;
      saw_local = true;
      tokens.resize(at);
      if (print_internal(tokens).empty()) tokens.clear();  // `""@here` is nobody, as `@here` is
    }
    if (rules.resolve_dequoted_address && tokens.size() == 1 &&
        tokens.front().kind == Token::Kind::kQuoted) {
      Tokens opened = scan_address(tokens.front().text);
      // Opened only for its routing operators: `odd name` stays one word.
      if (has_route(rules, opened)) tokens = std::move(opened);
    }
    if (!has_route(rules, tokens)) {
      saw_local = true;
      break;
    }
    const std::string before = print_external(tokens);
    RewriteRules only_swap = rules.rewrite;
    only_swap.append_at_myorigin = false;
    rewrite_tokens(only_swap, RewriteContext::kLocal, tokens);
    if (at == kNone && print_external(tokens) == before) {
      saw_local = true;  // an operator that leads nowhere, as in `!user`
      break;
    }
    if (find_special(tokens, '@') == kNone) {
      saw_local = true;
      break;
    }
  }

  if (saw_local) {
    if (tokens.empty()) tokens = scan_address(rules.empty_address_recipient);
    form.is_local = true;
    form.domain = saved_domain;
    form.local_part = print_internal(tokens);
    form.recipient = form.local_part;
    if (!saved_domain.empty()) form.recipient.append("@").append(saved_domain);
    // A table's answer could start with '-' where the address did not: `"-x%here"@here`.
    if (!rules.allow_min_user && form.local_part.starts_with('-')) form.is_error = true;
    return form;
  }

  const std::size_t at = rfind_special(tokens, '@');
  form.domain = saved_domain;
  form.local_part = print_from(tokens, 0, at == kNone ? tokens.size() : at);
  form.recipient = print_internal(tokens);
  if (!form.is_error) {
    form.is_error = !is_valid_domain(form.domain);
    if (!rules.allow_min_user && form.local_part.starts_with('-')) form.is_error = true;
  }
  if (at != kNone) {
    Tokens local(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(at));
    if (rules.resolve_dequoted_address) local = scan_address(form.local_part);
    form.is_routed = find_special(local, '@') != kNone || find_special(local, '!') != kNone ||
                     find_special(local, '%') != kNone;
  }
  return form;
}

}  // namespace postern::mail
