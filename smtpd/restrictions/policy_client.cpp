#include "smtpd/restrictions/policy_client.h"

#include <fmt/format.h>

#include "common/ipc/broker.h"
#include "common/log/log.h"

namespace postern::smtpd {

namespace {

constexpr std::chrono::seconds kSweepPeriod{5};

}  // namespace

PolicyClients::PolicyClients() : sweep_([this] { close_idle(); }) {}
PolicyClients::~PolicyClients() = default;

void PolicyClients::close_idle() {
  const auto now = loop::Clock::now();
  bool has_idle = false;
  for (auto& [number, endpoint] : endpoints_) {
    std::erase_if(endpoint.idle, [&](const ConnectionPtr& connection) {
      return connection->idle_until <= now || connection->stream.has_hung_up();
    });
    has_idle = has_idle || !endpoint.idle.empty();
  }
  if (has_idle) sweep_.arm(now + kSweepPeriod);
}

loop::Task<Result<std::string>> PolicyClients::ask(std::shared_ptr<const PolicySettings> service,
                                                   std::string request) {
  for (std::int64_t attempt = 1;; ++attempt) {
    auto answer = co_await try_once(service, request);
    if (answer) co_return answer;
    // As Postfix names it: without the type of a network address.
    std::string_view name = service->endpoint;
    constexpr std::string_view kInet = "inet:";
    if (name.starts_with(kInet)) name.remove_prefix(kInet.size());
    log::warning("problem talking to server {}: {}", name, answer.error().text);
    if (attempt >= service->try_limit) co_return answer;
    co_await loop::sleep_for(service->retry_delay);
  }
}

loop::Task<Result<std::string>> PolicyClients::try_once(
    std::shared_ptr<const PolicySettings> service, std::string request) {
  const loop::Deadline deadline = loop::Clock::now() + service->timeout;
  Endpoint& endpoint = endpoints_[service->number];
  const std::int64_t limit = service->connection_limit;
  while (limit > 0 && endpoint.in_use >= limit) {
    const loop::Wait wait = co_await endpoint.room.wait(deadline);
    if (wait != loop::Wait::kReady) co_return fail_temporary("too many requests under way");
  }
  ++endpoint.in_use;
  Result<std::string> answer = fail_temporary("not asked");
  Fault fault = Fault::kStale;
  ConnectionPtr connection;
  while (fault == Fault::kStale) {
    connection.reset();
    const auto now = loop::Clock::now();
    while (!endpoint.idle.empty() && connection == nullptr) {
      connection = std::move(endpoint.idle.back());
      endpoint.idle.pop_back();
      const bool is_old = connection->opened + service->max_ttl <= now ||
                          connection->idle_until <= now || connection->stream.has_hung_up();
      if (is_old) connection.reset();
    }
    const bool is_kept = connection != nullptr;
    if (!is_kept) {
      auto opened = co_await open(service->number, deadline);
      if (!opened) {
        answer = std::unexpected(std::move(opened).error());
        break;
      }
      connection = *std::move(opened);
    }
    fault = Fault::kNone;
    answer = co_await exchange(*connection, request, deadline, fault);
    if (!is_kept && fault == Fault::kStale) fault = Fault::kOther;
  }
  --endpoint.in_use;
  endpoint.room.notify_one();
  if (!answer || connection == nullptr) co_return answer;
  ++connection->requests;
  const auto now = loop::Clock::now();
  const bool is_used_up =
      (service->request_limit > 0 && connection->requests >= service->request_limit) ||
      connection->opened + service->max_ttl <= now || service->max_idle.count() == 0;
  if (!is_used_up) {
    connection->idle_until = now + service->max_idle;
    endpoint.idle.push_back(std::move(connection));
    if (!sweep_.is_armed()) sweep_.arm(now + kSweepPeriod);
  }
  co_return answer;
}

loop::Task<Result<std::string>> PolicyClients::exchange(Connection& connection,
                                                        const std::string& request,
                                                        loop::Deadline deadline, Fault& fault) {
  loop::Stream& stream = connection.stream;
  loop::Io io = co_await stream.write(request, deadline);
  bool has_input = false;
  while (io == loop::Io::kOk) {
    const PolicyReply reply = parse_policy_reply(stream.input());
    if (reply.state == PolicyReply::State::kBad) {
      fault = Fault::kOther;
      co_return fail_temporary(std::string(reply.problem));
    }
    if (reply.state == PolicyReply::State::kAction) {
      stream.consume(reply.consumed);
      // More than was asked for: nobody knows what it belongs to.
      if (!stream.input().empty()) {
        fault = Fault::kOther;
        co_return fail_temporary("more than one reply");
      }
      co_return reply.action;
    }
    io = co_await stream.fill(deadline, kMaxPolicyReply + 2);
    has_input = has_input || !stream.input().empty();
  }
  const bool is_closed = io == loop::Io::kEof || io == loop::Io::kError;
  fault = is_closed && !has_input ? Fault::kStale : Fault::kOther;
  if (io == loop::Io::kTimeout) co_return fail_temporary("Connection timed out");
  if (io == loop::Io::kError) co_return fail_temporary(sys::errno_text(stream.error()));
  co_return fail_temporary("Connection closed without a reply");
}

loop::Task<Result<PolicyClients::ConnectionPtr>> PolicyClients::open(std::uint64_t number,
                                                                     loop::Deadline deadline) {
  ipc::broker::Connect question;
  question.endpoint = number;
  std::vector<sys::Fd> fds;
  CO_TRY(const auto connected, co_await broker_.call(question, deadline, {}, &fds));
  if (fds.size() != 1) co_return fail_temporary(connected.peer + ": no connection came");
  co_return std::make_unique<Connection>(std::move(fds.front()));
}

}  // namespace postern::smtpd
