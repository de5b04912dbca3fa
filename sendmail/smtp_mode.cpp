#include "sendmail/smtp_mode.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <optional>

#include "common/config/login_senders.h"
#include "common/config/params/address.h"
#include "common/config/params/cleanup.h"
#include "common/config/params/paths.h"
#include "common/config/params/smtpd.h"
#include "common/mail/received.h"
#include "common/queuefile/queue_id.h"
#include "common/queuefile/writer.h"
#include "common/smtpwire/chunk.h"
#include "common/smtpwire/command.h"
#include "common/smtpwire/dot.h"
#include "common/smtpwire/line.h"
#include "sendmail/submit.h"

namespace postern::sendmail {

namespace {

using smtpwire::Verb;

class Conversation {
 public:
  Conversation(const config::Values& values, std::string config_directory)
      : values_(values),
        config_directory_(std::move(config_directory)),
        smtpd_(config::load<config::SmtpdParams>(values, problems_)),
        address_(config::load<config::AddressParams>(values, problems_)),
        cleanup_(config::load<config::CleanupParams>(values, problems_)),
        paths_(config::load<config::PathsParams>(values, problems_)),
        mail_name_(values.text("mail_name")),
        splitter_(static_cast<std::size_t>(cleanup_.line_length_limit)) {}

  int run() {
    say(mail::make_reply(220, smtpd_.smtpd_banner));
    while (!closing_) {
      const auto line = read_line();
      if (!line) break;
      answer(*line);
    }
    return 0;
  }

 private:
  bool fill() {
    std::array<char, 65536> piece;
    const ssize_t count = ::read(STDIN_FILENO, piece.data(), piece.size());
    if (count <= 0) return false;
    input_.append(piece.data(), static_cast<std::size_t>(count));
    return true;
  }

  std::optional<std::string> read_line() {
    for (;;) {
      const auto line = splitter_.next(input_);
      if (line.state != smtpwire::Line::State::kMore) {
        std::string text(line.text);
        input_.erase(0, line.consumed);
        return text;
      }
      input_.erase(0, line.consumed);
      if (!fill()) return std::nullopt;
    }
  }

  void say(const mail::Reply& reply) {
    if (!queuefile::write_all(STDOUT_FILENO, reply.to_wire())) closing_ = true;
  }

  void answer(std::string_view line) {
    const auto command = smtpwire::split_command(line);
    switch (command.verb) {
      case Verb::kHelo:
      case Verb::kEhlo:
        return hello(command);
      case Verb::kMail:
        return mail(command);
      case Verb::kRcpt:
        return recipient(command);
      case Verb::kData:
        return data();
      case Verb::kRset:
        reset();
        return say(mail::make_reply(250, "2.0.0 Ok"));
      case Verb::kNoop:
        return say(mail::make_reply(250, "2.0.0 Ok"));
      case Verb::kVrfy:
        return say(mail::make_reply(252, {2, 0, 0}, std::string(command.argument)));
      case Verb::kQuit:
        closing_ = true;
        return say(mail::make_reply(221, "2.0.0 Bye"));
      default:
        return say(smtpwire::reply_unknown_command());
    }
  }

  void hello(const smtpwire::CommandLine& command) {
    auto name = smtpwire::parse_helo(command.verb, command.argument);
    if (!name) return say(name.error());
    reset();
    helo_ = *std::move(name);
    is_extended_ = command.verb == Verb::kEhlo;
    mail::Reply reply;
    reply.lines.push_back(address_.myhostname);
    if (is_extended_) {
      for (const auto* keyword : {"PIPELINING", "VRFY", "ENHANCEDSTATUSCODES", "8BITMIME", "DSN"}) {
        reply.lines.emplace_back(keyword);
      }
      reply.lines.insert(reply.lines.begin() + 2,
                         fmt::format("SIZE {}", cleanup_.message_size_limit));
    }
    say(reply);
  }

  void mail(const smtpwire::CommandLine& command) {
    if (sender_) return say(mail::make_reply(503, "5.5.1 Error: nested MAIL command"));
    auto parsed = smtpwire::parse_mail(command.argument, {});
    if (!parsed) return say(parsed.error());
    const auto may_send = config::may_send_as(values_, parsed->sender.address);
    if (!may_send) return say(mail::make_reply(451, "4.3.0 Temporary lookup failure"));
    if (!*may_send) return say(mail::make_reply(553, "5.7.1 Sender address rejected: not yours"));
    sender_ = *std::move(parsed);
    say(mail::make_reply(250, "2.1.0 Ok"));
  }

  void recipient(const smtpwire::CommandLine& command) {
    if (!sender_) return say(mail::make_reply(503, "5.5.1 Error: need MAIL command"));
    const auto parsed = smtpwire::parse_rcpt(command.argument, {});
    if (!parsed) return say(parsed.error());
    if (recipients_.size() >= static_cast<std::size_t>(smtpd_.smtpd_recipient_limit)) {
      return say(mail::make_reply(452, "4.5.3 Error: too many recipients"));
    }
    auto& to = recipients_.emplace_back();
    to.address = parsed->recipient.address;
    to.notify = parsed->notify;
    if (!parsed->orcpt_type.empty())
      to.dsn_orcpt = parsed->orcpt_type + ";" + parsed->orcpt_address;
    say(mail::make_reply(250, "2.1.5 Ok"));
  }

  void data() {
    if (!sender_) return say(mail::make_reply(503, "5.5.1 Error: need RCPT command"));
    if (recipients_.empty()) return say(mail::make_reply(554, "5.5.1 Error: no valid recipients"));
    say(mail::make_reply(354, "End data with <CR><LF>.<CR><LF>"));
    smtpwire::DotDecoder decoder({.bare_lf = smtpwire::BareLf::kAllow});
    std::string content = trace();
    const auto limit = static_cast<std::size_t>(cleanup_.message_size_limit);
    bool too_big = false;
    while (!decoder.done()) {
      if (input_.empty() && !fill()) {
        closing_ = true;
        return;
      }
      std::string piece;
      input_.erase(0, decoder.decode(input_, piece));
      too_big = too_big || (limit > 0 && content.size() + piece.size() > limit);
      if (!too_big) content += piece;
    }
    say(too_big ? mail::make_reply(552, "5.3.4 Error: message file too big") : submit(content));
    reset();
  }

  std::string trace() {
    const auto now = std::chrono::system_clock::now();
    mail::ReceivedTrace trace;
    trace.helo = helo_;
    trace.client_name = "localhost";
    trace.client_address = "127.0.0.1";
    trace.myhostname = address_.myhostname;
    trace.mail_name = mail_name_;
    trace.protocol = is_extended_ ? "ESMTP" : "SMTP";
    trace.queue_id = ids_.next(
        std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count(),
        queuefile::IdForm::kShort);
    if (recipients_.size() == 1) trace.recipient = recipients_.front().address;
    trace.arrival = now;
    return mail::format_received(trace) + "\n";
  }

  mail::Reply submit(std::string_view content) {
    queuefile::Envelope envelope;
    envelope.sender = sender_->sender.address;
    envelope.recipients = recipients_;
    envelope.dsn_envid = sender_->envid;
    const auto id = [&]() -> Result<std::string> {
      TRY(Drop drop, Drop::start(paths_.command_directory, config_directory_));
      DO(drop.envelope(envelope));
      while (!content.empty()) {
        const auto piece = content.substr(0, std::size_t{1} << 20);
        DO(drop.content(piece));
        content.remove_prefix(piece.size());
      }
      return drop.finish();
    }();
    if (!id) return mail::make_reply(451, "4.3.0 Error: queue file write error");
    return mail::make_reply(250, fmt::format("2.0.0 Ok: queued as {}", *id));
  }

  void reset() {
    sender_.reset();
    recipients_.clear();
  }

  const config::Values& values_;
  config::Problems problems_;
  std::string config_directory_;
  config::SmtpdParams smtpd_;
  config::AddressParams address_;
  config::CleanupParams cleanup_;
  config::PathsParams paths_;
  std::string mail_name_;
  smtpwire::LineSplitter splitter_;
  queuefile::QueueIdSource ids_{static_cast<unsigned>(::getpid()) % queuefile::kIdSlots};
  std::string input_;
  std::string helo_;
  bool is_extended_ = false;
  std::optional<smtpwire::MailArguments> sender_;
  std::vector<queuefile::Recipient> recipients_;
  bool closing_ = false;
};

}  // namespace

int run_smtp(const config::Values& values, const std::string& config_directory) {
  return Conversation(values, config_directory).run();
}

}  // namespace postern::sendmail
