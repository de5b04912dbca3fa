// tls_outcome.h - how tries to be secret with the servers of a domain went, for its TLS report
// (RFC 8460). Pure.

#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "common/ipc/reports.h"
#include "common/smtpclient/plan.h"
#include "common/smtpclient/tls_policy.h"
#include "common/tls/session.h"

namespace postern::smtpclient {

// Takes one result; never waits.
using TlsReporter = std::function<void(const ipc::reports::TlsResult& result)>;

// What STARTTLS with one server came to. A handshake that ended well leaves `failure` empty, what
// the certificate was worth is judged by judge_certificate().
struct TlsTry {
  std::string failure{};  // result type of RFC 8460 4.3
  std::string detail{};
  bool is_reused = false;
};

// The failure that a certificate is for a policy; an empty one where it is none.
[[nodiscard]] TlsTry judge_certificate(const ReportedPolicy& policy, const tls::Session& session);

// With all that is known of domain, policy and server.
[[nodiscard]] ipc::reports::TlsResult make_result(const std::string& domain,
                                                  const ReportedPolicy& policy,
                                                  const Endpoint& endpoint, const TlsTry& tried);

}  // namespace postern::smtpclient
