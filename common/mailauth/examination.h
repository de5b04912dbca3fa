// examination.h - one message of a stranger: all that SPF, DKIM, ARC and DMARC have to say of it,
// and what is done about that.
//
// The header is read first, and says which hashes of the body are needed; the body is read once.
// SPF, DKIM and ARC then ask DNS side by side, DMARC follows.

#pragma once

#include <string>
#include <vector>

#include "common/base/result.h"
#include "common/config/params/mailauth.h"
#include "common/ipc/mailauth.h"
#include "common/ipc/reports.h"
#include "common/loop/task.h"
#include "common/loop/worker_pool.h"
#include "common/mail/header.h"
#include "common/mailauth/arc.h"
#include "common/mailauth/content.h"
#include "common/mailauth/dkim.h"
#include "common/mailauth/dmarc.h"
#include "common/mailauth/results_header.h"
#include "common/mailauth/spf.h"
#include "common/sys/fd.h"

namespace postern::mailauth {

// What is done about verdicts.
struct VerdictRules {
  std::string authserv_id;
  std::string myhostname;
  bool has_received_spf = true;  // smtpd_spf_headers
  bool has_spf_result = true;
  bool is_enforced = false;       // smtpd_dmarc_policy
  bool quarantine_holds = false;  // smtpd_dmarc_quarantine_action
  std::vector<std::string> exempt_lists;
  std::vector<std::string> trusted_sealers;
  DmarcDiscovery discovery = DmarcDiscovery::kPublicSuffixes;
};

[[nodiscard]] VerdictRules read_verdict_rules(const config::MailauthParams& params,
                                              std::string myhostname);

// SPF of one identity; `sender` is that of the envelope, empty for <>.
[[nodiscard]] SpfRequest spf_request(const std::string& client_address, std::string helo,
                                     std::string sender, SpfIdentity identity,
                                     const std::string& receiver);

class Examination {
 public:
  // All outlive this. `sample` is 0 to 99, for pct=.
  Examination(const VerdictRules& rules, const PublicSuffixes& suffixes,
              ipc::mailauth::Examine request, unsigned sample);

  // The hashes that the body has to go through; finish() them before judge().
  [[nodiscard]] BodyHashes& plan();
  // All of that, the body coming with the request or in `body_file`. An error is temporary.
  [[nodiscard]] loop::Task<Result<void>> read_body(loop::WorkerPool& pool, sys::Fd body_file);
  [[nodiscard]] loop::Task<ipc::mailauth::Examined> judge(DnsSource& dns);

  // For the aggregate report of the domain, after judge(); nothing where it has no DMARC record, or
  // none that asks for reports, or where trouble in DNS left the verdict open.
  [[nodiscard]] std::optional<ipc::reports::DmarcResult> for_report() const;

  // "spf=pass smtp.mailfrom=...; dkim=pass header.d=..." on one line, after judge().
  [[nodiscard]] const std::string& summary() const { return summary_; }

 private:
  [[nodiscard]] bool wants(unsigned what) const {
    return (static_cast<unsigned>(request_.wanted) & what) != 0;
  }
  [[nodiscard]] loop::Task<void> judge_spf(DnsSource& dns);
  [[nodiscard]] loop::Task<void> judge_dkim(DnsSource& dns);
  [[nodiscard]] loop::Task<void> judge_arc(DnsSource& dns);
  [[nodiscard]] loop::Task<void> judge_dmarc(DnsSource& dns);
  // Why the policy of the domain does not apply here; empty: it does.
  [[nodiscard]] std::string override_reason() const;
  void decide(ipc::mailauth::Examined& examined);
  // Why what was done is not what the domain asks for, in the words of RFC 7489 appendix C.
  void explain_disposition(ipc::reports::DmarcResult& result) const;
  [[nodiscard]] std::string compose_fields();

  const VerdictRules& rules_;
  const PublicSuffixes& suffixes_;
  ipc::mailauth::Examine request_;
  unsigned sample_;
  std::vector<mail::HeaderField> header_;
  BodyHashes hashes_;
  DkimVerifier dkim_;
  ArcVerifier arc_;
  SpfRequest spf_request_;
  SpfIdentity spf_identity_ = SpfIdentity::kMailFrom;
  SpfVerdict spf_verdict_;
  std::vector<DkimResult> dkim_results_;
  ArcVerdict arc_verdict_;
  DmarcVerdict dmarc_verdict_;
  std::string override_;
  std::string results_;
  std::string summary_;
};

}  // namespace postern::mailauth
