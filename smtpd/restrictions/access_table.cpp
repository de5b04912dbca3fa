// access_table.cpp - check_*_access: the keys of access(5) in their order, and what an entry means.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/mail/header.h"
#include "smtpd/restrictions/run.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

constexpr std::chrono::seconds kTablesTime{100};

// Labels of a name that are looked at: a name from outside may have a hundred.
constexpr unsigned kMaxLabels = 50;

// Tables that cost nothing to ask before it is known whether the answer is needed.
constexpr std::array<std::string_view, 12> kLocalTypes = {"hash", "btree",    "lmdb",   "cdb",
                                                          "dbm",  "texthash", "inline", "static",
                                                          "cidr", "pcre",     "regexp", "randmap"};

bool is_local_table(std::string_view table) {
  return std::ranges::find(kLocalTypes, table.substr(0, table.find(':'))) != kLocalTypes.end();
}

// 4NN or 5NN, and the text behind it.
bool is_reply_code(std::string_view word) {
  return word.size() == 3 && is_all_digits(word) && (word[0] == '4' || word[0] == '5');
}

}  // namespace

// Answers that came before they were needed, or are under way.
struct RestrictionRun::Prefetched {
  struct Answer {
    std::optional<Result<ipc::tables::Found>> found;
  };
  std::map<std::pair<std::string, AccessBy>, Answer> answers;
  loop::Condition arrived;
  std::size_t first_step = 0;  // of what has been asked for
};

mail::Status fit_status(mail::Status status, AccessBy by, bool is_address) {
  if (status.subject != 1) return status;
  if (!is_address) return {status.klass, 0, 0};
  if (by == AccessBy::kSender) {
    switch (status.detail) {
      case 1:
      case 3:
        status.detail = 7;
        break;
      case 2:
        status.detail = 8;
        break;
      case 4:
      case 6:
        status.detail = 0;
        break;
      default:
        break;
    }
  } else {
    if (status.detail == 7) status.detail = 3;
    if (status.detail == 8) status.detail = 2;
  }
  return status;
}

// Keys are as the client wrote them: tables of fixed strings fold them, patterns may tell case.
void RestrictionRun::add_domain_keys(std::vector<ipc::tables::Key>& keys,
                                     std::string_view domain) const {
  if (domain.empty()) return;
  const bool is_parent_enough = session_.settings().restrictions.access_matches_parents;
  keys.push_back({std::string(domain), false});
  if (domain.starts_with('[')) return;
  for (unsigned i = 0; i < kMaxLabels; ++i) {
    const auto dot = domain.find('.');
    if (dot == std::string_view::npos) break;
    domain.remove_prefix(is_parent_enough ? dot + 1 : dot);
    if (domain.size() < 2) break;
    keys.push_back({std::string(domain), true});
    if (!is_parent_enough) domain.remove_prefix(1);
  }
}

// 203.0.113.10, then 203.0.113, 203.0 and 203; IPv6 the same at its colons.
void RestrictionRun::add_address_keys(std::vector<ipc::tables::Key>& keys, std::string address) {
  bool is_partial = false;
  while (!address.empty()) {
    keys.push_back({address, is_partial});
    is_partial = true;
    const auto cut = address.find_last_of(".:");
    if (cut == std::string::npos) break;
    address.resize(cut);
    while (!address.empty() && address.back() == ':') address.pop_back();
  }
}

bool RestrictionRun::has_subject(AccessBy by) const {
  switch (by) {
    case AccessBy::kClient:
    case AccessBy::kReverseClient:
      return true;
    case AccessBy::kHelo:
      return !session_.helo().empty();
    case AccessBy::kSender:
      return session_.sender().has_value();
    case AccessBy::kRecipient:
      return has_recipient();
    case AccessBy::kEtrn:
      return stage_ == Stage::kEtrn;
    case AccessBy::kSaslUser:
      return session_.is_authenticated();
    case AccessBy::kClientCertificate:
      return session_.has_certificate();
  }
  return false;
}

std::vector<ipc::tables::Key> RestrictionRun::access_keys(const Restriction& restriction) const {
  if (restriction.search_order.empty()) return access_keys(restriction.by);
  std::vector<ipc::tables::Key> keys;
  for (const auto print : restriction.search_order) {
    const bool is_certificate = print == policy::Fingerprint::kCertificate;
    keys.push_back(
        {is_certificate ? session_.tls().peer_fingerprint : session_.tls().peer_key_fingerprint,
         false});
  }
  return keys;
}

std::vector<ipc::tables::Key> RestrictionRun::access_keys(AccessBy by) const {
  std::vector<ipc::tables::Key> keys;
  switch (by) {
    case AccessBy::kClient:
      add_domain_keys(keys, session_.client_name());
      add_address_keys(keys, session_.client_address());
      return keys;
    case AccessBy::kReverseClient:
      add_domain_keys(keys, session_.reverse_name());
      add_address_keys(keys, session_.client_address());
      return keys;
    case AccessBy::kHelo:
      add_domain_keys(keys, session_.helo());
      return keys;
    case AccessBy::kEtrn:
      add_domain_keys(keys, session_.recipient_in_check_);
      return keys;
    case AccessBy::kSaslUser:
      keys.push_back({session_.sasl_username(), false});
      return keys;
    case AccessBy::kClientCertificate:
      for (const auto& print : session_.certificate_fingerprints()) keys.push_back({print, false});
      return keys;
    case AccessBy::kSender:
    case AccessBy::kRecipient:
      break;
  }
  // Patterns see it in lower case, too.
  std::string address =
      to_lower(by == AccessBy::kSender ? session_.sender().value_or("") : recipient());
  // What has no domain is meant to be at ours.
  if (!address.empty() && !mail::split_address(address).has_domain) {
    address += "@" + session_.settings().address.myorigin;
  }
  if (address.empty()) {
    keys.push_back({session_.settings().smtpd.smtpd_null_access_lookup_key, false});
    return keys;
  }
  const auto& delimiters = session_.settings().address.recipient_delimiter;
  keys.push_back({address, false});
  std::string bare = address;
  if (!delimiters.empty()) {
    const auto stripped = mail::strip_extension(address, delimiters);
    if (!stripped.extension.empty()) {
      bare = stripped.address;
      keys.push_back({bare, true});
    }
  }
  const auto parts = mail::split_address(address);
  const std::size_t domain_from = keys.size();
  add_domain_keys(keys, parts.domain);
  if (keys.size() > domain_from) keys[domain_from].is_partial = true;
  const auto user = [&](std::string_view local) {
    keys.push_back({std::string(local) + "@", true});
  };
  user(parts.local_part);
  if (bare != address) user(mail::split_address(bare).local_part);
  return keys;
}

const std::string* RestrictionRun::lasting_subject(AccessBy by) const {
  switch (by) {
    case AccessBy::kClient:
    case AccessBy::kReverseClient:
      return &session_.client_address();
    case AccessBy::kHelo:
      return &session_.helo();
    case AccessBy::kSender:
      return session_.sender() ? &*session_.sender() : nullptr;
    default:
      return nullptr;
  }
}

bool RestrictionRun::is_known_absent(const Restriction& restriction) {
  if (!session_.has_restriction_state()) return false;
  const auto known = state().absent.find(&restriction);
  if (known == state().absent.end()) return false;
  const std::string* subject = lasting_subject(restriction.by);
  const std::uint64_t standing = session_.neighbours().tables.standing();
  return subject != nullptr && standing != 0 && known->second.standing == standing &&
         known->second.subject == *subject;
}

void RestrictionRun::keep_absent(const Restriction& restriction) {
  const std::string* subject = lasting_subject(restriction.by);
  const std::uint64_t standing = session_.neighbours().tables.standing();
  if (subject == nullptr || standing == 0) return;
  auto& absent = state().absent;
  if (absent.size() >= RestrictionState::kMaxAnswers && !absent.contains(&restriction)) return;
  absent.insert_or_assign(&restriction, KnownAccess{standing, *subject});
}

// What is left of the lists may ask further tables: all of them are asked now, those of one subject
// in one question, and their answers come with one wake-up.
void RestrictionRun::prefetch_access() {
  if (prefetched_ == nullptr) prefetched_ = std::make_shared<Prefetched>();
  struct Wanted {
    ipc::tables::LookupEach question;
    std::vector<Prefetched::Answer*> places;
  };
  std::map<AccessBy, Wanted> wanted;
  for (std::size_t i = std::max(step_, prefetched_->first_step); i < steps_.size(); ++i) {
    for (const Restriction& restriction : *steps_[i].list) {
      if (restriction.check != Check::kAccess || restriction.via != AccessVia::kItself) continue;
      if (!restriction.search_order.empty()) continue;
      if (!is_local_table(restriction.argument) || !has_subject(restriction.by)) continue;
      if (is_known_absent(restriction)) continue;
      const auto [place, is_new] =
          prefetched_->answers.try_emplace({restriction.argument, restriction.by});
      if (!is_new) continue;
      Wanted& group = wanted[restriction.by];
      group.places.push_back(&place->second);
      group.question.tables.push_back(restriction.argument);
    }
  }
  prefetched_->first_step = steps_.size();
  for (auto& [by, group] : wanted) {
    group.question.keys = access_keys(by);
    // The run may end before the answers come: the task keeps what it writes to.
    loop::spawn([](ipc::TablesClient& tables, Wanted asked,
                   std::shared_ptr<Prefetched> keep) -> loop::Task<void> {
      auto each =
          co_await tables.lookup_each(std::move(asked.question), loop::Clock::now() + kTablesTime);
      for (std::size_t at = 0; at < asked.places.size(); ++at) {
        auto& place = asked.places[at]->found;
        if (!each) {
          place.emplace(std::unexpected(each.error()));
        } else if (at >= each->answers.size()) {
          place.emplace(fail_temporary("no answer"));
        } else if (auto& one = each->answers[at]; !one.error.empty()) {
          place.emplace(fail_temporary(std::move(one.error)));
        } else {
          place.emplace(std::move(one.found));
        }
      }
      keep->arrived.notify_all();
    }(session_.neighbours().tables, std::move(group), prefetched_));
  }
}

loop::Task<Result<ipc::tables::Found>> RestrictionRun::find_access(const Restriction& restriction) {
  // Keys of its own are in no question that several share.
  if (is_local_table(restriction.argument) && restriction.search_order.empty()) {
    prefetch_access();
    const auto found = prefetched_->answers.find({restriction.argument, restriction.by});
    if (found != prefetched_->answers.end()) {
      const std::shared_ptr<Prefetched> keep = prefetched_;
      while (!found->second.found) co_await keep->arrived.wait(loop::kNever);
      co_return *found->second.found;
    }
  }
  ipc::tables::Lookup question;
  question.tables = {restriction.argument};
  question.keys = access_keys(restriction);
  co_return co_await session_.neighbours().tables.lookup(std::move(question),
                                                         loop::Clock::now() + kTablesTime);
}

loop::Task<Verdict> RestrictionRun::check_access(const Restriction& restriction, Stage list,
                                                 unsigned depth) {
  if (!has_subject(restriction.by)) co_return Verdict::dunno();
  if (is_known_absent(restriction)) co_return Verdict::dunno();
  auto found = co_await find_access(restriction);
  if (!found) {
    co_return table_error(restriction, found.error().text, subject_of(restriction.by));
  }
  if (!found->is_found) {
    if (is_local_table(restriction.argument)) keep_absent(restriction);
    co_return Verdict::dunno();
  }
  const auto keys = access_keys(restriction);
  const auto index = static_cast<std::size_t>(found->key);
  co_return co_await act(found->value, restriction.argument,
                         index < keys.size() ? keys[index].text : std::string(),
                         subject_of(restriction.by), list, depth,
                         static_cast<int>(session_.settings().smtpd.access_map_defer_code));
}

// As the answer of an access table with such an entry.
Verdict RestrictionRun::table_error(const Restriction& restriction, std::string_view why,
                                    const Subject& who) {
  log::warning("{}: {}: {}: table lookup problem", restriction.name, restriction.argument,
               log::clean(why));
  return refuse(451, "4.3.5", who,
                fmt::format("{} rejected: Server configuration error", who.class_name));
}

// check_*_{a,mx,ns}_access: the names and addresses of the hosts behind a domain, in one question.
loop::Task<Verdict> RestrictionRun::check_host_access(const Restriction& restriction, Stage list,
                                                      unsigned depth) {
  if (!has_subject(restriction.by)) co_return Verdict::dunno();
  const Subject who = subject_of(restriction.by);
  std::string domain;
  switch (restriction.by) {
    case AccessBy::kClient:
      domain = session_.client_name();
      break;
    case AccessBy::kReverseClient:
      domain = session_.reverse_name();
      break;
    case AccessBy::kHelo:
      domain = session_.helo();
      break;
    case AccessBy::kSender:
      domain = mail::split_address(session_.sender().value_or("")).domain;
      break;
    case AccessBy::kRecipient:
      domain = mail::split_address(recipient()).domain;
      break;
    default:
      break;
  }
  if (domain.empty() || domain == "unknown") co_return Verdict::dunno();
  ipc::tables::Lookup question;
  question.tables = {restriction.argument};
  if (const auto literal = mail::literal_address(domain)) {
    add_address_keys(question.keys, std::string(*literal));
  } else {
    const auto hosts = co_await find_hosts(domain, restriction.via, who);
    for (const auto& host : hosts) {
      if (host.addresses.empty() && restriction.via != AccessVia::kAddress) {
        log::warning("Unable to look up {} host {} for {} {}: Name or service not known",
                     restriction.via == AccessVia::kNameServers ? "NS" : "MX",
                     log::clean(host.name), who.class_name, log::clean(who.name));
      }
      add_domain_keys(question.keys, host.name);
      for (const auto& address : host.addresses) add_address_keys(question.keys, address);
    }
  }
  if (question.keys.empty()) co_return Verdict::dunno();
  const auto keys = question.keys;
  const auto found = co_await session_.neighbours().tables.lookup(std::move(question),
                                                                  loop::Clock::now() + kTablesTime);
  if (!found) {
    co_return table_error(restriction, found.error().text, who);
  }
  if (!found->is_found) co_return Verdict::dunno();
  const auto index = static_cast<std::size_t>(found->key);
  Verdict verdict = co_await act(
      found->value, restriction.argument, index < keys.size() ? keys[index].text : std::string(),
      who, list, depth, static_cast<int>(session_.settings().smtpd.access_map_defer_code));
  // Whoever owns a domain chooses these hosts: they may close a door, never open one.
  if (verdict.kind == Verdict::Kind::kPermit) {
    log::warning("restriction {} returns OK for {}", restriction.name, log::clean(who.name));
    log::warning("this is not allowed for security reasons");
    log::warning("use DUNNO instead of OK if you want to make an exception");
    verdict =
        Verdict::refuse(mail::make_reply(451, mail::Status{4, 3, 5}, "Server configuration error"));
  }
  co_return verdict;
}

// Actions that change what becomes of the message; the list goes on after all but DISCARD.
std::optional<Verdict> RestrictionRun::act_on_message(std::string_view word, std::string_view text,
                                                      const std::string& source,
                                                      const std::string& key, const Subject& who) {
  const bool is_hold = word == "HOLD";
  const bool is_discard = word == "DISCARD";
  const bool is_filter = word == "FILTER";
  const bool is_redirect = word == "REDIRECT";
  const bool is_bcc = word == "BCC";
  const bool is_prepend = word == "PREPEND";
  if (!is_hold && !is_discard && !is_filter && !is_redirect && !is_bcc && !is_prepend) {
    return std::nullopt;
  }
  // ETRN and VRFY have no message that something could be done with.
  if (stage_ == Stage::kEtrn || session_.where_ == "VRFY") {
    log::warning("access table {}: with {} specified, action {} is always skipped", source,
                 session_.where_, word);
    return Verdict::dunno();
  }
  if (stage_ == Stage::kClient || stage_ == Stage::kHelo) {
    log::warning(
        "access table {}: with smtpd_delay_reject=no, action {} is always skipped in Client host "
        "or Helo command restrictions",
        source, word);
    return Verdict::dunno();
  }
  const auto wrong = [&](std::string_view needs) {
    log::warning("access table {} entry \"{}\" requires {}", source, log::clean(key), needs);
    return Verdict::dunno();
  };
  MessageActions& actions = state().actions;
  if (is_prepend) {
    if (stage_ == Stage::kEndOfData) {
      log::warning(
          "access table {}: action PREPEND must be used before smtpd_end_of_data_restrictions",
          source);
      return Verdict::dunno();
    }
    const bool is_one_line =
        std::ranges::none_of(text, [](char c) { return is_control(c) && c != '\t'; });
    if (!is_one_line || !mail::is_header_line(text)) return wrong("header: text");
    if (actions.prepend.size() < kMaxPrependedFields) actions.prepend.emplace_back(text);
    return Verdict::dunno();
  }
  if (is_filter && text.find(':') == std::string_view::npos) return wrong("transport:destination");
  if ((is_redirect || is_bcc) && text.find('@') == std::string_view::npos) {
    return wrong("user@domain target");
  }
  const std::string said =
      is_hold || is_discard
          ? (text.empty() ? fmt::format("triggers {} action", word) : std::string(text))
          : fmt::format("triggers {} {}", word, text);
  log_line(to_lower(word), fmt::format("<{}>: {} {}", who.name, who.class_name, said));
  if (is_hold) actions.is_hold = true;
  if (is_filter) actions.filter = text;
  const std::string address = mail::unquote_address(text);
  if (is_redirect) actions.redirect = address;
  if (is_bcc && actions.bcc.size() < kMaxBccAddresses &&
      std::ranges::find(actions.bcc, address) == actions.bcc.end()) {
    actions.bcc.push_back(address);
  }
  if (!is_discard) return Verdict::dunno();
  actions.is_discard = true;
  return permit(word, who, source);
}

loop::Task<Verdict> RestrictionRun::act(std::string action, std::string source, std::string key,
                                        Subject who, Stage list, unsigned depth, int defer_code) {
  std::string_view rest = action;
  const std::string word = to_upper(next_word(rest, kBlanks));
  const std::string text(trim(rest));
  const auto& params = session_.settings().smtpd;
  const bool is_address = who.by == AccessBy::kSender || who.by == AccessBy::kRecipient;
  const auto split = [&](std::string_view fallback) {
    auto parts = mail::split_status(text, *mail::parse_status(fallback));
    parts.status = fit_status(parts.status, who.by, is_address);
    return parts;
  };
  const auto said = [&](std::string_view what, std::string_view instead) {
    return fmt::format("{} rejected: {}", who.class_name, what.empty() ? instead : what);
  };
  const auto refusal = [&](int code, std::string_view fallback) {
    const auto parts = split(fallback);
    return refuse(code, parts.status.to_string(), who, said(parts.text, "Access denied"));
  };
  // 4NN and 5NN refuse; any other number permits, as programs that make tables write it. A code
  // alone, without text, is such a number, too.
  if (is_reply_code(word) && !text.empty()) {
    const int code = (word[0] - '0') * 100 + (word[1] - '0') * 10 + (word[2] - '0');
    co_return refusal(code, code < 500 ? "4.7.1" : "5.7.1");
  }
  const bool is_number = is_all_digits(word) && text.empty();
  if (word == "OK" || is_number) co_return permit(word, who, source);
  if (word == "DUNNO") co_return Verdict::dunno();
  if (word == "REJECT") {
    co_return refusal(static_cast<int>(params.access_map_reject_code), "5.7.1");
  }
  if (word == "DEFER") co_return refusal(defer_code, "4.7.1");
  if (word == "DEFER_IF_PERMIT") {
    const auto parts = split("4.7.1");
    co_return defer_if_permit("defer_if_permit", defer_code, parts.status.to_string(), who,
                              said(parts.text, "Service unavailable"));
  }
  if (word == "DEFER_IF_REJECT") {
    const auto parts = split("4.7.1");
    defer_if_reject(defer_code, parts.status.to_string(), who,
                    said(parts.text, "Service unavailable"));
    co_return Verdict::dunno();
  }
  if (word == "WARN" || word == "INFO") {
    log_line(to_lower(word), text);
    co_return Verdict::dunno();
  }
  if (auto verdict = act_on_message(word, text, source, key, who)) co_return *std::move(verdict);

  // A restriction, or a list of them.
  std::string_view wrong_word;
  const auto restrictions = parse_action_list(action, params.smtpd_restriction_classes, wrong_word);
  if (!restrictions || restrictions->empty()) {
    if (wrong_word.find(':') != std::string_view::npos ||
        starts_with_nocase(wrong_word, "check_")) {
      co_return config_error(
          fmt::format("{} has an entry with lookup table: {}; do not specify lookup tables inside "
                      "access tables, define a restriction class and specify its name instead",
                      source, action));
    }
    co_return config_error(fmt::format("{}: unknown action or restriction: {}", source, action));
  }
  // They speak of what the table was asked about.
  const Subject* const outer = std::exchange(nested_subject_, &who);
  Verdict verdict = co_await run_list(*restrictions, list, depth + 1);
  nested_subject_ = outer;
  co_return verdict;
}

}  // namespace postern::smtpd
