// ask_service.h - one question of a verb to a service of a running mail system.

#pragma once

#include <array>
#include <ctime>
#include <memory>
#include <string>
#include <utility>

#include "common/ipc/anvil.h"
#include "common/ipc/channel.h"
#include "common/loop/loop.h"
#include "common/sys/socket.h"

namespace postern::control {

inline constexpr std::chrono::seconds kServiceTime{10};

// Precondition: the working directory is queue_directory. master starts the service if need be.
template <typename Request>
Result<typename Request::Reply> ask_service(const std::string& name, Request request,
                                            std::chrono::seconds time = kServiceTime) {
  auto fd = sys::connect_unix("private/" + name);
  if (!fd) return fail_temporary(name + " cannot be reached; is the mail system running?");
  loop::Loop loop;
  ipc::Dispatcher dispatcher;
  dispatcher.notice<ipc::anvil::BanList>([](ipc::anvil::BanList&, const ipc::ChannelPtr&) {});
  const auto channel = std::make_shared<ipc::Channel>(*std::move(fd), dispatcher);
  channel->start();
  Result<typename Request::Reply> result = fail_temporary(name + " did not answer");
  const auto wait = [](ipc::ChannelPtr to, Request what, loop::Loop& turns,
                       Result<typename Request::Reply>& answer,
                       std::chrono::seconds limit) -> loop::Task<void> {
    answer = co_await to->call(std::move(what), loop::Clock::now() + limit);
    turns.stop();
  };
  loop::spawn(wait(channel, std::move(request), loop, result, time));
  loop.run();
  channel->close();
  return result;
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
