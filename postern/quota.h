// quota.h - postern quota: how much of their sending quotas senders have used (smtpd_sender_quota).

#pragma once

namespace postern::control {

// list [SENDER] | reset SENDER | reset -a
int quota_main(int argc, char** argv);

}  // namespace postern::control
