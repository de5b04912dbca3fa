// auth_daemon.h - logins by our auth daemon (cyrus and postern).

#pragma once

#include "smtpd/login/service.h"

namespace postern::smtpd {

[[nodiscard]] loop::Task<Result<std::vector<sasl::Mechanism>>> auth_mechanisms(
    ipc::Client& daemon, std::uint64_t profile);
[[nodiscard]] std::unique_ptr<LoginExchange> make_auth_exchange(ipc::Client& daemon,
                                                                std::uint64_t profile);

}  // namespace postern::smtpd
