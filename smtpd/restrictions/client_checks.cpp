// client_checks.cpp - restrictions that look at the client: its address and names, how it speaks,
// who it says it is by login or certificate.

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/log/log.h"
#include "smtpd/restrictions/run.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

using ipc::resolver::Status;

constexpr int kTemporaryCode = 450;

}  // namespace

Verdict RestrictionRun::apply_client_check(const Restriction& restriction, Stage list) {
  const auto& params = session_.settings().smtpd;
  const auto dunno_or_permit = [&](bool is_permitted) {
    return is_permitted ? permit(restriction.name, subject_of(AccessBy::kClient))
                        : Verdict::dunno();
  };
  switch (restriction.check) {
    case Check::kPermitMynetworks:
      if (session_.in_mynetworks() == Session::Listed::kUnknown) {
        return refuse(451, "4.3.0", subject_of(list), "Temporary lookup failure");
      }
      return dunno_or_permit(session_.is_in_mynetworks());
    case Check::kPermitInetInterfaces: {
      const auto& own = session_.settings().own_addresses;
      return dunno_or_permit(std::ranges::find(own, session_.client_address()) != own.end());
    }
    case Check::kPermitSaslAuthenticated:
      return dunno_or_permit(session_.is_authenticated());
    case Check::kPermitNakedIpAddress:
      return dunno_or_permit(config::parse_ip_address(session_.helo()).has_value() &&
                             !session_.helo().starts_with('['));
    case Check::kRejectPlaintextSession:
      if (session_.is_encrypted()) return Verdict::dunno();
      return refuse(static_cast<int>(session_.settings().restrictions.plaintext_reject_code),
                    "4.7.1", {}, "Session encryption is required");
    case Check::kRejectUnauthPipelining: {
      if (!session_.has_early_input()) return Verdict::dunno();
      const Subject about = subject_of(steps_[step_].stage);
      return refuse(503, "5.5.0", about,
                    about.class_name + " rejected: Improper use of SMTP command pipelining");
    }
    case Check::kRejectUnknownClient:
      return reject_unknown_client();
    case Check::kRejectUnknownForwardClient: {
      if (session_.client_name() != "unknown") return Verdict::dunno();
      const bool is_temporary = session_.name_status() == Status::kTemporary;
      return refuse(
          is_temporary ? kTemporaryCode : static_cast<int>(params.unknown_client_reject_code),
          "4.7.25", {},
          fmt::format("Client host rejected: cannot find your forward hostname, [{}]",
                      session_.client_address()));
    }
    case Check::kRejectUnknownReverseClient:
      return reject_unknown_reverse_client();
    default:
      return Verdict::dunno();
  }
}

Verdict RestrictionRun::reject_unknown_client() {
  if (session_.client_name() != "unknown") return Verdict::dunno();
  const auto& params = session_.settings().smtpd;
  const bool is_temporary = session_.name_status() == Status::kTemporary;
  return refuse(is_temporary ? kTemporaryCode : static_cast<int>(params.unknown_client_reject_code),
                "4.7.25", {},
                fmt::format("Client host rejected: cannot find your hostname, [{}]",
                            session_.client_address()));
}

Verdict RestrictionRun::reject_unknown_reverse_client() {
  if (session_.reverse_name() != "unknown") return Verdict::dunno();
  const auto& params = session_.settings().smtpd;
  const bool is_temporary = session_.reverse_status() == Status::kTemporary;
  return refuse(is_temporary ? kTemporaryCode : static_cast<int>(params.unknown_client_reject_code),
                "4.7.1", {},
                fmt::format("Client host rejected: cannot find your reverse hostname, [{}]",
                            session_.client_address()));
}

// Any trusted certificate, or one whose fingerprint relay_clientcerts lists, trusted or not.
loop::Task<Verdict> RestrictionRun::permit_tls(const Restriction& restriction) {
  if (restriction.check == Check::kPermitTlsAllClientcerts) {
    if (!session_.has_trusted_certificate()) co_return Verdict::dunno();
    co_return permit(restriction.name, subject_of(AccessBy::kClientCertificate));
  }
  const bool is_listed = co_await session_.has_listed_certificate();
  if (!is_listed) co_return Verdict::dunno();
  co_return permit(restriction.name, subject_of(AccessBy::kClientCertificate));
}

}  // namespace postern::smtpd
