// dovecot.h - logins by Dovecot: one connection for all sessions, made by broker, kept, and made
// again with back-off when it is lost.

#pragma once

#include <deque>
#include <unordered_map>

#include "common/loop/stream.h"
#include "common/sasl/dovecot.h"
#include "smtpd/login/service.h"

namespace postern::smtpd {

class DovecotClient {
 public:
  DovecotClient(ipc::Client& broker, std::uint64_t endpoint, std::string name);
  ~DovecotClient();
  DovecotClient(const DovecotClient&) = delete;
  DovecotClient& operator=(const DovecotClient&) = delete;

  // After the greeting of the server; connects where there is no connection.
  [[nodiscard]] loop::Task<Result<std::vector<sasl::Mechanism>>> mechanisms();

  // A login under way: the number on the connection that it began on. Another connection knows
  // nothing of it.
  struct Ticket {
    std::uint64_t connection = 0;
    std::uint32_t id = 0;
  };
  [[nodiscard]] loop::Task<sasl::DovecotLine> start(sasl::DovecotRequest request, Ticket& ticket);
  [[nodiscard]] loop::Task<sasl::DovecotLine> next(Ticket ticket, std::string response);
  void cancel(Ticket ticket);

 private:
  struct Connection;
  using ConnectionPtr = std::shared_ptr<Connection>;

  [[nodiscard]] loop::Task<Result<ConnectionPtr>> connected();
  loop::Task<void> connect();
  [[nodiscard]] loop::Task<Result<ConnectionPtr>> greet(sys::Fd fd, loop::Deadline deadline);
  [[nodiscard]] static loop::Task<sasl::DovecotLine> answer(ConnectionPtr connection,
                                                            std::uint32_t id, std::string request);
  void fail(std::string why);

  ipc::Client& broker_;
  std::uint64_t endpoint_;
  std::string name_;
  ConnectionPtr connection_;
  std::uint64_t connections_ = 0;
  bool is_connecting_ = false;
  loop::Condition settled_;  // an attempt to connect has ended
  std::string last_error_;
  loop::TimePoint not_before_{};
  loop::Clock::duration back_off_{};
};

[[nodiscard]] std::unique_ptr<LoginExchange> make_dovecot_exchange(DovecotClient& client,
                                                                   std::string service);

}  // namespace postern::smtpd
