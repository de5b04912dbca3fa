#include "sendmail/smtp_mode.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
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
#include "common/sys/process.h"
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
      if (errors_ >= smtpd_.smtpd_hard_error_limit && !closing_) {
        closing_ = true;
        say(mail::make_reply(421,
                             fmt::format("4.7.0 {} Error: too many errors", address_.myhostname)));
      }
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
    if (reply.code >= 400) ++errors_;
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
      case Verb::kBdat:
        return chunk(command);
      case Verb::kEtrn:
        return flush_site(command);
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
      // What only the server on the network has.
      case Verb::kStarttls:
        return say(command.argument.empty()
                       ? mail::make_reply(502, "5.5.1 Error: command not implemented")
                       : mail::make_reply(501, "5.5.4 Syntax: STARTTLS"));
      case Verb::kAuth:
        return say(mail::make_reply(503, "5.5.1 Error: authentication not enabled"));
      case Verb::kXclient:
      case Verb::kXforward:
        return say(mail::make_reply(550, "5.7.0 Error: insufficient authorization"));
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
      const std::string size = fmt::format("SIZE {}", cleanup_.message_size_limit);
      for (const std::string_view keyword :
           {"PIPELINING", size.c_str(), "VRFY", "ETRN", "ENHANCEDSTATUSCODES", "8BITMIME", "DSN",
            "SMTPUTF8", "CHUNKING"}) {
        if (keyword != "SMTPUTF8" || takes_utf8()) reply.lines.emplace_back(keyword);
      }
    }
    say(reply);
  }

  void mail(const smtpwire::CommandLine& command) {
    if (sender_) return say(mail::make_reply(503, "5.5.1 Error: nested MAIL command"));
    smtpwire::Extensions extensions;
    extensions.smtputf8 = takes_utf8();
    auto parsed = smtpwire::parse_mail(command.argument, extensions);
    if (!parsed) return say(parsed.error());
    const auto limit = static_cast<std::uint64_t>(cleanup_.message_size_limit);
    if (limit > 0 && parsed->size && *parsed->size > limit) {
      return say(mail::make_reply(552, "5.3.4 Message size exceeds fixed limit"));
    }
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

  // RFC 3030: the bytes come whatever the answer is.
  void chunk(const smtpwire::CommandLine& command) {
    const auto parsed = smtpwire::parse_bdat(command.argument);
    if (!parsed) return say(parsed.error());
    const bool is_wanted = sender_ && !recipients_.empty();
    if (is_wanted && !chunks_) {
      chunks_.emplace(smtpwire::DecodeRules{.bare_lf = smtpwire::BareLf::kAllow});
      content_ = trace();
    }
    const auto limit = static_cast<std::size_t>(cleanup_.message_size_limit);
    for (std::uint64_t left = parsed->size; left > 0;) {
      if (input_.empty() && !fill()) {
        closing_ = true;
        return;
      }
      const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(left, input_.size()));
      is_too_big_ = is_too_big_ || (limit > 0 && content_.size() + size > limit);
      if (is_wanted && !is_too_big_) {
        chunks_->decode(std::string_view(input_).substr(0, size), content_);
      }
      input_.erase(0, size);
      left -= size;
    }
    if (!sender_) return say(mail::make_reply(503, "5.5.1 Error: need RCPT command"));
    if (!is_wanted) return say(mail::make_reply(554, "5.5.1 Error: no valid recipients"));
    if (!parsed->last) {
      return say(mail::make_reply(250, fmt::format("2.0.0 Ok: {} bytes", parsed->size)));
    }
    chunks_->finish(content_);
    say(is_too_big_ ? mail::make_reply(552, "5.3.4 Error: message file too big")
                    : submit(content_));
    reset();
  }

  void flush_site(const smtpwire::CommandLine& command) {
    if (sender_) return say(mail::make_reply(503, "Error: MAIL transaction in progress"));
    auto site = smtpwire::parse_etrn(command.argument);
    if (!site) return say(site.error());
    if (site->starts_with('@') || site->starts_with('#')) site->erase(0, 1);
    sys::Launch launch;
    launch.path = paths_.command_directory + "/postqueue";
    launch.arguments = {"postqueue", "-c", config_directory_, "-s", *site};
    const auto child = sys::launch(launch);
    int status = -1;
    while (child && ::waitpid(*child, &status, 0) < 0 && errno == EINTR) {
    }
    const int code = child && WIFEXITED(status) ? WEXITSTATUS(status) : EX_TEMPFAIL;
    if (code == 0) return say(mail::make_reply(250, "Queuing started"));
    if (code == EX_UNAVAILABLE) {
      return say(mail::make_reply(459, fmt::format("<{}>: service unavailable", *site)));
    }
    say(mail::make_reply(458, "Unable to queue messages"));
  }

  [[nodiscard]] bool takes_utf8() const { return values_.flag("smtputf8_enable"); }

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
    if (sender_->ret == smtpwire::DsnReturn::kFull) envelope.dsn_ret = queuefile::DsnReturn::kFull;
    if (sender_->ret == smtpwire::DsnReturn::kHeaders) {
      envelope.dsn_ret = queuefile::DsnReturn::kHeaders;
    }
    if (sender_->body == smtpwire::BodyType::k8BitMime) {
      envelope.encoding = queuefile::ContentEncoding::k8bit;
    }
    if (sender_->smtputf8) envelope.smtputf8 = queuefile::kUtf8Requested;
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
    errors_ = 0;
    return mail::make_reply(250, fmt::format("2.0.0 Ok: queued as {}", *id));
  }

  void reset() {
    sender_.reset();
    recipients_.clear();
    chunks_.reset();
    content_.clear();
    is_too_big_ = false;
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
  // BDAT
  std::optional<smtpwire::ChunkDecoder> chunks_;
  std::string content_;
  bool is_too_big_ = false;
  int errors_ = 0;
  bool closing_ = false;
};

}  // namespace

int run_smtp(const config::Values& values, const std::string& config_directory) {
  return Conversation(values, config_directory).run();
}

}  // namespace postern::sendmail
