// postmaster_notice.h - mail to the postmaster about trouble that notify_classes names.

#pragma once

#include <string>
#include <string_view>

#include "common/config/values.h"
#include "common/ipc/cleanup_client.h"
#include "common/loop/task.h"

namespace postern::daemon {

// Whether notify_classes has the word (postconf(5)): "policy", "protocol", "resource", ...
[[nodiscard]] bool wants_notice(const config::Values& values, std::string_view notify_class);

// Hands one message to cleanup, from double_bounce_sender to whom `recipient_parameter` names.
// `text` is whole lines. A notice that cannot be sent is a warning and nothing else.
loop::Task<void> send_notice(ipc::CleanupClient& cleanup, config::Values values,
                             std::string subject, std::string text,
                             std::string recipient_parameter = "error_notice_recipient");

}  // namespace postern::daemon
