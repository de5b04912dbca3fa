#include "common/mailauth/results_header.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/mail/address.h"

namespace postern::mailauth {

namespace {

constexpr std::size_t kMaxValue = 500;

bool is_token_char(char c) {
  return is_printable(c) && c != ' ' &&
         std::string_view("()<>@,;:\\\"/[]?=").find(c) == std::string_view::npos;
}

// A pvalue: a token, or an address of tokens, as it is; else a quoted string. No byte of outside
// can end the field or start another result.
std::string pvalue(std::string_view text) {
  text = text.substr(0, kMaxValue);
  const bool is_plain = !text.empty() && std::ranges::all_of(text, [](char c) {
    return is_token_char(c) || c == '@' || !is_ascii(c);
  });
  if (is_plain) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    if (is_control(c)) continue;
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string comment(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kMaxValue)) {
    out += c == '(' || c == ')' || c == '\\' || is_control(c) ? '?' : c;
  }
  return out;
}

// Skips white space and comments; false where a comment has no end.
bool skip_cfws(std::string_view& text) {
  std::size_t depth = 0;
  while (!text.empty()) {
    const char c = text.front();
    if (c == '\\' && depth > 0) {
      text.remove_prefix(std::min<std::size_t>(2, text.size()));
      continue;
    }
    if (c == '(') {
      ++depth;
    } else if (c == ')' && depth > 0) {
      --depth;
    } else if (depth == 0 && !is_space(c)) {
      return true;
    }
    text.remove_prefix(1);
  }
  return depth == 0;
}

}  // namespace

ResultsHeader::ResultsHeader(std::string_view authserv_id) : id_(pvalue(authserv_id)) {}

void ResultsHeader::begin(std::string_view method, std::string_view result,
                          std::string_view reason) {
  std::string text = fmt::format("{}={}", method, result);
  if (!reason.empty()) text += fmt::format(" ({})", comment(reason));
  results_.push_back(std::move(text));
}

void ResultsHeader::property(std::string_view name, std::string_view value) {
  if (value.empty()) return;
  results_.back() += fmt::format(" {}={}", name, pvalue(value));
}

void ResultsHeader::add_spf(const SpfVerdict& verdict, SpfIdentity identity,
                            std::string_view address) {
  begin("spf", spf_result_name(verdict.result), verdict.problem);
  property(identity == SpfIdentity::kHelo ? "smtp.helo" : "smtp.mailfrom", address);
}

void ResultsHeader::add_dkim(const DkimResult& result) {
  begin("dkim", verdict_name(result.verdict), result.problem);
  property("header.d", result.domain);
  if (result.identity != "@" + result.domain) property("header.i", result.identity);
  property("header.s", result.selector);
  property("header.a", result.algorithm);
  property("header.b", result.signature_start);
}

void ResultsHeader::add_dkim_none() { begin("dkim", "none", "message not signed"); }

void ResultsHeader::add_dmarc(const DmarcVerdict& verdict) {
  std::string reason = verdict.problem;
  if (!verdict.policy_domain.empty()) {
    reason = fmt::format("{}{}p={} dis={}", reason, reason.empty() ? "" : "; ",
                         dmarc_policy_name(verdict.policy), dmarc_policy_name(verdict.disposition));
  }
  begin("dmarc", verdict_name(verdict.verdict), reason);
  property("header.from", verdict.from_domain);
}

void ResultsHeader::add_arc(const ArcVerdict& verdict) {
  std::string reason = verdict.problem;
  if (verdict.instance > 0) {
    reason = fmt::format("{}{}i={}", reason, reason.empty() ? "" : "; ", verdict.instance);
  }
  begin("arc", verdict_name(verdict.verdict), reason);
}

std::string ResultsHeader::value() const {
  if (results_.empty()) return id_ + "; none";
  std::string out = id_;
  for (const auto& result : results_) (out += ";\n\t") += result;
  return out;
}

std::optional<std::string> authserv_id_of(std::string_view value) {
  if (!skip_cfws(value) || value.empty()) return std::nullopt;
  std::string id;
  if (value.front() == '"') {
    value.remove_prefix(1);
    bool is_closed = false;
    while (!value.empty() && !is_closed) {
      if (value.front() == '\\' && value.size() > 1)
        value.remove_prefix(1);
      else if (value.front() == '"')
        is_closed = true;
      if (!is_closed) id += value.front();
      value.remove_prefix(1);
    }
    if (!is_closed) return std::nullopt;
  } else {
    const auto end = std::ranges::find_if_not(
        value, [](char c) { return is_token_char(c) || c == '@' || c == ':' || !is_ascii(c); });
    id = value.substr(0, static_cast<std::size_t>(end - value.begin()));
  }
  if (id.empty()) return std::nullopt;
  return id;
}

bool is_forged_results(std::string_view value, std::string_view authserv_id) {
  const auto id = authserv_id_of(value);
  return !id || equal_nocase(*id, authserv_id);
}

std::optional<std::string> find_result(std::string_view value, std::string_view method) {
  // Comments and quoted strings hold no results.
  std::string plain;
  while (!value.empty()) {
    if (value.front() == '(') {
      if (!skip_cfws(value)) break;
      plain += ' ';
      continue;
    }
    if (value.front() == '"') {
      const std::size_t end = value.find('"', 1);
      if (end == std::string_view::npos) break;
      value.remove_prefix(end + 1);
      continue;
    }
    plain += value.front();
    value.remove_prefix(1);
  }
  for (const std::string_view item : split_fields(plain, ';')) {
    const auto [name, rest] = split_at_first(trim(item), '=');
    if (!equal_nocase(trim(name), method)) continue;
    std::string_view words = rest;
    return to_lower(next_word(words, kBlanks));
  }
  return std::nullopt;
}

}  // namespace postern::mailauth
