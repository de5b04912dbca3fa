// helo_checks.cpp - restrictions that look at what the client calls itself.

#include "common/base/text.h"
#include "common/mail/address.h"
#include "smtpd/restrictions/run.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

// The root may be named, and names are those of hosts, which have no characters beyond ASCII.
std::string_view host_of(const std::string& helo) {
  std::string_view name = helo;
  if (name.size() > 1 && name.ends_with('.')) name.remove_suffix(1);
  return name;
}

}  // namespace

Verdict RestrictionRun::reject_invalid_helo() {
  const std::string& helo = session_.helo();
  const std::string_view name = host_of(helo);
  const bool is_name = mail::is_valid_domain(name) && is_all_ascii(name);
  if (helo.empty() || is_name || config::parse_ip_address(helo)) return Verdict::dunno();
  return refuse(static_cast<int>(session_.settings().smtpd.invalid_hostname_reject_code), "5.5.2",
                subject_of(AccessBy::kHelo), "Helo command rejected: Invalid name");
}

Verdict RestrictionRun::reject_non_fqdn_helo() {
  const std::string& helo = session_.helo();
  if (helo.empty() || mail::is_address_literal(helo)) return Verdict::dunno();
  const std::string_view name = host_of(helo);
  if (mail::is_valid_hostname(name) && is_all_ascii(name) &&
      name.find('.') != std::string_view::npos) {
    return Verdict::dunno();
  }
  return refuse(static_cast<int>(session_.settings().smtpd.non_fqdn_reject_code), "5.5.2",
                subject_of(AccessBy::kHelo),
                "Helo command rejected: need fully-qualified hostname");
}

loop::Task<Verdict> RestrictionRun::reject_unknown_helo() {
  const std::string helo = session_.helo();
  if (helo.empty() || mail::is_address_literal(helo)) co_return Verdict::dunno();
  // The DNS has no such name.
  const bool is_name = mail::is_valid_hostname(helo);
  DomainState found = DomainState::kNotFound;
  if (is_name) found = co_await find_domain(helo);
  const Subject about = subject_of(AccessBy::kHelo);
  const auto& params = session_.settings().smtpd;
  switch (found) {
    case DomainState::kFound:
    case DomainState::kFiltered:
    case DomainState::kNullMx:  // takes no mail, but is there
      break;
    case DomainState::kTemporary:
      co_return defer_if_permit(params.unknown_helo_hostname_tempfail_action, 450, "4.7.1", about,
                                "Helo command rejected: Host not found");
    case DomainState::kNotFound:
      co_return refuse(static_cast<int>(params.unknown_hostname_reject_code), "4.7.1", about,
                       "Helo command rejected: Host not found");
  }
  co_return Verdict::dunno();
}

}  // namespace postern::smtpd
