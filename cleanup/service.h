// service.h - what cleanup's clients (smtpd, pickup, bounce, local) ask of it.

#pragma once

#include <map>
#include <memory>

#include "cleanup/intake.h"
#include "cleanup/slots.h"
#include "common/daemon/daemon.h"
#include "common/ipc/server.h"

namespace postern::cleanup {

class Service {
 public:
  Service(daemon::Process& process, queuefile::QueueDirs dirs);
  void start();

 private:
  // A message that arrives in pieces. Content that has come while one is being written waits here.
  struct Transaction {
    explicit Transaction(Room& room, std::string id) : intake(room, std::move(id)) {}
    Intake intake;
    Slots::Slot slot;
    bool is_turned_away = false;  // there was no slot for it in time
    std::string waiting;
    std::int64_t taken = 0;
    bool is_working = false;
    loop::Condition idle;
  };
  using TransactionPtr = std::shared_ptr<Transaction>;
  // Of one connection.
  struct Peer {
    std::map<std::uint32_t, TransactionPtr> transactions;
  };

  [[nodiscard]] loop::Task<Result<ipc::cleanup::Outcome>> submit(ipc::cleanup::Submit request,
                                                                 std::vector<sys::Fd> fds);
  [[nodiscard]] loop::Task<Result<ipc::cleanup::Opened>> open(ipc::cleanup::Open request,
                                                              ipc::ChannelPtr channel,
                                                              std::vector<sys::Fd> fds);
  loop::Task<void> begin_work(TransactionPtr transaction, std::uint32_t number,
                              ipc::ChannelPtr channel, std::string envelope, Origin origin);
  loop::Task<void> work(TransactionPtr transaction, std::uint32_t number, ipc::ChannelPtr channel);
  void content(const ipc::ChannelPtr& channel, ipc::Frame& frame);
  [[nodiscard]] loop::Task<Result<ipc::cleanup::Outcome>> finish(ipc::cleanup::Finish request,
                                                                 ipc::ChannelPtr channel);
  [[nodiscard]] std::string id_for(const std::string& wanted);
  [[nodiscard]] static Peer& peer(const ipc::ChannelPtr& channel);
  void configure();
  void finish_if_idle();
  void check_disk();
  loop::Task<void> check_intake();
  void tell_pressure();
  void begin();
  void end();

  daemon::Process& process_;
  std::size_t limit_ = 0;  // messages at once, by master's word
  Slots slots_;
  Room room_;
  ipc::Server server_;
  std::size_t in_use_ = 0;
  ipc::cleanup::Pressure pressure_;
  loop::CallbackTimer disk_timer_;
  // Once it drains: not before clients have heard of it.
  loop::CallbackTimer leave_timer_;
  bool may_finish_ = true;
  bool is_asking_ = false;  // qmgr, how far it lags
};

}  // namespace postern::cleanup
