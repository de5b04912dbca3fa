// client_checks.cpp - restrictions that look at the client's address.

#include <algorithm>

#include "smtpd/restrictions/run.h"
#include "smtpd/session.h"

namespace postern::smtpd {

Verdict RestrictionRun::permit_mynetworks() const {
  return session_.is_in_mynetworks() ? Verdict::permit() : Verdict::dunno();
}

Verdict RestrictionRun::permit_inet_interfaces() const {
  const auto& own = session_.settings().own_addresses;
  const bool is_own = std::find(own.begin(), own.end(), session_.client_address()) != own.end();
  return is_own ? Verdict::permit() : Verdict::dunno();
}

}  // namespace postern::smtpd
