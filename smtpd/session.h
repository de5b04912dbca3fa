// session.h - one client, from greeting to goodbye.
//
//     greeting -> HELO/EHLO -> MAIL -> RCPT... -> DATA or BDAT... -> MAIL ... -> QUIT
//
// Replies to pipelined commands leave together: output is flushed when no whole command waits in
// the input. A session that waits for its client holds this object, two coroutine frames and no
// buffer.

#pragma once

#include <array>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/ipc/resolver.h"
#include "common/ipc/tables.h"
#include "common/loop/stream.h"
#include "common/mail/reply.h"
#include "common/smtpwire/chunk.h"
#include "common/smtpwire/command.h"
#include "common/smtpwire/dot.h"
#include "common/smtpwire/line.h"
#include "common/smtpwire/proxy_header.h"
#include "common/sys/socket.h"
#include "smtpd/milters.h"
#include "smtpd/proxy_filter.h"
#include "smtpd/restrictions/state.h"
#include "smtpd/server.h"
#include "smtpd/settings.h"
#include "smtpd/transaction.h"

namespace postern::smtpd {

// What few sessions have, behind one pointer: the many that wait do not pay for it.
struct SessionExtras {
  // XFORWARD: the client that our client speaks for, until the end of the transaction.
  bool has_forward = false;
  queuefile::Client forward;
  std::string forward_id;      // IDENT: the queue id there
  std::string forward_domain;  // SOURCE: "local" or "remote"
  // XCLIENT and the proxy protocol.
  std::optional<bool> is_local_client;  // what the real client was
  std::string port;
  // AUTH, or XCLIENT's word for it.
  std::string login;
  std::string login_method;
  std::string login_sender;                // AUTH= of MAIL, as it came
  std::optional<std::string> tried_login;  // who failed last, where it is known
  std::string server_address;
  std::string server_port;
};

class Session {
 public:
  Session(Server& server, SettingsPtr settings, sys::Accepted client, std::int64_t number);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Comes from first contact, perhaps with a proxy's word for who it is; before run().
  void introduce(const std::optional<smtpwire::ProxyHeader>& proxied);
  loop::Task<void> run();
  // Ends at the next command, with 421.
  void drain();
  // How little is lost when this session ends; who has waited longest of the lowest kind goes
  // first.
  enum class Use : unsigned char { kIdle, kInTransaction, kNeeded };
  [[nodiscard]] Use use() const;
  // Since when its client owes a command; for use() below kNeeded.
  [[nodiscard]] loop::TimePoint waiting_since() const { return waiting_since_; }
  // Ends it now, with 421. Precondition: use() is not kNeeded.
  void make_room();

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
  [[nodiscard]] std::string client_port() const;
  [[nodiscard]] const std::string& sasl_username() const;
  [[nodiscard]] const std::string& sasl_method() const;
  [[nodiscard]] const std::string& sasl_sender() const;
  [[nodiscard]] bool is_authenticated() const { return !sasl_username().empty(); }
  // The client sent more before it could have our answer, where no pipelining is allowed: the
  // command is the last of its group (RFC 2920 3.1), or no EHLO has offered it.
  [[nodiscard]] bool has_early_input() const { return has_early_input_; }
  // client_lists.cpp: whether a list has the client's address; a table that fails says no.
  [[nodiscard]] loop::Task<bool> is_client_in(const config::Networks& networks);
  enum class Listed : unsigned char { kNo, kYes, kUnknown };  // kUnknown: a table has failed
  [[nodiscard]] Listed in_mynetworks() const { return in_mynetworks_; }
  [[nodiscard]] bool is_in_mynetworks() const { return in_mynetworks_ == Listed::kYes; }
  [[nodiscard]] std::int64_t number() const { return number_; }
  [[nodiscard]] loop::Task<bool> is_local_client();
  [[nodiscard]] loop::Task<bool> has_listed_certificate();  // relay_clientcerts
  [[nodiscard]] const std::string& reverse_name() const { return reverse_name_; }
  [[nodiscard]] ipc::resolver::Status name_status() const { return name_status_; }
  [[nodiscard]] ipc::resolver::Status reverse_status() const { return reverse_status_; }
  [[nodiscard]] bool is_encrypted() const { return tls_ != nullptr; }
  // What the handshake found; empty in the clear.
  [[nodiscard]] const tls::Session& tls() const;
  [[nodiscard]] bool has_certificate() const;  // of the client's, whatever it is worth
  [[nodiscard]] bool has_trusted_certificate() const;
  // Of the certificate, then of its key (smtpd_tls_fingerprint_digest); none without one.
  [[nodiscard]] std::vector<std::string> certificate_fingerprints() const;
  [[nodiscard]] const loop::Stream& stream() const { return stream_; }
  // What restrictions have left behind for the message and for later commands.
  [[nodiscard]] RestrictionState& restriction_state();
  [[nodiscard]] bool has_restriction_state() const { return restriction_state_ != nullptr; }
  [[nodiscard]] const MessageActions& actions() const;

 private:
  enum class End : unsigned char { kQuit, kLost, kTimeout, kDropped };

  // ---- session.cpp
  loop::Task<void> converse();
  loop::Task<void> handle(std::string_view line);
  [[nodiscard]] loop::Task<std::optional<mail::Reply>> execute(
      const smtpwire::CommandLine& command);
  // Counts the errors, makes those wait who make many, and sends it.
  // `verb` is what the disconnect line counts it as.
  loop::Task<void> answer(const mail::Reply& reply, std::optional<smtpwire::Verb> verb);
  [[nodiscard]] SessionExtras& extras();

  // ---- admission.cpp
  // proxy.cpp: who the proxy in front of us speaks for; false when it does not say so.
  [[nodiscard]] loop::Task<bool> learn_from_proxy();
  void take_client_of(const smtpwire::ProxyHeader& header);
  loop::Task<void> look_up_client();
  // client_lists.cpp
  [[nodiscard]] loop::Task<Listed> find_client_in(const config::Networks& networks);
  loop::Task<void> look_up_client_lists();
  // The limits per client; a refusal where one is exceeded.
  [[nodiscard]] loop::Task<std::optional<mail::Reply>> admit();
  [[nodiscard]] loop::Task<std::optional<mail::Reply>> count(ipc::anvil::Event event);
  // A login failed, or a command was refused: too many of them ban the client.
  void note_offence(ipc::anvil::OffenceKind kind);
  [[nodiscard]] loop::Task<mail::Reply> greeting();
  [[nodiscard]] std::optional<mail::Reply> greeting_of_refused(const mail::Reply& refusal) const;

  // ---- session_wire.cpp
  // Until when the client must have sent something, or under smtpd_per_request_deadline all of it.
  class ReadDeadline {
   public:
    explicit ReadDeadline(const Settings& settings);
    [[nodiscard]] loop::Deadline next() const;
    // Content that comes at smtpd_min_data_rate or faster is given its time.
    void received(std::size_t bytes);

   private:
    const Settings& settings_;
    loop::Deadline until_;
  };

  // The next command line, or nothing when the session has ended. The text of one that is too long
  // is no command; *is_too_long says so.
  [[nodiscard]] loop::Task<std::optional<std::string>> read_command(bool* is_too_long = nullptr);
  [[nodiscard]] loop::Task<bool> send(const mail::Reply& reply);
  // restrictions/reject_reply.cpp: smtpd_reject_filter_maps, smtpd_reject_footer and its maps.
  [[nodiscard]] bool has_reject_text() const;
  [[nodiscard]] loop::Task<mail::Reply> with_reject_text(mail::Reply reply);
  [[nodiscard]] loop::Task<bool> flush();
  loop::Task<void> refuse(mail::Reply reply);
  void end_by(loop::Io io);
  [[nodiscard]] loop::Deadline deadline() const;

  // ---- session_log.cpp
  void log_reply(const mail::Reply& reply) const;
  // The refusal that comes is that of an address nobody has: had it been taken, there would be a
  // bounce (notify_classes).
  void note_undeliverable() { is_undeliverable_ = true; }
  void log_end();
  // transcript.cpp
  void record_command(std::string_view line, bool is_secret);
  void record_reply(const mail::Reply& reply);
  void finish_transcript(std::size_t threshold, std::string_view reason);

  // ---- commands/guards.cpp
  void note_early_input(smtpwire::Verb verb);
  [[nodiscard]] loop::Task<bool> is_forbidden(std::string_view line, std::string name);
  // smtpd_command_filter; nothing when the session has to end.
  [[nodiscard]] loop::Task<std::optional<std::string>> filter_command(std::string line);
  [[nodiscard]] bool discards(EhloKeywords keyword) const {
    return (discarded_keywords_ & keyword) != 0;
  }

  // ---- commands/
  loop::Task<mail::Reply> helo_command(const smtpwire::CommandLine& command);
  loop::Task<mail::Reply> mail_command(const smtpwire::CommandLine& command);
  loop::Task<mail::Reply> rcpt_command(const smtpwire::CommandLine& command);
  loop::Task<mail::Reply> data_command(const smtpwire::CommandLine& command);
  loop::Task<mail::Reply> bdat_command(const smtpwire::CommandLine& command);
  loop::Task<mail::Reply> vrfy_command(const smtpwire::CommandLine& command);
  loop::Task<mail::Reply> auth_command(const smtpwire::CommandLine& command);
  [[nodiscard]] loop::Task<mail::Reply> log_in(smtpwire::AuthArguments arguments);
  [[nodiscard]] loop::Task<LoginStep> first_login_step(LoginExchange& exchange,
                                                       const smtpwire::AuthArguments& arguments);
  [[nodiscard]] mail::Reply login_failed(const std::string& mechanism, LoginStep step);
  [[nodiscard]] bool may_log_in() const;
  [[nodiscard]] loop::Task<Result<std::vector<sasl::Mechanism>>> login_mechanisms();
  // Those of them that EHLO shows.
  [[nodiscard]] loop::Task<Result<std::vector<sasl::Mechanism>>> announced_mechanisms();
  loop::Task<void> offer_login(mail::Reply& reply);
  // What a client was before TLS counts for nothing behind it (RFC 3207 4.2).
  void forget_login();
  loop::Task<mail::Reply> etrn_command(const smtpwire::CommandLine& command);
  loop::Task<mail::Reply> xclient_command(const smtpwire::CommandLine& command);
  loop::Task<mail::Reply> xforward_command(const smtpwire::CommandLine& command);
  void forget_client();
  // commands/starttls.cpp
  // Nothing when the client has its answer already.
  loop::Task<std::optional<mail::Reply>> starttls_command(const smtpwire::CommandLine& command);
  // The handshake; false when the session has ended, and the log says why.
  [[nodiscard]] loop::Task<bool> start_tls();
  // smtpd_tls_wrappermode; false when the session has ended.
  [[nodiscard]] loop::Task<bool> wrap();
  // The same for smtpd_client_new_tls_session_rate_limit; a refusal where it is exceeded.
  [[nodiscard]] loop::Task<std::optional<mail::Reply>> count_wrapped();
  [[nodiscard]] bool offers_tls() const;
  // RFC 8689 2: only what came in secret can go on so. A proxy filter would not know of it.
  [[nodiscard]] bool offers_require_tls() const {
    return is_encrypted() && settings_->tls.has_require_tls && !has_proxy_filter();
  }
  [[nodiscard]] bool is_tls_due(smtpwire::Verb verb) const;
  [[nodiscard]] bool is_certificate_enough() const;
  void set_tls_macros();
  [[nodiscard]] std::vector<std::string> tls_trace() const;
  [[nodiscard]] std::string tls_peer_trace() const;
  mail::Reply reset_command(const smtpwire::CommandLine& command);
  [[nodiscard]] loop::Task<std::optional<mail::Reply>> choose_keywords();
  [[nodiscard]] loop::Task<mail::Reply> ehlo_reply();
  [[nodiscard]] bool has_recipients() const {
    return transaction_ != nullptr && transaction_->recipients() > 0;
  }
  void begin_transaction(bool is_local);
  // ipc::mailauth::Wanted, by who the client is.
  [[nodiscard]] std::int64_t wanted_authentication() const;
  [[nodiscard]] loop::Task<bool> read_data(smtpwire::DotDecoder& decoder);
  [[nodiscard]] loop::Task<bool> read_chunk(std::uint64_t size, bool skip);
  void drop_chunks(bool was_last);
  [[nodiscard]] loop::Task<mail::Reply> finish_message();
  [[nodiscard]] loop::Task<mail::Reply> explain_end_of_data();
  // A message was taken: what the client did wrong before it does not count any more.
  void forgive_errors();
  [[nodiscard]] std::optional<mail::Reply> content_fault(bool bare_lf, bool too_big) const;
  void reset();
  [[nodiscard]] smtpwire::Extensions extensions() const;
  [[nodiscard]] std::optional<mail::Reply> undeclared_utf8(std::string_view address,
                                                           bool is_declared) const;
  [[nodiscard]] smtpwire::DecodeRules decode_rules() const;
  // Between a first chunk and the last one only BDAT, RSET and QUIT are in order.
  [[nodiscard]] bool in_bdat() const { return has_chunks_ || chunk_failed_; }
  [[nodiscard]] loop::Task<std::optional<mail::Reply>> check(Stage stage);

  // ---- sender_quota.cpp: smtpd_sender_quota and its maps
  struct QuotaOf {
    std::string sender;  // as anvil counts it; empty: nobody who has a quota
    SenderQuota quota;
  };
  [[nodiscard]] bool may_have_quota() const;
  // Counts a recipient that restrictions have accepted; the refusal where there is one.
  [[nodiscard]] loop::Task<std::optional<mail::Reply>> check_sender_quota();
  [[nodiscard]] loop::Task<std::expected<QuotaOf, mail::Reply>> find_sender_quota();

  // ---- proxy_filter.cpp: smtpd_proxy_filter
  [[nodiscard]] bool has_proxy_filter() const;
  [[nodiscard]] loop::Task<std::optional<mail::Reply>> open_proxy();
  [[nodiscard]] loop::Task<std::optional<mail::Reply>> proxy_recipient(std::string address);
  [[nodiscard]] loop::Task<std::optional<mail::Reply>> ask_proxy(std::string command,
                                                                 int wanted = 2);
  [[nodiscard]] loop::Task<std::optional<mail::Reply>> begin_proxy_content();
  [[nodiscard]] loop::Task<mail::Reply> finish_proxy_content();
  [[nodiscard]] loop::Task<bool> add_content(std::string content);
  [[nodiscard]] std::uint64_t content_size() const;

  // ---- milters.cpp
  loop::Task<void> start_milters();
  // One event; the refusal, logged, where one of them refuses.
  [[nodiscard]] loop::Task<std::optional<mail::Reply>> ask_milters(char command,
                                                                   std::string payload,
                                                                   std::string_view where,
                                                                   std::string recipient = {});
  [[nodiscard]] loop::Task<std::optional<mail::Reply>> milter_connect();
  [[nodiscard]] loop::Task<std::optional<mail::Reply>> milter_helo(std::string_view where);
  [[nodiscard]] loop::Task<std::optional<mail::Reply>> milter_mail(std::string argument);
  [[nodiscard]] loop::Task<std::optional<mail::Reply>> milter_rcpt(std::string argument,
                                                                   std::string address);
  loop::Task<void> milter_rejected_rcpt(std::string argument, const mail::Reply& reply);
  [[nodiscard]] loop::Task<std::optional<mail::Reply>> milter_data(std::string_view where);
  loop::Task<void> set_milter_address(std::string which, std::string address);
  [[nodiscard]] static std::string milter_arguments(std::string_view argument);
  // Content begins: cleanup goes on with them.
  loop::Task<void> hand_over_milters();

  void warn_of_address(std::string_view argument, const mail::Reply& refusal) const;
  // For limits, bans and what the postmaster is told.
  void note_rejection(const mail::Reply& reply);
  void log_reject(const mail::Reply& reply, std::string_view where, std::string_view recipient = {},
                  bool has_recipient = false, std::string_view action = "reject");
  void log_action(std::string_view action, std::string_view said, std::string_view where,
                  std::string_view recipient, bool has_recipient,
                  std::string_view sasl_username = {});

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
  // Large, and not there while a session waits for mail.
  std::unique_ptr<smtpwire::MailArguments> mail_arguments_;
  std::unique_ptr<Transaction> transaction_;
  std::string recipient_in_check_;
  ipc::resolver::Status name_status_ = ipc::resolver::Status::kFound;
  ipc::resolver::Status reverse_status_ = ipc::resolver::Status::kFound;
  std::unique_ptr<RestrictionState> restriction_state_;
  bool is_client_refused_ = false;  // with smtpd_delay_reject = no
  std::unique_ptr<smtpwire::ChunkDecoder> chunks_;
  bool has_chunks_ = false;
  bool chunk_failed_ = false;  // chunks are thrown away until the last one
  bool bdat_too_big_ = false;

  EhloKeywords discarded_keywords_ = 0;
  std::unique_ptr<SessionExtras> extras_;
  std::shared_ptr<const tls::Session> tls_;  // shared: see TlsService::describe()
  std::unique_ptr<SessionMilters> milters_;
  std::unique_ptr<ProxyFilter> proxy_;
  std::unique_ptr<Transcript> transcript_;
  std::uint64_t proxied_size_ = 0;
  bool proxy_content_failed_ = false;
  std::optional<mail::Reply> proxy_refusal_;  // that waits for the end of the content
  ClientEntry* limits_ = nullptr;             // of a client that limits apply to
  unsigned errors_ = 0;
  unsigned junk_commands_ = 0;
  bool is_error_excused_ = false;  // this refusal is no error of the client's
  unsigned refused_recipients_ = 0;
  bool closing_ = false;
  bool draining_ = false;
  bool waiting_for_command_ = false;
  bool makes_room_ = false;
  loop::TimePoint waiting_since_;
  bool has_early_input_ = false;
  Listed in_mynetworks_ = Listed::kNo;
  bool is_bare_newline_excused_ = false;
  bool may_xverp_ = false;
  bool is_introduced_ = false;
  Troubles troubles_ = 0;            // that are not told yet
  bool is_trouble_noted_ = false;    // of this command
  bool is_junk_ = false;             // this command (smtpd_junk_command_limit)
  bool is_undeliverable_ = false;    // as is said of this command's address
  bool is_dialogue_logged_ = false;  // debug_peer_list, or -v
  std::optional<End> end_;
  std::string where_ = "CONNECT";   // for "lost connection after"
  std::array<Count, 20> counts_{};  // by Verb
  friend class RestrictionRun;
};

}  // namespace postern::smtpd
