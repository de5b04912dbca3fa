// data.cpp - DATA (RFC 5321 4.1.1.4), and what it has in common with BDAT: content on to cleanup,
// and the answer that moves responsibility.

#include <fmt/format.h>

#include "common/log/log.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

// Cleanup may wait for tables (100 s) and for the disk.
constexpr std::chrono::seconds kCommitTime{600};

}  // namespace

smtpwire::DecodeRules Session::decode_rules() const {
  smtpwire::DecodeRules rules;
  const auto& params = settings_->smtpd;
  const bool is_excluded = is_bare_newline_excused_;
  if (!settings_->replaces_stray_cr) rules.bare_cr = smtpwire::BareCr::kKeep;
  if (params.smtpd_forbid_bare_newline == "no" || is_excluded) {
    rules.bare_lf = smtpwire::BareLf::kAllow;
  } else if (params.smtpd_forbid_bare_newline == "reject") {
    rules.bare_lf = smtpwire::BareLf::kReject;
  } else {
    rules.bare_lf = smtpwire::BareLf::kNormalize;
  }
  return rules;
}

loop::Task<mail::Reply> Session::data_command(const smtpwire::CommandLine& command) {
  if (in_bdat()) co_return mail::make_reply(503, "5.5.1 Error: DATA after BDAT");
  if (!has_recipients()) {
    if (!sender_) co_return mail::make_reply(503, "5.5.1 Error: need RCPT command");
    co_return mail::make_reply(554, "5.5.1 Error: no valid recipients");
  }
  if (const auto good = smtpwire::parse_no_argument(command.verb, command.argument); !good) {
    co_return good.error();
  }
  if (const auto refusal = co_await check(Stage::kData)) {
    log_reject(*refusal, "DATA", recipient_in_check_, !recipient_in_check_.empty());
    co_return *refusal;
  }
  if (server_.is_explaining()) co_return co_await explain_end_of_data();
  if (auto refusal = co_await milter_data("DATA")) co_return *refusal;
  if (has_proxy_filter()) {
    auto refusal = co_await begin_proxy_content();
    if (refusal && !settings_->proxy_filter.is_late) {
      reset();
      co_return *refusal;
    }
    // A filter that is asked late cannot refuse before the content has come.
    proxy_refusal_ = std::move(refusal);
  }
  if (!co_await send(mail::make_reply(354, "End data with <CR><LF>.<CR><LF>")) ||
      !co_await flush()) {
    closing_ = true;
    co_return mail::Reply{};
  }
  if (!has_proxy_filter()) {
    co_await hand_over_milters();
    transaction_->begin_content(neighbours().cleanup, number_, actions());
  }
  smtpwire::DotDecoder decoder(decode_rules());
  if (!co_await read_data(decoder)) co_return mail::Reply{};

  const bool too_big =
      settings_->message_size_limit > 0 && content_size() > settings_->message_size_limit;
  if (auto fault = content_fault(decoder.seen_bare_lf(), too_big)) {
    if (too_big) {
      log::warning("{}: queue file size limit exceeded",
                   transaction_->queue_id().empty() ? "NOQUEUE" : transaction_->queue_id());
    } else {
      log_reject(*fault, "END-OF-MESSAGE");
    }
    reset();
    co_return *fault;
  }
  if (has_proxy_filter()) co_return co_await finish_proxy_content();
  transaction_->set_lines(decoder.lines());
  co_return co_await finish_message();
}

// `postern explain` sends no content: the lists behind it are run at once.
loop::Task<mail::Reply> Session::explain_end_of_data() {
  const auto refusal = co_await check(Stage::kEndOfData);
  reset();
  if (refusal) co_return *refusal;
  co_return mail::make_reply(250, "2.0.0 Ok");
}

// Content up to its end. After a failure the rest is still read, and thrown away: the client waits
// for its answer until then. False when the client went away.
loop::Task<bool> Session::read_data(smtpwire::DotDecoder& decoder) {
  const std::uint64_t limit = settings_->message_size_limit;
  std::uint64_t size = 0;      // of the message
  std::uint64_t received = 0;  // of what the client sent for it
  bool failed = false;
  std::string content;
  ReadDeadline until(*settings_);
  for (;;) {
    if (!stream_.input().empty()) {
      content.clear();
      const std::size_t used = decoder.decode(stream_.input(), content);
      stream_.consume(used);
      received += used;
      until.received(used);
      size += content.size();
      if (limit > 0 && size > limit + 1) {
        // One byte more than allowed is enough to know.
        failed = failed || content_size() > limit;
      }
      if (!failed && !content.empty()) {
        const bool added = co_await add_content(content);
        if (!added) failed = true;
      }
    }
    if (decoder.done()) co_return true;
    const loop::Io io = co_await stream_.fill(until.next());
    if (io == loop::Io::kOk) continue;
    where_ = fmt::format("DATA ({} bytes)", received);
    ++counts_[static_cast<std::size_t>(smtpwire::Verb::kData)].failed;
    if (io == loop::Io::kTimeout) {
      end_ = End::kTimeout;
      co_await refuse(mail::make_reply(
          421, fmt::format("4.4.2 {} Error: timeout exceeded", settings_->address.myhostname)));
    } else {
      end_by(io);
    }
    co_return false;
  }
}

std::optional<mail::Reply> Session::content_fault(bool bare_lf, bool too_big) const {
  const auto& params = settings_->smtpd;
  if (too_big) return mail::make_reply(552, "5.3.4 Error: message file too big");
  if (bare_lf && params.smtpd_forbid_bare_newline == "reject" && !is_bare_newline_excused_) {
    return mail::make_reply(static_cast<int>(params.smtpd_forbid_bare_newline_reject_code),
                            "5.5.2 bare <LF> received");
  }
  return std::nullopt;
}

loop::Task<mail::Reply> Session::finish_message() {
  if (const auto refusal = co_await check(Stage::kEndOfData)) {
    log_reject(*refusal, "END-OF-MESSAGE", recipient_in_check_, !recipient_in_check_.empty());
    reset();
    co_return *refusal;
  }
  const std::uint64_t wire_size = transaction_->wire_size();
  auto end = transaction_->end_of_content(actions());
  if (milters_) {
    end.is_hold = end.is_hold || milters_->is_hold();
    end.is_discard = end.is_discard || milters_->is_discard();
  }
  const auto outcome =
      co_await transaction_->submission().finish(loop::Clock::now() + kCommitTime, std::move(end));
  if (milters_ && outcome && !milters_->is_discard()) milters_->content_done();
  mail::Reply reply;
  if (!outcome) {
    log::warning("{}: {}", transaction_->queue_id(), outcome.error().text);
    reply = mail::make_reply(451, "4.3.0 Error: queue file write error");
  } else if (outcome->is_accepted) {
    const std::string size = has_chunks_ ? fmt::format("{} bytes ", wire_size) : std::string();
    reply = mail::make_reply(250, fmt::format("2.0.0 Ok: {}queued as {}", size, outcome->queue_id));
    forgive_errors();
  } else {
    reply = mail::make_reply(static_cast<int>(outcome->reply_code),
                             fmt::format("{} {}", outcome->status, outcome->text));
    if (!outcome->is_logged) log_reject(reply, "END-OF-MESSAGE");
    if (outcome->reply_code >= 500) {
      // Its size and its hops are the message's own trouble, what is in it is ours with it.
      const bool is_bounce = outcome->status == "5.3.4" || outcome->status == "5.4.0";
      troubles_ |= is_bounce ? kTroubleBounce : kTroublePolicy;
    }
  }
  reset();
  co_return reply;
}

}  // namespace postern::smtpd
