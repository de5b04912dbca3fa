// session_wire.cpp - lines in and replies out, with the deadlines of both.

#include <fmt/format.h>

#include <algorithm>

#include "common/log/clean.h"
#include "common/log/log.h"
#include "smtpd/session.h"

namespace postern::smtpd {

Session::ReadDeadline::ReadDeadline(const Settings& settings)
    : settings_(settings), until_(loop::Clock::now() + settings.smtpd.smtpd_timeout) {}

loop::Deadline Session::ReadDeadline::next() const {
  if (settings_.smtpd.smtpd_per_request_deadline) return until_;
  return loop::Clock::now() + settings_.smtpd.smtpd_timeout;
}

void Session::ReadDeadline::received(std::size_t bytes) {
  if (!settings_.smtpd.smtpd_per_request_deadline || settings_.smtpd.smtpd_min_data_rate <= 0) {
    return;
  }
  const auto earned = std::chrono::microseconds(static_cast<std::int64_t>(bytes) * 1'000'000 /
                                                settings_.smtpd.smtpd_min_data_rate);
  until_ =
      std::min<loop::Deadline>(until_ + earned, loop::Clock::now() + settings_.smtpd.smtpd_timeout);
}

loop::Task<std::optional<std::string>> Session::read_command(bool* is_too_long) {
  const ReadDeadline until(*settings_);
  // A command that trickles in is still owed.
  waiting_since_ = loop::Clock::now();
  for (;;) {
    const smtpwire::Line line = splitter_.next(stream_.input());
    if (line.state == smtpwire::Line::State::kMore) {
      stream_.consume(line.consumed);
      // Nothing more to answer at once: now the replies leave.
      if (!co_await flush()) co_return std::nullopt;
      waiting_for_command_ = true;
      const loop::Io io = co_await stream_.fill(until.next());
      waiting_for_command_ = false;
      if (io == loop::Io::kCancelled && draining_) {
        co_await refuse(mail::make_reply(
            421, fmt::format("4.3.2 {} Service is shutting down", settings_->address.myhostname)));
        co_return std::nullopt;
      }
      if (io == loop::Io::kCancelled && makes_room_) {
        end_ = End::kDropped;
        co_await refuse(
            mail::make_reply(421, fmt::format("4.3.2 {} Error: too busy, try again later",
                                              settings_->address.myhostname)));
        co_return std::nullopt;
      }
      if (io == loop::Io::kTimeout) {
        end_ = End::kTimeout;
        co_await refuse(mail::make_reply(
            421, fmt::format("4.4.2 {} Error: timeout exceeded", settings_->address.myhostname)));
        co_return std::nullopt;
      }
      if (io != loop::Io::kOk) {
        end_by(io);
        co_return std::nullopt;
      }
      continue;
    }
    // The beginning of a line that is too long may be another command, and a NUL is in none. The
    // first byte, which is no command, tells whether this is SMTP at all.
    const bool is_broken = line.state == smtpwire::Line::State::kTooLong || line.nul;
    if (is_too_long != nullptr) *is_too_long = line.state == smtpwire::Line::State::kTooLong;
    std::string text(is_broken ? line.text.substr(0, 1) : line.text);
    stream_.consume(line.consumed);
    if (line.bare_lf && settings_->smtpd.smtpd_forbid_bare_newline == "reject" &&
        !is_bare_newline_excused_) {
      log::info(
          "{} sent a line that ends in <LF> instead of <CR><LF>; see "
          "smtpd_forbid_bare_newline",
          client());
    }
    record_command(text, is_too_long != nullptr);
    if (is_dialogue_logged_) {
      // The answers to AUTH are asked for with room for one that is too long.
      log::info("< {}: {}", client(),
                is_too_long != nullptr ? "(not shown)" : policy::loggable_command(text));
    }
    co_return text;
  }
}

void Session::end_by(loop::Io io) {
  closing_ = true;
  if (!end_) end_ = io == loop::Io::kTimeout ? End::kTimeout : End::kLost;
}

loop::Task<bool> Session::send(const mail::Reply& reply) {
  std::string wire;
  const bool is_softened = reply.code >= 500 && settings_->smtpd.soft_bounce;
  if (is_softened || (reply.code >= 400 && has_reject_text())) {
    mail::Reply shown = is_softened ? mail::softened(reply) : reply;
    if (has_reject_text()) shown = co_await with_reject_text(std::move(shown));
    shown.append_wire(wire);
    record_reply(shown);
    if (is_dialogue_logged_) log_reply(shown);
  } else {
    reply.append_wire(wire);
    record_reply(reply);
    if (is_dialogue_logged_) log_reply(reply);
  }
  stream_.put(wire);
  // Replies of a client that never reads are not heaped up.
  constexpr std::size_t kMaxPending = std::size_t{16} << 10;
  if (stream_.pending_output() > kMaxPending) co_return co_await flush();
  co_return true;
}

loop::Task<bool> Session::flush() {
  if (stream_.pending_output() == 0) co_return true;
  const loop::Io io = co_await stream_.flush(deadline());
  if (io == loop::Io::kOk) co_return true;
  end_by(io);
  co_return false;
}

loop::Task<void> Session::refuse(mail::Reply reply) {
  closing_ = true;
  (void)co_await send(reply);
  (void)co_await flush();
}

}  // namespace postern::smtpd
