// access_table.cpp - check_*_access: the keys of access(5) in their order, and what an entry means.

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/log/event.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "smtpd/restrictions/run.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

constexpr std::chrono::seconds kTablesTime{100};

// Labels of a name that are looked at: a name from outside may have a hundred.
constexpr unsigned kMaxLabels = 50;

bool is_all_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
}

// 4NN or 5NN, and the text behind it.
bool is_reply_code(std::string_view word) {
  return word.size() == 3 && is_all_digits(word) && (word[0] == '4' || word[0] == '5');
}

}  // namespace

void RestrictionRun::add_domain_keys(std::vector<ipc::tables::Key>& keys,
                                     std::string_view domain) const {
  if (domain.empty()) return;
  const auto& exact = session_.settings().smtpd.parent_domain_matches_subdomains;
  const bool is_parent_enough =
      std::find(exact.begin(), exact.end(), "smtpd_access_maps") != exact.end();
  keys.push_back({to_lower(domain), false});
  if (domain.starts_with('[')) return;
  for (unsigned i = 0; i < kMaxLabels; ++i) {
    const auto dot = domain.find('.');
    if (dot == std::string_view::npos) break;
    domain.remove_prefix(is_parent_enough ? dot + 1 : dot);
    if (domain.size() < 2) break;
    keys.push_back({to_lower(domain), true});
    if (!is_parent_enough) domain.remove_prefix(1);
  }
}

std::vector<ipc::tables::Key> RestrictionRun::access_keys(Stage about) const {
  std::vector<ipc::tables::Key> keys;
  if (about == Stage::kClient) {
    if (session_.client_name() != "unknown") {
      add_domain_keys(keys, session_.client_name());
    } else {
      keys.push_back({"unknown", false});
    }
    // 203.0.113.10, then 203.0.113, 203.0 and 203; IPv6 the same at its colons.
    std::string address = session_.client_address();
    bool is_partial = false;
    while (!address.empty()) {
      keys.push_back({address, is_partial});
      is_partial = true;
      const auto cut = address.find_last_of(".:");
      if (cut == std::string::npos) break;
      address.resize(cut);
      while (!address.empty() && address.back() == ':') address.pop_back();
    }
    return keys;
  }
  if (about == Stage::kHelo) {
    add_domain_keys(keys, session_.helo());
    return keys;
  }
  const std::string address =
      about == Stage::kSender ? session_.sender().value_or("") : session_.recipient_in_check_;
  if (address.empty()) {
    const auto& null_key = session_.settings().smtpd.smtpd_null_access_lookup_key;
    keys.push_back({null_key, false});
    return keys;
  }
  const auto& delimiters = session_.settings().address.recipient_delimiter;
  keys.push_back({to_lower(address), false});
  std::string bare = address;
  if (!delimiters.empty()) {
    const auto stripped = mail::strip_extension(address, delimiters);
    if (!stripped.extension.empty()) {
      bare = stripped.address;
      keys.push_back({to_lower(bare), true});
    }
  }
  const auto parts = mail::split_address(address);
  const std::size_t domain_from = keys.size();
  add_domain_keys(keys, parts.domain);
  if (keys.size() > domain_from) keys[domain_from].is_partial = true;
  const auto user = [&](std::string_view local) { keys.push_back({to_lower(local) + "@", true}); };
  user(parts.local_part);
  if (bare != address) user(mail::split_address(bare).local_part);
  return keys;
}

loop::Task<Verdict> RestrictionRun::check_access(std::string table, Stage about, Stage list,
                                                 unsigned depth) {
  if (about == Stage::kHelo && session_.helo().empty()) co_return Verdict::dunno();
  if (about == Stage::kSender && !session_.sender()) co_return Verdict::dunno();
  ipc::tables::Lookup question;
  question.tables = {table};
  question.keys = access_keys(about);
  const auto found = co_await session_.neighbours().tables.lookup(std::move(question),
                                                                  loop::Clock::now() + kTablesTime);
  if (!found) {
    log::warning("access table {}: {}", table, found.error().text);
    co_return refuse(451, "4.3.5", {list, "", ""}, "Server configuration error");
  }
  if (!found->is_found) co_return Verdict::dunno();
  co_return co_await act(found->value, table, about, list, depth);
}

loop::Task<Verdict> RestrictionRun::act(std::string action, std::string table, Stage about,
                                        Stage list, unsigned depth) {
  std::string_view rest = action;
  const std::string word = to_upper(next_word(rest, kBlanks));
  const std::string text(trim(rest));
  const Subject who = subject(about);
  const auto& params = session_.settings().smtpd;
  const auto refusal = [&](int code, std::string_view status, std::string_view what) {
    const auto parts = mail::split_status(what, *mail::parse_status(status));
    return refuse(code, parts.status.to_string(), who,
                  fmt::format("{} rejected: {}", who.class_name,
                              parts.text.empty() ? "Access denied" : parts.text));
  };
  // 4NN and 5NN refuse; any other number permits, as programs that make tables write it.
  if (word == "OK" || (is_all_digits(word) && !is_reply_code(word))) co_return Verdict::permit();
  if (word == "DUNNO") co_return Verdict::dunno();
  if (word == "REJECT") {
    co_return refusal(static_cast<int>(params.access_map_reject_code), "5.7.1", text);
  }
  if (word == "DEFER") {
    co_return refusal(static_cast<int>(params.access_map_defer_code), "4.7.1", text);
  }
  if (is_reply_code(word)) {
    const int code = (word[0] - '0') * 100 + (word[1] - '0') * 10 + (word[2] - '0');
    co_return refusal(code, code < 500 ? "4.7.1" : "5.7.1", text);
  }
  if (word == "HOLD" || word == "WARN" || word == "INFO") {
    const std::string line_text = word == "HOLD"
                                      ? fmt::format("<{}>: {} {}", who.name, who.class_name,
                                                    text.empty() ? "triggers HOLD action" : text)
                                      : (text.empty() ? fmt::format("<{}>: {} triggers {} action",
                                                                    who.name, who.class_name, word)
                                                      : text);
    log_line(to_lower(word), line_text);
    if (word == "HOLD") session_.hold_next();
    co_return Verdict::dunno();
  }
  static constexpr std::string_view kLater[] = {
      "BCC", "DISCARD", "DEFER_IF_PERMIT", "FILTER", "PREPEND", "DEFER_IF_REJECT", "REDIRECT"};
  if (std::find(std::begin(kLater), std::end(kLater), word) != std::end(kLater)) {
    log::warning("{}: action {} is not supported yet", table, word);
    co_return Verdict::dunno();
  }
  // A restriction, or a list of them.
  std::vector<std::string> words;
  for (const auto piece : split_words(action)) words.emplace_back(piece);
  const auto& classes = params.smtpd_restriction_classes;
  RestrictionList restrictions;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i].find(':') != std::string::npos) {
      log::warning("{}: do not name tables in access tables: {}", table, action);
      co_return refuse(451, "4.3.5", {list, "", ""}, "Server configuration error");
    }
    if (std::find(classes.begin(), classes.end(), words[i]) != classes.end()) {
      restrictions.push_back({"class", words[i]});
    } else {
      restrictions.push_back({to_lower(words[i]), {}});
    }
  }
  co_return co_await run_list(restrictions, list, depth + 1);
}

}  // namespace postern::smtpd
