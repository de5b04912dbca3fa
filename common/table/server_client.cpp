#include "common/table/server_client.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <cerrno>

namespace postern::table {

namespace {

std::string_view words_of(loop::Io io) {
  switch (io) {
    case loop::Io::kTimeout:
      return "no answer in time";
    case loop::Io::kEof:
      return "the server has closed the connection";
    default:
      return "the connection is broken";
  }
}

// Neither closed by the server nor with input that nobody has asked for, which is no answer to the
// next question.
bool is_quiet(int fd) {
  char byte = 0;
  return ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EINTR);
}

}  // namespace

ServerClient::ServerClient(Connect connect)
    : connect_(std::move(connect)), idle_timer_([this] { close_idle(); }) {}

loop::Task<Found> ServerClient::find(std::string table, std::string key) {
  const auto address = parse_server_table(table);
  if (!address) co_return std::unexpected(address.error());
  auto request = encode_request(*address, key, limits_);
  if (!request) co_return fail_in(table, std::move(request).error());
  const auto deadline = loop::Clock::now() + kAnswerTime;
  // Servers are as many as the configuration names: their places stay.
  Server& server = servers_[address->endpoint];
  if (server.waiting >= kMaxWaiting) co_return fail_temporary(table + ": too many questions wait");
  ++server.waiting;
  loop::Wait wait = loop::Wait::kReady;
  while (server.in_use >= kMaxConnections && wait == loop::Wait::kReady) {
    wait = co_await server.room.wait(deadline);
  }
  --server.waiting;
  if (wait != loop::Wait::kReady) co_return fail_temporary(table + ": no answer in time");
  ++server.in_use;
  auto found = co_await ask(*address, *std::move(request), server, deadline);
  --server.in_use;
  server.room.notify_one();
  if (!found) co_return fail_in(table, std::move(found).error());
  co_return found;
}

loop::Task<Found> ServerClient::ask(const ServerAddress& address, std::string request,
                                    Server& server, loop::Deadline deadline) {
  for (;;) {
    auto connection = take_idle(server);
    const bool is_kept = connection.has_value();
    if (!is_kept) {
      auto fd = co_await connect_(address.endpoint, deadline);
      if (!fd) co_return std::unexpected(std::move(fd).error());
      connection.emplace();
      connection->stream = std::make_unique<loop::Stream>(*std::move(fd));
      connection->made = loop::Clock::now();
    }
    auto attempt = co_await exchange(address, request, *connection->stream, is_kept, deadline);
    if (attempt.outcome == Outcome::kStale) continue;
    if (attempt.outcome == Outcome::kAnswered && connection->stream->input().empty()) {
      connection->used = loop::Clock::now();
      server.idle.push_back(*std::move(connection));
      if (!idle_timer_.is_armed()) idle_timer_.arm(loop::Clock::now() + kIdleTime);
    }
    co_return std::move(attempt.found);
  }
}

loop::Task<ServerClient::Attempt> ServerClient::exchange(const ServerAddress& address,
                                                         const std::string& request,
                                                         loop::Stream& stream, bool is_kept,
                                                         loop::Deadline deadline) {
  loop::Io io = co_await stream.write(request, deadline);
  while (io == loop::Io::kOk) {
    auto reply = parse_server_reply(address, stream.input(), limits_);
    if (reply.state != ServerReply::State::kMore) {
      stream.consume(reply.consumed);
      const bool is_good = reply.state == ServerReply::State::kDone;
      co_return Attempt{is_good ? Outcome::kAnswered : Outcome::kFailed, std::move(reply.found)};
    }
    io = co_await stream.fill(deadline, limits_.max_reply + loop::Stream::kReadSize);
  }
  // A server may end a connection that it finds idle while we begin to use it.
  if (is_kept && io != loop::Io::kTimeout && stream.input().empty()) {
    co_return Attempt{Outcome::kStale, std::nullopt};
  }
  co_return Attempt{Outcome::kFailed, fail_temporary(std::string(words_of(io)))};
}

std::optional<ServerClient::Connection> ServerClient::take_idle(Server& server) {
  const auto now = loop::Clock::now();
  while (!server.idle.empty()) {
    Connection connection = std::move(server.idle.back());
    server.idle.pop_back();
    const bool is_old = connection.made + kLifetime < now || connection.used + kIdleTime < now;
    if (is_old || !is_quiet(connection.stream->fd())) continue;
    return connection;
  }
  return std::nullopt;
}

void ServerClient::close_idle() {
  const auto now = loop::Clock::now();
  bool is_any_left = false;
  for (auto& [endpoint, server] : servers_) {
    while (!server.idle.empty() && server.idle.front().used + kIdleTime <= now) {
      server.idle.pop_front();
    }
    is_any_left = is_any_left || !server.idle.empty();
  }
  if (is_any_left) idle_timer_.arm(now + kIdleTime);
}

}  // namespace postern::table
