#include "broker/service.h"

#include <fmt/format.h>

#include "common/config/endpoints.h"
#include "common/ipc/connect.h"
#include "common/log/log.h"

namespace postern::broker {

namespace {

// Whoever asks has a deadline of his own, and tries again after it.
constexpr std::chrono::seconds kConnectTime{30};
// Connections being made at once, over all endpoints.
constexpr std::size_t kMaxUnderWay = 1000;

}  // namespace

Service::Service(daemon::Process& process) : process_(process), server_(process.take_listener()) {
  configure();
}

void Service::configure() { endpoints_ = config::configured_endpoints(process_.values()); }

void Service::start() {
  server_.dispatcher().raw(ipc::broker::Connect::kType,
                           [this](const ipc::ChannelPtr& channel, ipc::Frame& frame) {
                             const auto request = ipc::decode<ipc::broker::Connect>(frame.payload);
                             if (!request) return channel->close();
                             loop::spawn(connect(request->endpoint, channel, frame.id));
                           });
  process_.on_reload([this] { configure(); });
  process_.on_drain([this] {
    // All that is asked here may be asked again of the next process.
    server_.stop_accepting();
    process_.finish();
  });
  server_.only_for(process_.clients());
  server_.start();
}

loop::Task<void> Service::connect(std::uint64_t number, ipc::ChannelPtr channel, std::uint32_t id) {
  constexpr std::uint16_t kType = ipc::broker::Connect::kType;
  const auto found = endpoints_.find(number);
  if (found == endpoints_.end()) {
    channel->send_error(kType, id,
                        Error{Error::Kind::kConfig, "no such endpoint in the configuration"});
    co_return;
  }
  if (under_way_ >= kMaxUnderWay) {
    channel->send_error(kType, id, Error{Error::Kind::kTemporary, "too many connections"});
    co_return;
  }
  const std::string endpoint = found->second;
  ++under_way_;
  auto fd = co_await ipc::connect_to(resolver_, endpoint, loop::Clock::now() + kConnectTime);
  --under_way_;
  if (!channel->is_open()) co_return;
  if (!fd) {
    channel->send_error(
        kType, id,
        Error{fd.error().kind, fmt::format("connect to {}: {}", endpoint, fd.error().text)});
    co_return;
  }
  ipc::broker::Connected connected;
  connected.peer = endpoint;
  std::vector<sys::Fd> fds;
  fds.push_back(*std::move(fd));
  const Result<ipc::broker::Connected> reply = connected;
  channel->reply(kType, id, reply, std::move(fds));
}

}  // namespace postern::broker
