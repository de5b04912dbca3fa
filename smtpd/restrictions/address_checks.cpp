// address_checks.cpp - restrictions that look at sender and recipient: where mail for an address
// goes, and whether somebody is there.

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/mail/status.h"
#include "common/mailauth/batv.h"
#include "common/policy/network_list.h"
#include "smtpd/restrictions/run.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

using ipc::tables::AddressClass;
using ipc::tables::Existence;

constexpr std::chrono::seconds kTablesTime{100};
constexpr std::chrono::seconds kResolverTime{100};

// error(8) and retry(8) would send it back, or let it wait: that is better said at once. An unknown
// address of a virtual alias domain has a reply of its own.
bool is_route_refusal(const ipc::tables::Resolved& resolved) {
  if (resolved.is_virtual_alias || !resolved.relocated.empty() ||
      resolved.address_class == AddressClass::kVirtualAlias) {
    return false;
  }
  return resolved.transport == "error" || resolved.transport == "retry";
}

}  // namespace

loop::Task<Result<ipc::tables::Resolved>> RestrictionRun::resolve(std::string address) {
  ipc::tables::Resolve question;
  question.sender = session_.sender().value_or("");
  question.address = std::move(address);
  question.check_existence = true;
  auto answer = co_await session_.neighbours().tables.resolve(std::move(question),
                                                              loop::Clock::now() + kTablesTime);
  if (!answer) log::warning("{}", answer.error().text);
  co_return answer;
}

loop::Task<Verdict> RestrictionRun::destination(const Restriction& restriction) {
  const auto& settings = session_.settings();
  const Subject about = subject_of(AccessBy::kRecipient);
  const auto resolved = co_await resolve(recipient());
  if (!resolved || resolved->transport.empty()) {
    co_return refuse(451, "4.3.0", about, "Temporary lookup failure");
  }
  bool is_ours = false;
  switch (resolved->address_class) {
    case AddressClass::kLocal:
    case AddressClass::kVirtualAlias:
    case AddressClass::kVirtualMailbox:
      is_ours = true;
      break;
    case AddressClass::kRelay:
      is_ours = !resolved->has_sender_routing || settings.address.allow_untrusted_routing;
      break;
    case AddressClass::kDefault:
    case AddressClass::kNone:
      break;
  }
  if (is_ours) {
    const bool permits = restriction.check == Check::kPermitAuthDestination ||
                         restriction.check == Check::kCheckRelayDomains;
    co_return permits ? permit(restriction.name, about) : Verdict::dunno();
  }
  if (restriction.check == Check::kPermitAuthDestination) co_return Verdict::dunno();
  if (restriction.check == Check::kDeferUnauthDestination) {
    co_return refuse(static_cast<int>(settings.smtpd.relay_domains_reject_code % 100 + 400),
                     "4.7.1", about, "Relay access denied");
  }
  co_return refuse(static_cast<int>(settings.smtpd.relay_domains_reject_code), "5.7.1", about,
                   "Relay access denied");
}

// RFC 5321 5.1: whoever is among the MX hosts of a domain takes its mail while the others are away.
// permit_mx_backup_networks says whose primary hosts we do that for.
loop::Task<Verdict> RestrictionRun::permit_mx_backup(const Restriction& restriction) {
  const Subject about = subject_of(AccessBy::kRecipient);
  const auto& settings = session_.settings();
  const auto resolved = co_await resolve(recipient());
  if (!resolved || resolved->transport.empty()) {
    co_return refuse(451, "4.3.0", about, "Temporary lookup failure");
  }
  if (resolved->has_sender_routing) co_return Verdict::dunno();
  switch (resolved->address_class) {
    case AddressClass::kLocal:
    case AddressClass::kVirtualAlias:
    case AddressClass::kVirtualMailbox:
      co_return permit(restriction.name, about);
    default:
      break;
  }
  const auto parts = mail::split_address(resolved->address);
  if (!parts.has_domain || !mail::is_valid_hostname(parts.domain)) co_return Verdict::dunno();
  ipc::resolver::FindHosts question;
  question.domain = parts.domain;
  question.use_ipv4 = settings.restrictions.use_ipv4;
  question.use_ipv6 = settings.restrictions.use_ipv6;
  const auto found = co_await session_.neighbours().resolver.call(
      std::move(question), loop::Clock::now() + kResolverTime);
  if (!found || found->status == ipc::resolver::Status::kTemporary) {
    defer_if_reject(450, "4.4.4", about,
                    "Recipient address rejected: Unable to look up mail exchanger information");
    co_return Verdict::dunno();
  }
  if (!found->has_mx || found->is_null_mx || found->hosts.empty()) co_return Verdict::dunno();
  const auto& own = settings.own_addresses;
  const auto is_us = [&](const ipc::resolver::Host& host) {
    return equal_nocase(host.name, settings.address.myhostname) ||
           std::ranges::any_of(host.addresses, [&](const std::string& address) {
             return std::ranges::find(own, address) != own.end();
           });
  };
  if (std::ranges::none_of(found->hosts, is_us)) {
    // An address that could not be found now might have been ours.
    const bool is_unsure = std::ranges::any_of(found->hosts, [](const ipc::resolver::Host& host) {
      return host.status == ipc::resolver::Status::kTemporary;
    });
    if (is_unsure) {
      defer_if_reject(450, "4.4.4", about,
                      "Recipient address rejected: Unable to look up host as mail exchanger");
    }
    co_return Verdict::dunno();
  }
  const auto& networks = settings.smtpd.permit_mx_backup_networks;
  if (networks.empty()) co_return permit(restriction.name, about);
  std::int64_t best = found->hosts.front().preference;
  for (const auto& host : found->hosts) best = std::min(best, host.preference);
  for (const auto& host : found->hosts) {
    if (host.preference != best) continue;
    if (host.addresses.empty()) {
      if (host.status == ipc::resolver::Status::kTemporary) {
        defer_if_reject(
            450, "4.4.4", about,
            fmt::format("Recipient address rejected: Unable to look up host {} as mail exchanger",
                        host.name));
      }
      co_return Verdict::dunno();
    }
    for (const auto& address : host.addresses) {
      const auto ip = config::parse_ip_address(address);
      if (!ip) co_return Verdict::dunno();
      const auto listed = co_await is_in_networks(session_.neighbours().tables, networks, *ip);
      if (!listed) {
        log::warning("permit_mx_backup_networks: {}", listed.error().text);
        defer_if_reject(451, "4.3.0", about, "Temporary lookup failure");
        co_return Verdict::dunno();
      }
      if (!*listed) co_return Verdict::dunno();
    }
  }
  co_return permit(restriction.name, about);
}

Verdict RestrictionRun::reject_non_fqdn(const std::string& address, const Subject& about) {
  const auto parts = mail::split_address(address);
  // postmaster without domain is always good (RFC 5321 4.5.1).
  if (!parts.has_domain && about.by == AccessBy::kRecipient &&
      equal_nocase(parts.local_part, "postmaster")) {
    return Verdict::dunno();
  }
  const bool is_full =
      parts.has_domain &&
      (mail::is_address_literal(parts.domain) ||
       (parts.domain.find('.') != std::string_view::npos && mail::is_valid_hostname(parts.domain)));
  if (is_full) return Verdict::dunno();
  return refuse(static_cast<int>(session_.settings().smtpd.non_fqdn_reject_code), "5.5.2", about,
                about.class_name + " rejected: need fully-qualified address");
}

loop::Task<Verdict> RestrictionRun::reject_unknown_domain(std::string address, Subject subject) {
  const auto resolved = co_await resolve(std::move(address));
  if (!resolved || resolved->transport.empty()) {
    co_return refuse(451, "4.3.0", subject, "Temporary lookup failure");
  }
  switch (resolved->address_class) {
    case AddressClass::kLocal:
    case AddressClass::kVirtualAlias:
    case AddressClass::kVirtualMailbox:
      co_return Verdict::dunno();
    default:
      break;
  }
  const auto parts = mail::split_address(resolved->address);
  if (!parts.has_domain || mail::is_address_literal(parts.domain)) co_return Verdict::dunno();
  const std::string domain(parts.domain);
  const DomainState found = co_await find_domain(domain);
  const auto& params = session_.settings().smtpd;
  const bool is_sender = subject.by == AccessBy::kSender;
  const std::string_view status = is_sender ? "4.1.8" : "4.1.2";
  const std::string text = subject.class_name + " rejected: Domain not found";
  switch (found) {
    case DomainState::kFound:
    case DomainState::kFiltered:
      break;
    case DomainState::kNullMx:
      co_return refuse(550, is_sender ? "5.7.27" : "5.1.10", subject,
                       fmt::format("{} rejected: Domain {} does not accept mail (nullMX)",
                                   subject.class_name, domain));
    case DomainState::kTemporary:
      co_return defer_if_permit(params.unknown_address_tempfail_action, 450, status, subject, text);
    case DomainState::kNotFound:
      co_return refuse(static_cast<int>(params.unknown_address_reject_code), status, subject, text);
  }
  co_return Verdict::dunno();
}

Verdict RestrictionRun::refuse_by_route(const ipc::tables::Resolved& resolved,
                                        const Subject& about) {
  const bool is_final = resolved.transport == "error";
  const unsigned detail = about.by == AccessBy::kSender ? 0 : 1;
  auto said = mail::split_status(resolved.nexthop, mail::Status{5, 1, detail});
  said.status.klass = is_final ? 5 : 4;
  return refuse(is_final ? 550 : 450, said.status.to_string(), about,
                fmt::format("{} rejected: {}", about.class_name, said.text));
}

Verdict RestrictionRun::unlisted(const ipc::tables::Resolved& resolved, const Subject& about) {
  const auto& params = session_.settings().smtpd;
  if (resolved.existence == Existence::kError) {
    log::warning("{}", resolved.error);
    return refuse(451, "4.3.0", about, "Temporary lookup failure");
  }
  const bool is_refused_by_route = is_route_refusal(resolved);
  if (resolved.existence != Existence::kUnknown && !is_refused_by_route) return Verdict::dunno();
  session_.note_undeliverable();
  if (is_refused_by_route) return refuse_by_route(resolved, about);
  if (!resolved.relocated.empty()) {
    // "5.1.6 User has moved to ..."
    const auto moved = mail::split_status(resolved.relocated, mail::Status{5, 1, 6});
    // 5.1.7 of a sender (RFC 3463 3.2).
    const auto status = about.by == AccessBy::kSender ? mail::Status{5, 1, 7} : moved.status;
    return refuse(550, status.to_string(), about,
                  fmt::format("{} rejected: {}", about.class_name, moved.text));
  }
  std::int64_t code = 550;
  std::string_view table;
  switch (resolved.address_class) {
    case AddressClass::kLocal:
      code = params.unknown_local_recipient_reject_code;
      table = "local recipient table";
      break;
    case AddressClass::kVirtualAlias:
      code = params.unknown_virtual_alias_reject_code;
      table = "virtual alias table";
      break;
    case AddressClass::kVirtualMailbox:
      code = params.unknown_virtual_mailbox_reject_code;
      table = "virtual mailbox table";
      break;
    case AddressClass::kRelay:
      code = params.unknown_relay_recipient_reject_code;
      table = "relay recipient table";
      break;
    case AddressClass::kDefault:
    case AddressClass::kNone:
      return Verdict::dunno();
  }
  const std::string in_table =
      params.show_user_unknown_table_name ? fmt::format(" in {}", table) : std::string();
  // Of a sender log readers know 5.1.7 for a virtual alias, and 5.1.0 for all others.
  const bool is_alias = resolved.address_class == AddressClass::kVirtualAlias;
  const char* status = about.by != AccessBy::kSender ? "5.1.1" : is_alias ? "5.1.7" : "5.1.0";
  return refuse(static_cast<int>(code), status, about,
                fmt::format("{} rejected: User unknown{}", about.class_name, in_table));
}

loop::Task<Verdict> RestrictionRun::reject_unlisted_recipient() {
  recipient_checked_ = true;
  const Subject about = subject_of(AccessBy::kRecipient);
  if (is_rewritten_sender()) co_return co_await check_rewritten_sender(about);
  const auto plain =
      is_in_tagged_domain() ? mailauth::batv_plain(recipient()) : std::optional<std::string>();
  const auto resolved = co_await resolve(plain.value_or(recipient()));
  if (!resolved) co_return refuse(451, "4.3.0", about, "Temporary lookup failure");
  co_return unlisted(*resolved, about);
}

loop::Task<Verdict> RestrictionRun::reject_unlisted_sender() {
  sender_checked_ = true;
  const std::string sender = session_.sender().value_or("");
  if (sender.empty()) co_return Verdict::dunno();
  const Subject about = subject_of(AccessBy::kSender);
  const auto resolved = co_await resolve(sender);
  if (!resolved) co_return refuse(451, "4.3.0", about, "Temporary lookup failure");
  co_return unlisted(*resolved, about);
}

Verdict RestrictionRun::reject_multi_recipient_bounce(const Subject& about) {
  // At RCPT the one that is asked about counts, too.
  if (!session_.sender() || !session_.sender()->empty()) return Verdict::dunno();
  const Transaction* transaction = session_.transaction();
  const std::size_t accepted = transaction == nullptr ? 0 : transaction->recipients();
  if (accepted + (stage_ == Stage::kRecipient ? 1 : 0) <= 1) return Verdict::dunno();
  return refuse(static_cast<int>(session_.settings().smtpd.multi_recipient_bounce_reject_code),
                "5.5.3", about, about.class_name + " rejected: Multi-recipient bounce");
}

// user@domain, user where the domain is one of ours, @domain.
std::vector<ipc::tables::Key> RestrictionRun::login_keys(
    const ipc::tables::Resolved& sender) const {
  const auto& settings = session_.settings();
  const std::string address = to_lower(sender.address);
  const std::string bare =
      mail::strip_extension(address, settings.address.recipient_delimiter).address;
  std::vector<ipc::tables::Key> keys = {{address, false}};
  if (bare != address) keys.push_back({bare, true});
  const auto parts = mail::split_address(address);
  if (sender.address_class == AddressClass::kLocal ||
      equal_nocase(parts.domain, settings.address.myorigin)) {
    keys.push_back({std::string(parts.local_part), true});
    if (bare != address) keys.push_back({std::string(mail::split_address(bare).local_part), true});
  }
  if (parts.has_domain) keys.push_back({fmt::format("@{}", parts.domain), true});
  return keys;
}

// smtpd_sender_login_maps: who may use the address.
loop::Task<Verdict> RestrictionRun::sender_login(const Restriction& restriction) {
  const auto& params = session_.settings().smtpd;
  if (!session_.settings().login.is_enabled) {
    log::warning("restriction `{}' ignored: no SASL support", restriction.name);
    co_return Verdict::dunno();
  }
  const Check check = restriction.check;
  const std::string sender = session_.sender().value_or("");
  const Subject about = subject_of(AccessBy::kSender);
  const bool is_authenticated = session_.is_authenticated();
  const bool is_asked_of_all = check == Check::kRejectSenderLoginMismatch;
  const bool judges_login = is_asked_of_all ||
                            check == Check::kRejectAuthenticatedSenderLoginMismatch ||
                            check == Check::kRejectKnownSenderLoginMismatch;
  const bool judges_strangers = is_asked_of_all ||
                                check == Check::kRejectUnauthenticatedSenderLoginMismatch ||
                                check == Check::kRejectKnownSenderLoginMismatch;
  if (sender.empty() || (is_authenticated ? !judges_login : !judges_strangers)) {
    co_return Verdict::dunno();
  }
  std::vector<std::string> owners;
  if (!params.smtpd_sender_login_maps.empty()) {
    ipc::tables::Lookup question;
    question.tables = params.smtpd_sender_login_maps;
    const auto resolved = co_await resolve(sender);
    if (!resolved) co_return refuse(451, "4.3.0", about, "Temporary lookup failure");
    question.keys = login_keys(*resolved);
    const auto found = co_await session_.neighbours().tables.lookup(
        std::move(question), loop::Clock::now() + kTablesTime);
    if (!found) {
      log::warning("smtpd_sender_login_maps: {}", found.error().text);
      co_return refuse(451, "4.3.0", about, "Temporary lookup failure");
    }
    if (found->is_found) {
      for (const auto owner : split_words(found->value)) owners.emplace_back(owner);
    }
  }
  if (!is_authenticated) {
    if (owners.empty()) co_return Verdict::dunno();
    co_return refuse(553, "5.7.1", about, "Sender address rejected: not logged in");
  }
  if (owners.empty() && check == Check::kRejectKnownSenderLoginMismatch) co_return Verdict::dunno();
  const std::string& login = session_.sasl_username();
  const bool is_owner = std::ranges::any_of(
      owners, [&](const std::string& owner) { return equal_nocase(owner, login); });
  if (is_owner) co_return Verdict::dunno();
  co_return refuse(553, "5.7.1", about,
                   fmt::format("Sender address rejected: not owned by user {}", login));
}

}  // namespace postern::smtpd
