// intake.h - one message from its envelope to the committed queue file.
//
// The recipients are asked for as soon as the envelope is there, while content still arrives. The
// header is held until it is whole (bounded), the body goes to the file as it comes. A message of
// up to 64 KiB is one buffer, one write, one flush.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "cleanup/commit.h"
#include "cleanup/content_checks.h"
#include "cleanup/header_pass.h"
#include "cleanup/milters.h"
#include "cleanup/rewriting.h"
#include "common/ipc/cleanup.h"
#include "common/ipc/client.h"
#include "common/ipc/mailauth.h"
#include "common/ipc/tables_client.h"
#include "common/loop/batch_pool.h"
#include "common/loop/worker_pool.h"
#include "common/mail/header.h"
#include "common/queuefile/envelope.h"
#include "common/queuefile/queue_id.h"
#include "common/queuefile/writer.h"

namespace postern::cleanup {

// Where mailauth is not there to answer.
struct AuthenticationSettings {
  std::string authserv_id;
  bool defers_without = false;  // mailauth_default_action = tempfail
  std::chrono::seconds time_limit{60};
  bool signs_local = false;  // dkim_sign_enable, and dkim_sign_clients has `local`
};

struct Settings {
  HeaderRules header;
  std::uint64_t message_size_limit = 0;  // 0 is no limit
  std::uint64_t queue_minfree = 0;
  unsigned hopcount_limit = 50;
  bool replaces_stray_cr = true;  // cleanup_replace_stray_cr_lf
  std::string non_empty_end_of_header_action = "fix_quietly";
  std::size_t duplicate_filter_limit = 1000;  // 0 is no limit
  bool enable_original_recipient = true;
  bool enable_long_queue_ids = false;
  bool has_sender_maps = false;  // canonical_maps and kin, masquerade_domains, sender_bcc_maps
  bool has_header_maps = false;  // canonical_maps and kin, masquerade_domains
  std::string always_bcc;
  CheckSettings checks;
  bool filters_bounces = false;  // internal_mail_filter_classes
  bool detects_8bit = true;      // detect_8bit_encoding_header
  bool tls_required_enable = true;
  bool requiretls_esmtp_header = true;
  std::vector<std::string> smtputf8_autodetect_classes;  // none where smtputf8_enable is off
  milter::ListSettings non_smtpd_milters;
  AuthenticationSettings authentication;
  std::string srs_domain;  // empty without srs_enable
  std::vector<std::string> batv_domains;
  std::string service;  // set if the line of master.cf has -o values
  std::string mail_name;
  std::string myorigin;
};

// What all messages share. Owned by the service.
struct Room {
  Settings settings;
  queuefile::QueueDirs dirs;
  queuefile::QueueIdSource ids;
  ipc::TablesClient tables;
  ipc::Client qmgr{"public/qmgr"};
  ipc::Client broker{"private/broker"};
  ipc::Client mailauth{"private/mailauth"};
  ipc::Client keyring{"private/keyring"};
  loop::WorkerPool pool;    // pieces of large messages
  loop::BatchPool commits;  // the last piece, and the flush
};

class Intake final : MilterSubject {
 public:
  Intake(Room& room, std::string queue_id) : room_(room), queue_id_(std::move(queue_id)) {}

  // Reads the envelope run and resolves its recipients; what is wrong is kept for finish().
  [[nodiscard]] loop::Task<void> open(std::string envelope);
  // Content in any pieces. Waits for the disk when much of it is unwritten.
  [[nodiscard]] loop::Task<void> add(std::string content);
  // Header fields to stand above all others, each with its line end.
  void prepend(std::string fields) { prepend_ = std::move(fields); }
  // receive_override_options of who took the message in: none for what begins here, notices and
  // forwarded mail. Before open().
  void override_with(std::int64_t bits) { overrides_ = bits; }
  // The milters that smtpd has begun to talk to. Before open().
  void adopt(ipc::milter::Handover handover, std::vector<sys::Fd> fds);
  // Commits, tells qmgr. The message is ours when the outcome says is_accepted.
  [[nodiscard]] loop::Task<ipc::cleanup::Outcome> finish(bool is_hold, ipc::cleanup::End end = {});

  [[nodiscard]] const std::string& queue_id() const { return queue_id_; }

 private:
  [[nodiscard]] ipc::cleanup::Outcome refuse(int code, std::string_view status,
                                             std::string_view text) const;
  void fail_with(int code, std::string_view status, std::string_view text, bool is_logged = false);
  // The header is whole, and is checked.
  [[nodiscard]] loop::Task<void> begin_body();
  [[nodiscard]] loop::Task<void> take_body(std::string body);
  // detect_8bit_encoding_header
  void note_encoding(const mail::HeaderField& field);
  // message_reject_characters, message_strip_characters
  void filter_characters(std::string& content);
  void append_body(std::string body);
  // Failures of checks and their verdict, as the message's.
  [[nodiscard]] bool is_unchecked(const Result<std::string>& checked);
  [[nodiscard]] bool is_checked() const;
  [[nodiscard]] bool is_from_outside() const;
  // force_mime_input_conversion
  [[nodiscard]] bool converts() const { return room_.settings.checks.mime.downgrade; }
  // For a server without 8BITMIME it will be converted.
  [[nodiscard]] bool is_8bit() const {
    return is_8bit_ || is_declared_8bit_ ||
           (!converts() && envelope_.encoding == queuefile::ContentEncoding::k8bit);
  }
  [[nodiscard]] std::string about() const;
  // A line for each recipient of mail that goes back to its sender.
  void log_refusal(std::string_view refusal) const;
  // Milters of mail that comes from no client.
  [[nodiscard]] loop::Task<void> begin_milters();
  // False: the message ends here, as `outcome` says.
  [[nodiscard]] loop::Task<bool> run_milters(std::string& header, bool& is_hold,
                                             ipc::cleanup::Outcome& outcome);
  [[nodiscard]] bool take_decision(const milter::Decision& decision, bool& is_hold,
                                   ipc::cleanup::Outcome& outcome,
                                   std::string_view where = "END-OF-MESSAGE");
  // ---- authentication.cpp: what mailauth has to say.
  [[nodiscard]] bool wants_verdicts() const;
  // Rewritten senders that are recipients now: bounces go where they belong.
  [[nodiscard]] loop::Task<Result<void>> restore_senders();
  void remove_tags();
  [[nodiscard]] bool keeps_body() const { return milters_ != nullptr || wanted_verdicts_ != 0; }
  void remove_forged_results();
  // The fields that it adds are above all others of `header`. False: the message ends here.
  [[nodiscard]] loop::Task<bool> authenticate(std::string& header, bool& is_hold,
                                              ipc::cleanup::Outcome& outcome);
  [[nodiscard]] loop::Task<Result<ipc::mailauth::Examined>> ask_mailauth();
  // The header and the body, or its descriptor in `fds`.
  [[nodiscard]] loop::Task<Result<ipc::mailauth::Content>> content_for_mailauth(
      std::string header, std::vector<sys::Fd>* fds);
  // Signatures and seals, above all other fields. False: the message ends here.
  [[nodiscard]] bool wants_signature() const;
  [[nodiscard]] loop::Task<bool> sign(std::string& header, ipc::cleanup::Outcome& outcome);
  [[nodiscard]] std::string results_without_verdict() const;
  void log_milter(std::string_view action, std::string_view text, std::string_view where) const;
  loop::Task<Result<std::string>> read_body(std::uint64_t offset, std::size_t size) override;
  void restart_body() override;
  loop::Task<void> add_body(std::string text) override;
  loop::Task<std::string> check_field(std::string field) override;
  void add_recipient(std::string address) override;
  void delete_recipient(const std::string& address) override;
  void change_sender(std::string address) override;
  [[nodiscard]] loop::Task<ipc::cleanup::Outcome> complete(bool is_hold, ipc::cleanup::End end);
  void log_id(const HeaderResult& header) const;
  // What SMTPUTF8 is needed for, and whether it was asked for (queuefile::SmtpUtf8).
  [[nodiscard]] std::uint8_t smtputf8_bits(std::string_view header) const;
  void judge();
  void judge_structure();
  [[nodiscard]] loop::Task<void> leave_header();
  // non_empty_end_of_header_action
  void judge_end_of_header();
  [[nodiscard]] loop::Task<void> write_due();
  [[nodiscard]] loop::Task<void> write_pending();
  [[nodiscard]] std::string trace() const;
  [[nodiscard]] RewriteOptions rewrite_options() const;
  [[nodiscard]] bool maps_addresses() const;
  // Envelope, header and BCC of the mail system's own messages are left alone.
  [[nodiscard]] bool is_internal() const;
  [[nodiscard]] std::string attribute(std::string_view name) const;
  void tell_qmgr() const;
  // What was decided after the content, as changes of the envelope.
  [[nodiscard]] loop::Task<Result<void>> amend(ipc::cleanup::End end,
                                               queuefile::Amendment& amendment);

  Room& room_;
  std::string queue_id_;
  std::int64_t overrides_ = 0;  // ipc::cleanup::Override
  queuefile::Envelope envelope_;
  std::size_t received_recipients_ = 0;
  std::string only_recipient_;
  std::string last_recipient_;  // rewritten
  std::string received_sender_;
  std::string received_header_;
  std::int64_t wanted_verdicts_ = 0;  // ipc::mailauth::Wanted
  ipc::mailauth::Chain arc_chain_;
  std::string prepend_;
  WallTime arrival_;
  ipc::cleanup::Outcome failure_;  // reply_code 0: none so far
  std::string head_;               // content until the header is whole
  mail::HeaderScanner scanner_{kMaxHeader};
  bool in_body_ = false;
  std::unique_ptr<ContentChecks> checks_;
  bool checks_body_ = false;
  std::unique_ptr<Milters> milters_;
  // The body again, as long as it is small: milters read it.
  std::string body_copy_;
  bool is_body_in_file_ = false;
  bool is_held_by_milter_ = false;
  std::optional<std::string> new_sender_;
  std::vector<std::string> more_recipients_;
  std::vector<queuefile::StateWrite> state_writes_;
  std::uint64_t content_size_ = 0;
  std::uint64_t size_ = 0;         // of the finished message
  bool is_8bit_ = false;           // characters beyond ASCII in the body
  bool is_declared_8bit_ = false;  // Content-Transfer-Encoding:
  bool has_parts_ = false;         // which may have an encoding of their own
  std::string converted_top_;      // mailauth::kConvertedTop
  std::unique_ptr<queuefile::Writer> writer_;
  std::unique_ptr<QueueFile> file_;

  // All fields together; one that has no end is refused, not held.
  static constexpr std::size_t kMaxHeader = std::size_t{2} << 20;
};

}  // namespace postern::cleanup
