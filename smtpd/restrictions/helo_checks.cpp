// helo_checks.cpp - restrictions that look at what the client calls itself.

#include "common/mail/address.h"
#include "smtpd/restrictions/run.h"
#include "smtpd/session.h"

namespace postern::smtpd {

Verdict RestrictionRun::reject_invalid_helo_hostname() const {
  const std::string& helo = session_.helo();
  if (helo.empty() || mail::is_valid_domain(helo)) return Verdict::dunno();
  return refuse(static_cast<int>(session_.settings().smtpd.invalid_hostname_reject_code), "5.5.2",
                subject(Stage::kHelo), "Helo command rejected: Invalid name");
}

Verdict RestrictionRun::reject_non_fqdn_helo_hostname() const {
  const std::string& helo = session_.helo();
  if (helo.empty() || mail::is_address_literal(helo)) return Verdict::dunno();
  if (mail::is_valid_hostname(helo) && helo.find('.') != std::string::npos) return Verdict::dunno();
  return refuse(static_cast<int>(session_.settings().smtpd.non_fqdn_reject_code), "5.5.2",
                subject(Stage::kHelo), "Helo command rejected: need fully-qualified hostname");
}

}  // namespace postern::smtpd
