// examination.h - one message of a stranger: all that SPF, DKIM, ARC and DMARC have to say of it,
// and what is done about that.
//
// The header is read first, and says which hashes of the body are needed; the body is read once.
// SPF, DKIM and ARC then ask DNS side by side, DMARC follows.

#pragma once

#include <string>
#include <vector>

#include "common/base/result.h"
#include "common/ipc/mailauth.h"
#include "common/loop/task.h"
#include "common/loop/worker_pool.h"
#include "common/mail/header.h"
#include "common/mailauth/arc.h"
#include "common/mailauth/dkim.h"
#include "common/mailauth/dmarc.h"
#include "common/mailauth/results_header.h"
#include "common/mailauth/spf.h"
#include "common/sys/fd.h"
#include "mailauth/content.h"

namespace postern::mailauthd {

struct Rules {
  std::string authserv_id;
  std::string myhostname;
  bool has_received_spf = true;  // smtpd_spf_headers
  bool has_spf_result = true;
  bool is_enforced = false;       // smtpd_dmarc_policy
  bool quarantine_holds = false;  // smtpd_dmarc_quarantine_action
  std::vector<std::string> exempt_lists;
  std::vector<std::string> trusted_sealers;
  mailauth::DmarcDiscovery discovery = mailauth::DmarcDiscovery::kPublicSuffixes;
};

// SPF of one identity; `sender` is that of the envelope, empty for <>.
[[nodiscard]] mailauth::SpfRequest spf_request(const std::string& client_address, std::string helo,
                                               std::string sender, mailauth::SpfIdentity identity,
                                               const std::string& receiver);

class Examination {
 public:
  // All outlive this. `sample` is 0 to 99, for pct=.
  Examination(const Rules& rules, const mailauth::PublicSuffixes& suffixes,
              ipc::mailauth::Examine request, unsigned sample);

  // The body, from the request or from `body_file`. An error is temporary.
  [[nodiscard]] loop::Task<Result<void>> read_body(loop::WorkerPool& pool, sys::Fd body_file);
  [[nodiscard]] loop::Task<ipc::mailauth::Examined> judge(mailauth::DnsSource& dns);

  // "spf=pass smtp.mailfrom=...; dkim=pass header.d=..." on one line, after judge().
  [[nodiscard]] const std::string& summary() const { return summary_; }

 private:
  [[nodiscard]] bool wants(unsigned what) const {
    return (static_cast<unsigned>(request_.wanted) & what) != 0;
  }
  [[nodiscard]] loop::Task<void> judge_spf(mailauth::DnsSource& dns);
  [[nodiscard]] loop::Task<void> judge_dkim(mailauth::DnsSource& dns);
  [[nodiscard]] loop::Task<void> judge_arc(mailauth::DnsSource& dns);
  [[nodiscard]] loop::Task<void> judge_dmarc(mailauth::DnsSource& dns);
  // Why the policy of the domain does not apply here; empty: it does.
  [[nodiscard]] std::string override_reason() const;
  void decide(ipc::mailauth::Examined& examined);
  [[nodiscard]] std::string compose_fields();

  const Rules& rules_;
  const mailauth::PublicSuffixes& suffixes_;
  ipc::mailauth::Examine request_;
  unsigned sample_;
  std::vector<mail::HeaderField> header_;
  mailauth::BodyHashes hashes_;
  mailauth::DkimVerifier dkim_;
  mailauth::ArcVerifier arc_;
  mailauth::SpfRequest spf_request_;
  mailauth::SpfIdentity spf_identity_ = mailauth::SpfIdentity::kMailFrom;
  mailauth::SpfVerdict spf_verdict_;
  std::vector<mailauth::DkimResult> dkim_results_;
  mailauth::ArcVerdict arc_verdict_;
  mailauth::DmarcVerdict dmarc_verdict_;
  std::string override_;
  std::string results_;
  std::string summary_;
};

}  // namespace postern::mailauthd
