// ask_service.h - one question of a verb to a service of a running mail system.

#pragma once

#include <array>
#include <chrono>
#include <ctime>
#include <string>
#include <utility>

#include "common/ipc/anvil.h"
#include "common/ipc/ask_once.h"
#include "common/sys/socket.h"

namespace postern::control {

inline constexpr std::chrono::seconds kServiceTime{10};

// Precondition: the working directory is queue_directory. master starts the service if need be.
template <typename Request>
Result<typename Request::Reply> ask_service(const std::string& name, Request request,
                                            std::chrono::seconds time = kServiceTime) {
  auto fd = sys::connect_unix("private/" + name);
  if (!fd) return fail_temporary(name + " cannot be reached; is the mail system running?");
  ipc::Dispatcher dispatcher;
  dispatcher.notice<ipc::anvil::BanList>([](ipc::anvil::BanList&, const ipc::ChannelPtr&) {});
  dispatcher.notice<ipc::anvil::Watched>([](ipc::anvil::Watched&, const ipc::ChannelPtr&) {});
  return ipc::ask_once(*std::move(fd), std::move(request), dispatcher, time);
}

template <typename Request>
Result<typename Request::Reply> ask_anvil(Request request) {
  return ask_service("anvil", std::move(request));
}

// "2026-11-22 17:07:35", local time.
inline std::string print_time(std::int64_t seconds) {
  const auto when = static_cast<std::time_t>(seconds);
  std::tm parts{};
  ::localtime_r(&when, &parts);
  std::array<char, 32> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &parts);
  return {text.data(), size};
}

}  // namespace postern::control
