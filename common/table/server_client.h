// server_client.h - asks the servers behind tcp: and socketmap: tables, without making anybody else
// wait.
//
// A connection carries one question at a time and is kept for the next one for a while; further
// questions to the same server have further connections, up to kMaxConnections, and wait beyond
// that. A kept connection that the server has closed is replaced without a word.

#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "common/loop/loop.h"
#include "common/loop/stream.h"
#include "common/loop/task.h"
#include "common/table/server_wire.h"

namespace postern::table {

class ServerClient {
 public:
  static constexpr std::size_t kMaxConnections = 20;      // to one server
  static constexpr std::size_t kMaxWaiting = 1000;        // questions for a connection of it
  static constexpr std::chrono::seconds kAnswerTime{30};  // connecting and the answer
  static constexpr std::chrono::seconds kIdleTime{10};
  static constexpr std::chrono::seconds kLifetime{100};

  // Makes a connection to "inet:host:port" or "unix:path".
  using Connect =
      std::function<loop::Task<Result<sys::Fd>>(std::string endpoint, loop::Deadline deadline)>;
  explicit ServerClient(Connect connect);
  void set_limits(ServerLimits limits) { limits_ = limits; }

  // `table` is "tcp:..." or "socketmap:..."; an error names it.
  [[nodiscard]] loop::Task<Found> find(std::string table, std::string key);

 private:
  struct Connection {
    std::unique_ptr<loop::Stream> stream;
    loop::TimePoint made{};
    loop::TimePoint used{};
  };
  struct Server {
    std::deque<Connection> idle;
    std::size_t in_use = 0;
    std::size_t waiting = 0;
    loop::Condition room;
  };
  enum class Outcome : unsigned char { kAnswered, kStale, kFailed };
  struct Attempt {
    Outcome outcome = Outcome::kFailed;
    Found found = std::nullopt;
  };

  [[nodiscard]] loop::Task<Found> ask(const ServerAddress& address, std::string request,
                                      Server& server, loop::Deadline deadline);
  [[nodiscard]] loop::Task<Attempt> exchange(const ServerAddress& address,
                                             const std::string& request, loop::Stream& stream,
                                             bool is_kept, loop::Deadline deadline);
  [[nodiscard]] std::optional<Connection> take_idle(Server& server);
  void close_idle();

  Connect connect_;
  ServerLimits limits_;
  std::map<std::string, Server> servers_;  // by endpoint
  loop::CallbackTimer idle_timer_;
};

}  // namespace postern::table
