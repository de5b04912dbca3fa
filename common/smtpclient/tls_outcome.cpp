#include "common/smtpclient/tls_outcome.h"

namespace postern::smtpclient {

namespace {

struct Word {
  std::string_view part;
  std::string_view type;
};

// In the words of tls::Session::distrust.
constexpr Word kWords[] = {
    {"expired", "certificate-expired"},
    {"not yet valid", "certificate-expired"},
    {"name", "certificate-host-mismatch"},
    {"mismatch", "certificate-host-mismatch"},
};

}  // namespace

TlsTry judge_certificate(const ReportedPolicy& policy, const tls::Session& session) {
  TlsTry tried;
  tried.is_reused = session.is_reused;
  if (!policy.failure.empty()) {
    tried.failure = policy.failure;
    return tried;
  }
  if (policy.type == "no-policy-found" || session.worth == tls::Worth::kVerified) return tried;
  tried.detail = session.distrust;
  tried.failure = policy.type == "tlsa" ? "validation-failure" : "certificate-not-trusted";
  for (const auto& word : kWords) {
    if (session.distrust.find(word.part) == std::string::npos) continue;
    tried.failure = word.type;
    break;
  }
  return tried;
}

ipc::reports::TlsResult make_result(const std::string& domain, const ReportedPolicy& policy,
                                    const Endpoint& endpoint, const TlsTry& tried) {
  ipc::reports::TlsResult result;
  result.domain = domain;
  result.policy_type = policy.type;
  result.policy_domain = policy.domain.empty() ? domain : policy.domain;
  result.policy_strings = policy.strings;
  result.mx_patterns = policy.mx_patterns;
  result.failure = tried.failure;
  result.mx_host = endpoint.name;
  result.mx_address = endpoint.address;
  result.detail = tried.detail;
  return result;
}

}  // namespace postern::smtpclient
