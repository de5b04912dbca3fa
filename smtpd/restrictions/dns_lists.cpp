// dns_lists.cpp - reject_rbl_client, reject_rhsbl_*, permit_dnswl_client and permit_rhswl_client:
// lists that others keep in DNS (RFC 5782).
//
// The first list of a run asks all that follow it up to the next restriction that may permit: they
// are under way side by side, and a refusal is as fast as the slowest one before it. A look-up that
// fails lists nobody.

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/dns/wire.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/loop/gather.h"
#include "common/mail/address.h"
#include "smtpd/restrictions/dns_query.h"
#include "smtpd/restrictions/run.h"
#include "smtpd/restrictions/template_values.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

using ipc::resolver::Status;

constexpr std::chrono::seconds kTablesTime{100};

// How often one list's trouble is told.
constexpr std::chrono::minutes kWarnAgain{60};
constexpr std::size_t kMaxWarned = 1000;
// Of a TXT record: what goes into a reply.
constexpr std::size_t kMaxReason = 500;

void warn_once(const std::string& zone, std::string_view text) {
  static std::map<std::string, loop::TimePoint, std::less<>> warned;
  const auto now = loop::Clock::now();
  const auto found = warned.find(zone);
  if (found != warned.end() && now < found->second + kWarnAgain) return;
  if (warned.size() >= kMaxWarned) warned.clear();
  warned[zone] = now;
  log::warning("{}", text);
}

// One list about one name, from the question to what it means.
loop::Task<DnsListResult> ask(Neighbours& neighbours, std::vector<std::string> filter,
                              std::shared_ptr<const DnsList> list, std::string name) {
  DnsListResult result;
  const auto answer = co_await query_dns(neighbours, filter, name, "A");
  if (answer.status == Status::kTemporary) {
    result.kind = DnsListResult::Kind::kFailed;
    result.error = answer.error;
    co_return result;
  }
  if (answer.status != Status::kFound) co_return result;
  bool is_listed = false;
  for (const auto& record : answer.records) {
    switch (judge_dns_list_answer(*list, record.data)) {
      case DnsListAnswer::kListed:
        is_listed = true;
        break;
      case DnsListAnswer::kOtherCode:
        break;
      case DnsListAnswer::kNotServed:
        warn_once(list->zone,
                  fmt::format("DNS list {} refuses our queries (answer {}): nothing counts as "
                              "listed there; it does not serve this name server, or too many "
                              "queries came from it",
                              list->zone, record.data));
        break;
      case DnsListAnswer::kNoListCode:
        warn_once(list->zone,
                  fmt::format("DNS list {} answers with {}, which is outside of 127.0.0.0/8: "
                              "nothing counts as listed there; the list may be gone, or a name "
                              "server rewrites answers",
                              list->zone, record.data));
        break;
    }
  }
  if (!is_listed) co_return result;
  result.kind = DnsListResult::Kind::kListed;
  const auto why = co_await query_dns(neighbours, std::move(filter), std::move(name), "TXT");
  if (why.status == Status::kFound && !why.records.empty()) {
    result.reason = log::clean(why.records.front().data, kMaxReason);
  }
  co_return result;
}

loop::Task<void> keep_answer(loop::Task<DnsListResult> question, std::string key,
                             std::shared_ptr<DnsListAnswers> kept) {
  kept->results[key] = co_await std::move(question);
  kept->arrived.notify_all();
}

}  // namespace

// What is asked, without the zone; empty where there is nothing to ask about.
std::string RestrictionRun::dns_list_name(const DnsList& list) const {
  std::string name;
  switch (list.by) {
    case DnsListBy::kClientAddress: {
      const auto address = dns::parse_address(session_.client_address());
      return address ? dns::reverse_labels(*address) : std::string();
    }
    case DnsListBy::kClientName:
      name = session_.client_name() == "unknown" ? "" : session_.client_name();
      break;
    case DnsListBy::kReverseName:
      name = session_.reverse_name() == "unknown" ? "" : session_.reverse_name();
      break;
    case DnsListBy::kHelo:
      name = session_.helo();
      break;
    case DnsListBy::kSender:
      name = mail::split_address(session_.sender().value_or("")).domain;
      break;
    case DnsListBy::kRecipient:
      name = mail::split_address(recipient()).domain;
      break;
  }
  while (name.ends_with('.')) name.pop_back();
  // Literals and numbers are in no list of domains.
  if (!mail::is_valid_hostname(name)) return {};
  return to_lower(name);
}

void RestrictionRun::prefetch_dns_lists() {
  const RestrictionList& list = *steps_[step_].list;
  const auto here = std::ranges::find_if(
      list, [this](const Restriction& restriction) { return &restriction == current_; });
  if (here == list.end()) return;  // within a class
  for (auto it = here; it != list.end(); ++it) {
    const Restriction& restriction = *it;
    if (restriction.check != Check::kDnsList) {
      const bool may_permit =
          restriction.check == Check::kAccess || restriction.check == Check::kPolicyService ||
          restriction.check == Check::kClass || restriction.name.starts_with("permit");
      if (may_permit) break;
      continue;
    }
    if (restriction.dns_list->is_allow_list && it != here) break;
    ask_dns_list(restriction);
    if (restriction.dns_list->is_allow_list) break;
  }
}

void RestrictionRun::ask_dns_list(const Restriction& restriction) {
  const std::string what = dns_list_name(*restriction.dns_list);
  if (what.empty()) return;
  const std::string name = fmt::format("{}.{}", what, restriction.dns_list->zone);
  const std::string key = fmt::format("{}={}", name, restriction.dns_list->filter_text);
  auto& kept = state().dns_lists;
  if (kept == nullptr || kept->results.size() >= RestrictionState::kMaxAnswers) {
    kept = std::make_shared<DnsListAnswers>();
  }
  if (!kept->results.try_emplace(key).second) return;
  loop::spawn(
      keep_answer(ask(session_.neighbours(), session_.settings().smtpd.smtpd_dns_reply_filter,
                      restriction.dns_list, name),
                  key, kept));
}

std::string RestrictionRun::dns_list_reply(const DnsList& list, const DnsListResult& result,
                                           std::string_view text_template) const {
  const auto& params = session_.settings().smtpd;
  std::string what;
  std::string klass;
  switch (list.by) {
    case DnsListBy::kClientAddress:
      what = session_.client_address();
      klass = "Client host";
      break;
    case DnsListBy::kClientName:
      what = session_.client_name();
      klass = "Client host";
      break;
    case DnsListBy::kReverseName:
      what = session_.reverse_name();
      klass = "Unverified Client host";
      break;
    case DnsListBy::kHelo:
      what = session_.helo();
      klass = "Helo command";
      break;
    case DnsListBy::kSender:
      what = mail::quote_address(session_.sender().value_or(""));
      klass = "Sender address";
      break;
    case DnsListBy::kRecipient:
      what = mail::quote_address(recipient());
      klass = "Recipient address";
      break;
  }
  TemplateValues own = template_values(session_, recipient());
  own["rbl_class"] = klass;
  own["rbl_code"] = std::to_string(params.maps_rbl_reject_code);
  own["rbl_domain"] = list.zone;
  own["rbl_reason"] = result.reason;
  own["rbl_txt"] = result.reason;
  own["rbl_what"] = what;
  const auto& lists = session_.settings().restrictions;
  const auto expanded =
      expand_template(text_template, own, lists.values.get(), lists.expansion_filter);
  if (expanded) return *expanded;
  log::warning("reply template \"{}\": {}", text_template, expanded.error().text);
  return {};
}

loop::Task<Verdict> RestrictionRun::check_dns_list(const Restriction& restriction) {
  const std::shared_ptr<const DnsList> list = restriction.dns_list;
  const std::string what = dns_list_name(*list);
  if (what.empty()) co_return Verdict::dunno();
  const std::string name = fmt::format("{}.{}", what, list->zone);
  const std::string key = fmt::format("{}={}", name, list->filter_text);
  // This one first: what is asked ahead may begin a new set of answers.
  ask_dns_list(restriction);
  const std::shared_ptr<DnsListAnswers> kept = state().dns_lists;
  prefetch_dns_lists();
  while (!kept->results[key]) co_await kept->arrived.wait(loop::kNever);
  const DnsListResult result = *kept->results[key];
  if (result.kind == DnsListResult::Kind::kFailed) {
    log::warning("{}: RBL lookup error: {}", log::clean(name), result.error);
  }
  if (list->is_allow_list) {
    const auto& params = session_.settings().smtpd;
    const Subject about = subject_of(AccessBy::kClient);
    // What an allow list could not say may have been a permit: no final refusal meanwhile.
    if (result.kind == DnsListResult::Kind::kFailed) {
      defer_if_reject(
          static_cast<int>(params.access_map_defer_code), "4.7.1", about,
          fmt::format("Service unavailable; {} {} lookup error", list->zone, restriction.name));
    }
    if (result.kind != DnsListResult::Kind::kListed) co_return Verdict::dunno();
    state().is_on_allow_list = true;
    // An allow list opens the door to local users, never to relaying.
    if (has_recipient()) {
      Restriction relay = restriction;
      relay.check = Check::kPermitAuthDestination;
      co_return co_await destination(relay);
    }
    co_return permit(restriction.name, about, list->zone);
  }
  if (result.kind != DnsListResult::Kind::kListed) co_return Verdict::dunno();

  const auto& params = session_.settings().smtpd;
  std::string text_template = params.default_rbl_reply;
  if (!params.rbl_reply_maps.empty()) {
    ipc::tables::Lookup question;
    question.tables = params.rbl_reply_maps;
    // As it is written in the list, the filter with it.
    question.keys.push_back({restriction.argument, false});
    const auto found = co_await session_.neighbours().tables.lookup(
        std::move(question), loop::Clock::now() + kTablesTime);
    if (!found) co_return config_error(fmt::format("rbl_reply_maps: {}", found.error().text));
    if (found->is_found) text_template = found->value;
  }
  std::string text = dns_list_reply(*list, result, text_template);
  if (!mail::parse_reply_text(text)) {
    warn_once("reply for " + restriction.argument,
              fmt::format("rbl response code configuration error: {}", text));
    text = fmt::format("{} 5.7.1 Service unavailable", params.maps_rbl_reject_code);
  }
  std::string_view rest = trim(text);
  const std::string_view code = next_word(rest, kBlanks);
  int number = static_cast<int>(params.maps_rbl_reject_code);
  std::string_view said = trim(text);
  if (code.size() == 3 && is_all_digits(code) && (code[0] == '4' || code[0] == '5')) {
    number = (code[0] - '0') * 100 + (code[1] - '0') * 10 + (code[2] - '0');
    said = trim(rest);
  }
  const auto parts = mail::split_status(said, {static_cast<unsigned>(number / 100), 7, 1});
  co_return refuse(number, parts.status.to_string(), {}, parts.text);
}

}  // namespace postern::smtpd
