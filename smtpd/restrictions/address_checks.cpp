// address_checks.cpp - restrictions that look at sender and recipient: where mail for an address
// goes, and whether somebody is there.

#include <fmt/format.h>

#include "common/log/log.h"
#include "common/mail/address.h"
#include "smtpd/restrictions/run.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

using ipc::tables::AddressClass;
using ipc::tables::Existence;

constexpr std::chrono::seconds kTablesTime{100};

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

loop::Task<Verdict> RestrictionRun::destination(std::string name) {
  const auto& settings = session_.settings();
  const Subject about = subject(Stage::kRecipient);
  const auto resolved = co_await resolve(session_.recipient_in_check_);
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
  if (name == "permit_auth_destination") {
    co_return is_ours ? Verdict::permit() : Verdict::dunno();
  }
  if (is_ours) co_return Verdict::dunno();
  if (name == "defer_unauth_destination") {
    co_return refuse(454, "4.7.1", about, "Relay access denied");
  }
  co_return refuse(static_cast<int>(settings.smtpd.relay_domains_reject_code), "5.7.1", about,
                   "Relay access denied");
}

Verdict RestrictionRun::reject_non_fqdn(const std::string& address, const Subject& about) const {
  const auto parts = mail::split_address(address);
  // postmaster without domain is always good (RFC 5321 4.5.1).
  if (!parts.has_domain && about.stage == Stage::kRecipient && parts.local_part == "postmaster") {
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

Verdict RestrictionRun::unlisted(const ipc::tables::Resolved& resolved,
                                 const Subject& about) const {
  const auto& params = session_.settings().smtpd;
  if (resolved.existence == Existence::kError) {
    log::warning("{}", resolved.error);
    return refuse(451, "4.3.0", about, "Temporary lookup failure");
  }
  if (resolved.existence != Existence::kUnknown) return Verdict::dunno();
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
  const std::string where =
      params.show_user_unknown_table_name ? fmt::format(" in {}", table) : std::string();
  const char* status = about.stage == Stage::kSender ? "5.1.0" : "5.1.1";
  return refuse(static_cast<int>(code), status, about,
                fmt::format("{} rejected: User unknown{}", about.class_name, where));
}

loop::Task<Verdict> RestrictionRun::reject_unlisted_recipient() {
  const Subject about = subject(Stage::kRecipient);
  const auto resolved = co_await resolve(session_.recipient_in_check_);
  if (!resolved) co_return refuse(451, "4.3.0", about, "Temporary lookup failure");
  co_return unlisted(*resolved, about);
}

loop::Task<Verdict> RestrictionRun::reject_unlisted_sender() {
  const Subject about = subject(Stage::kSender);
  if (about.name.empty()) co_return Verdict::dunno();
  const auto resolved = co_await resolve(about.name);
  if (!resolved) co_return refuse(451, "4.3.0", about, "Temporary lookup failure");
  co_return unlisted(*resolved, about);
}

}  // namespace postern::smtpd
