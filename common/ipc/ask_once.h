// ask_once.h - one question of a program without an event loop of its own.

#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "common/base/result.h"
#include "common/ipc/channel.h"
#include "common/loop/loop.h"
#include "common/loop/task.h"
#include "common/sys/fd.h"

namespace postern::ipc {

// Sends the request and waits for its answer. `dispatcher` is for what else the service may tell.
template <Message Request>
Result<typename Request::Reply> ask_once(sys::Fd service, Request request,
                                         const Dispatcher& dispatcher, std::chrono::seconds limit) {
  using Answer = std::optional<Result<typename Request::Reply>>;
  loop::Loop loop;
  const auto channel = std::make_shared<Channel>(std::move(service), dispatcher);
  channel->start();
  Answer answer;
  const auto ask = [](ChannelPtr to, Request what, std::chrono::seconds time, loop::Loop& turns,
                      Answer& out) -> loop::Task<void> {
    out = co_await to->call(std::move(what), loop::Clock::now() + time);
    turns.stop();
  };
  loop::spawn(ask(channel, std::move(request), limit, loop, answer));
  // A service that has gone refuses at once: then nothing would stop the loop any more.
  if (!answer) loop.run();
  channel->close();
  return *std::move(answer);
}

}  // namespace postern::ipc
