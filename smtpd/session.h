// session.h - one client, from greeting to goodbye.
//
//     greeting -> HELO/EHLO -> MAIL -> RCPT... -> DATA or BDAT... -> MAIL ... -> QUIT
//
// Replies to pipelined commands leave together: output is flushed when no whole command waits in
// the input. A session that waits for its client holds this object, two coroutine frames and no
// buffer.

#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/ipc/tables.h"
#include "common/loop/stream.h"
#include "common/mail/reply.h"
#include "common/smtpwire/chunk.h"
#include "common/smtpwire/command.h"
#include "common/smtpwire/dot.h"
#include "common/smtpwire/line.h"
#include "common/sys/socket.h"
#include "smtpd/server.h"
#include "smtpd/settings.h"
#include "smtpd/transaction.h"

namespace postern::smtpd {

class Session {
 public:
  Session(Server& server, SettingsPtr settings, sys::Accepted client, std::int64_t number);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  loop::Task<void> run();
  // Ends at the next command, with 421.
  void drain();

  // ---- what restrictions look at
  [[nodiscard]] const Settings& settings() const { return *settings_; }
  [[nodiscard]] Neighbours& neighbours() { return server_.neighbours(); }
  [[nodiscard]] const std::string& client_name() const { return client_name_; }
  [[nodiscard]] const std::string& client_address() const { return client_address_; }
  [[nodiscard]] std::string client() const;  // "name[address]"
  [[nodiscard]] const std::string& helo() const { return helo_; }
  [[nodiscard]] const std::string& protocol() const { return protocol_; }
  [[nodiscard]] const std::optional<std::string>& sender() const { return sender_; }
  [[nodiscard]] Transaction* transaction() { return transaction_ ? &*transaction_ : nullptr; }
  [[nodiscard]] bool is_authenticated() const { return false; }
  [[nodiscard]] bool is_in_mynetworks() const;
  [[nodiscard]] std::int64_t number() const { return number_; }
  [[nodiscard]] bool is_local_client() const;
  // An access table said HOLD: the message is kept aside.
  void hold_next() { hold_ = true; }

 private:
  enum class End : unsigned char { kQuit, kLost, kTimeout, kDropped };

  // ---- session.cpp
  loop::Task<void> look_up_client();
  loop::Task<void> greet();
  loop::Task<void> converse();
  // The next command line, or nothing when the session has ended.
  [[nodiscard]] loop::Task<std::optional<std::string>> read_command();
  loop::Task<void> handle(std::string_view line);
  [[nodiscard]] loop::Task<bool> send(const mail::Reply& reply);
  [[nodiscard]] loop::Task<bool> flush();
  loop::Task<void> refuse(mail::Reply reply);
  void end_by(loop::Io io);
  void log_end();
  [[nodiscard]] loop::Deadline deadline() const;

  // ---- commands/
  loop::Task<mail::Reply> helo_command(const smtpwire::CommandLine& command);
  loop::Task<mail::Reply> mail_command(const smtpwire::CommandLine& command);
  loop::Task<mail::Reply> rcpt_command(const smtpwire::CommandLine& command);
  loop::Task<mail::Reply> data_command(const smtpwire::CommandLine& command);
  loop::Task<mail::Reply> bdat_command(const smtpwire::CommandLine& command);
  loop::Task<mail::Reply> vrfy_command(const smtpwire::CommandLine& command);
  mail::Reply reset_command(const smtpwire::CommandLine& command);
  [[nodiscard]] mail::Reply ehlo_reply() const;
  void begin_transaction();
  [[nodiscard]] loop::Task<bool> read_data(smtpwire::DotDecoder& decoder);
  [[nodiscard]] loop::Task<bool> read_chunk(std::uint64_t size, bool skip);
  [[nodiscard]] loop::Task<mail::Reply> finish_message();
  [[nodiscard]] std::optional<mail::Reply> content_fault(bool bare_lf, bool too_big) const;
  void reset();
  [[nodiscard]] smtpwire::Extensions extensions() const;
  [[nodiscard]] smtpwire::DecodeRules decode_rules() const;
  [[nodiscard]] bool is_bare_newline_excused() const;
  // Between a first chunk and the last one only BDAT, RSET and QUIT are in order.
  [[nodiscard]] bool in_bdat() const { return has_chunks_ || chunk_failed_; }
  [[nodiscard]] loop::Task<std::optional<mail::Reply>> check(Stage stage);
  void log_reject(const mail::Reply& reply, std::string_view where, std::string_view recipient = {},
                  bool has_recipient = false);

  struct Count {
    unsigned total = 0;
    unsigned failed = 0;
  };

  Server& server_;
  SettingsPtr settings_;
  loop::Stream stream_;
  sys::SocketAddress peer_;
  std::int64_t number_;
  smtpwire::LineSplitter splitter_;

  std::string client_name_ = "unknown";
  std::string reverse_name_ = "unknown";
  std::string client_address_;
  std::optional<config::IpAddress> ip_;
  std::string helo_;
  std::string protocol_ = "SMTP";
  std::optional<std::string> sender_;
  std::optional<smtpwire::MailArguments> mail_arguments_;
  std::optional<Transaction> transaction_;
  std::string recipient_in_check_;
  bool hold_ = false;
  std::unique_ptr<smtpwire::ChunkDecoder> chunks_;
  bool has_chunks_ = false;
  bool chunk_failed_ = false;  // chunks are thrown away until the last one
  bool bdat_too_big_ = false;

  unsigned errors_ = 0;
  unsigned junk_commands_ = 0;
  unsigned refused_recipients_ = 0;
  bool closing_ = false;
  bool draining_ = false;
  bool waiting_for_command_ = false;
  std::optional<End> end_;
  std::string where_ = "CONNECT";   // for "lost connection after"
  std::array<Count, 20> counts_{};  // by Verb
  friend class RestrictionRun;
};

}  // namespace postern::smtpd
