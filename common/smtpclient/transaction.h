// transaction.h - MAIL to final dot, for one job over one connection.
//
// With PIPELINING the envelope and DATA leave in one write, the content in a second one. Without,
// command by command. Every reply belongs to one command, in order; each has its own time limit.
// Commands go out in groups so small that neither side can be made to wait for the other's reading.

#pragma once

#include <string>
#include <vector>

#include "common/loop/task.h"
#include "common/smtpclient/connection.h"
#include "common/smtpclient/content.h"
#include "common/smtpclient/job.h"
#include "common/smtpclient/settings.h"

namespace postern::smtpclient {

class Transaction {
 public:
  enum class End : unsigned char {
    kUsable,  // the connection may be used again
    kSpent,   // say goodbye
    kBroken,  // gone
    kStale,   // a kept connection had ended before this transaction began: nothing happened
  };

  // `is_final`: no other server is tried after this one.
  Transaction(Connection& connection, Job& job, SettingsPtr settings, BufferPool& buffers,
              bool is_final, ipc::TablesClient* tables = nullptr);
  // The same server is tried once more when the connection breaks: the recipients wait for that.
  void keep_when_lost() { is_kept_when_lost_ = true; }

  [[nodiscard]] loop::Task<End> run();

 private:
  enum class State : unsigned char {
    kOpen,      // not judged by this server
    kAccepted,  // RCPT was answered with 2xx
    kSettled,   // reported, or kept for the next server
  };
  struct Sent {
    Step step = Step::kMail;
    std::size_t recipient = 0;
  };

  // Address verification: whether the answer to DATA is wanted, too.
  [[nodiscard]] bool is_data_probed() const;
  // 8-bit content for a server that takes none.
  [[nodiscard]] bool is_downgraded() const;
  [[nodiscard]] std::vector<Sent> plan_commands();
  [[nodiscard]] std::string text_of(const Sent& command) const;
  [[nodiscard]] std::chrono::seconds timeout_of(Step step) const;
  // smtp_generic_maps. False: they could not be asked.
  loop::Task<bool> map_envelope();
  loop::Task<bool> send_envelope();
  loop::Task<bool> send_group(std::vector<Sent> group);
  void judge(const Sent& command, smtpwire::ServerReply reply);
  loop::Task<void> send_message();
  loop::Task<void> read_outcome();
  void lost(const Connection::Reply& reply, Step step);

  // The recipients not settled, or one: reported, or kept with a log line.
  void fail_all(const Verdict& verdict);
  void fail_one(std::size_t recipient, Verdict verdict);
  void succeed(std::size_t recipient, const smtpwire::ServerReply& reply);

  Connection& connection_;
  Job& job_;
  SettingsPtr settings_;
  BufferPool& buffers_;
  const bool is_final_;
  bool is_kept_when_lost_ = false;
  ipc::TablesClient* tables_;
  std::vector<std::string> mapped_;  // the sender, then the recipients; empty: as the job has them
  std::vector<State> states_;
  bool is_probe_ = false;
  std::size_t accepted_ = 0;
  bool mail_refused_ = false;
  bool data_accepted_ = false;
  bool has_heard_ = false;  // any reply, over this transaction
  End end_ = End::kUsable;
};

}  // namespace postern::smtpclient
