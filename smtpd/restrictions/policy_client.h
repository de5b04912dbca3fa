// policy_client.h - talks to policy services (SMTPD_POLICY_README): connections that broker has
// made, kept and shared by all sessions.
//
// The protocol has one request under way on a connection; many are under way over several. A
// connection that has failed while it was kept counts for nothing: its request goes over a new one
// at once. All else that fails is tried again after retry_delay, try_limit times in all.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/ipc/client.h"
#include "common/loop/stream.h"
#include "common/policy/policy_settings.h"
#include "smtpd/restrictions/policy_reply.h"

namespace postern::smtpd {

using namespace policy;

class PolicyClients {
 public:
  PolicyClients();
  ~PolicyClients();
  PolicyClients(const PolicyClients&) = delete;
  PolicyClients& operator=(const PolicyClients&) = delete;

  // The action that the service answers `request` with; an error after the last try.
  [[nodiscard]] loop::Task<Result<std::string>> ask(std::shared_ptr<const PolicySettings> service,
                                                    std::string request);

 private:
  struct Connection {
    explicit Connection(sys::Fd fd) : stream(std::move(fd)), opened(loop::Clock::now()) {}
    loop::Stream stream;
    loop::TimePoint opened;
    loop::TimePoint idle_until{};
    std::int64_t requests = 0;
  };
  using ConnectionPtr = std::unique_ptr<Connection>;
  struct Endpoint {
    std::vector<ConnectionPtr> idle;  // latest use last
    std::int64_t in_use = 0;
    loop::Condition room;
  };
  enum class Fault : unsigned char { kNone, kStale, kOther };

  [[nodiscard]] loop::Task<Result<std::string>> try_once(
      std::shared_ptr<const PolicySettings> service, std::string request);
  [[nodiscard]] loop::Task<Result<std::string>> exchange(Connection& connection,
                                                         const std::string& request,
                                                         loop::Deadline deadline, Fault& fault);
  [[nodiscard]] loop::Task<Result<ConnectionPtr>> open(std::uint64_t number,
                                                       loop::Deadline deadline);
  void close_idle();

  ipc::Client broker_{"private/broker"};
  std::map<std::uint64_t, Endpoint> endpoints_;
  loop::CallbackTimer sweep_;
};

}  // namespace postern::smtpd
