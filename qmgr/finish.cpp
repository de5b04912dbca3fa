// finish.cpp - the end of a message's round: removed, returned to its sender, or deferred.
//
// Responsibility ends here, so the order is: the notification is committed (bounce answers after
// cleanup did), then the file is removed. Nothing is removed that could not be reported.

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "common/log/event.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "qmgr/manager.h"

namespace postern::qmgr {

namespace {
constexpr std::chrono::seconds kNotifyTime{300};
}

void Manager::finish_if_done(Message& message) {
  if (message.waiting > 0 || message.flights > 0 || message.jobs > 0) return;
  if (message.is_finishing) return;
  message.is_finishing = true;
  loop::spawn(finish(&message));
}

ipc::bounce::Notify Manager::notice_of(const Message& message, ipc::bounce::Kind kind) {
  ipc::bounce::Notify notice;
  notice.kind = kind;
  notice.queue_id = message.id;
  notice.sender = message.sender;
  notice.dsn_envid = message.dsn_envid;
  // Of what a check has refused its sender gets the header back, as from Postfix.
  const bool is_header_enough = !message.refusal.empty() && !message.sender.empty();
  notice.dsn_ret = static_cast<std::int64_t>(is_header_enough ? queuefile::DsnReturn::kHeaders
                                                              : message.dsn_ret);
  notice.arrival_us = message.arrival_us;
  return notice;
}

// What sendmail -v or NOTIFY=SUCCESS has promised; sent once, whatever still waits.
loop::Task<void> Manager::send_trace(Message& message, ipc::bounce::Kind kind) {
  message.is_traced = false;
  message.has_trace = false;
  message.has_successes = false;
  auto fd = dirs_.open_message(message.queue, message.id);
  if (!fd || !*fd) co_return;
  std::vector<sys::Fd> fds;
  fds.push_back(std::move(**fd));
  const auto sent = co_await trace_.call(notice_of(message, kind), loop::Clock::now() + kNotifyTime,
                                         std::move(fds));
  if (!sent) log::warning("{}: delivery status report: {}", message.id, sent.error().text);
}

bool Manager::may_have_warned(const Message& message) {
  if (!settings_.confirm_delay_cleared || settings_.delay_warning_time.count() == 0) return false;
  const auto age = age_of(message);
  return message.was_deferred && age >= settings_.delay_warning_time;
}

// Asked at the end of each round; bounce knows whether the sender has been told.
loop::Task<void> Manager::warn_of_delay(Message& message) {
  if (settings_.delay_warning_time.count() == 0 || message.sender.empty()) co_return;
  const auto age = age_of(message);
  if (age < settings_.delay_warning_time) co_return;
  auto fd = dirs_.open_message(message.queue, message.id);
  if (!fd || !*fd) co_return;
  std::vector<sys::Fd> fds;
  fds.push_back(std::move(**fd));
  const auto sent = co_await defer_.call(notice_of(message, ipc::bounce::Kind::kDelay),
                                         loop::Clock::now() + kNotifyTime, std::move(fds));
  if (!sent) log::warning("{}: delay notification: {}", message.id, sent.error().text);
}

loop::Task<void> Manager::note_expansions(Message& message) {
  ipc::bounce::Append expansions;
  expansions.log = "trace";
  expansions.queue_id = message.id;
  expansions.recipients = std::exchange(message.expanded, {});
  for (std::size_t i = 0; i < expansions.recipients.size(); ++i) {
    auto& report = expansions.reports.emplace_back();
    report.outcome = ipc::agent::Outcome::kDelivered;
    report.status = "2.0.0";
    report.text = "alias expanded";
    report.action = "expanded";
  }
  const auto logged = co_await trace_.call(std::move(expansions), loop::Clock::now() + kNotifyTime);
  if (logged) {
    message.has_successes = true;
  } else {
    log::warning("{}: trace: {}", message.id, logged.error().text);
  }
}

loop::Task<void> Manager::finish(Message* message) {
  if (!message->expanded.empty()) co_await note_expansions(*message);
  if (message->has_trace) {
    co_await send_trace(*message, ipc::bounce::Kind::kTrace);
  } else if (message->has_successes) {
    const auto kind =
        may_have_warned(*message) ? ipc::bounce::Kind::kDelayCleared : ipc::bounce::Kind::kSuccess;
    co_await send_trace(*message, kind);
  }
  if ((message->remaining == 0 && !message->has_bounces) || message->is_probe ||
      message->is_dry_run) {
    remove(*message);
    co_return;
  }
  std::vector<Recipient*> over = co_await find_expired(*message);
  const bool expired = !over.empty() && over.size() == message->remaining;
  if (!over.empty() && !expired) co_await return_expired(*message, std::move(over));
  if (expired) {
    log::expired(message->id, mail::quote_address(message->sender), message->is_forced_expire);
  }
  // What failed is told by itself, and then what took too long.
  if (expired && message->has_bounces) {
    const bool is_told = co_await return_to_sender(*message, false);
    message->has_bounces = !is_told;
  }
  // Failures of this round are told now, also when others of its recipients still wait.
  if (message->has_bounces || expired) {
    const bool is_returned = co_await return_to_sender(*message, expired);
    if (is_returned && (expired || message->remaining == 0)) {
      remove(*message);
      co_return;
    }
  }
  if (!expired) co_await warn_of_delay(*message);
  defer(*message);
}

loop::Task<bool> Manager::return_to_sender(Message& message, bool is_expired) {
  auto fd = dirs_.open_message(message.queue, message.id);
  if (!fd) {
    log::warning("{}: {}", message.id, fd.error().text);
    co_return false;
  }
  if (!*fd) co_return true;  // taken away by an operator: nothing is left to return
  ipc::bounce::Notify notice = notice_of(message, ipc::bounce::Kind::kFailure);
  notice.is_expired = is_expired;
  std::vector<sys::Fd> fds;
  fds.push_back(std::move(**fd));
  const auto sent = co_await bounce_.call(notice, loop::Clock::now() + kNotifyTime, std::move(fds));
  if (!sent) {
    log::warning("{}: no notification could be sent: {}; trying again later", message.id,
                 sent.error().text);
    log::info("{}: status=deferred (bounce failed)", message.id);
    co_return false;
  }
  co_return true;
}

void Manager::remove(Message& message) {
  const auto removed = dirs_.remove(message.queue, message.id);
  if (!removed) {
    // The marks in the file are the truth now; without them it would be delivered again for ever.
    log::warning("{}: remove: {}", message.id, removed.error().text);
    std::vector<std::uint64_t> offsets;
    for (const auto& recipient : message.recipients) offsets.push_back(recipient.state_offset);
    write_states(message, offsets, queuefile::State::kDone);
    return defer(message);
  }
  unmarked_.erase(message.id);
  if (*removed) {
    if (message.refusal.empty()) log::removed(message.id);
    const std::string log = dirs_.path_of(queuefile::Queue::kDefer, message.id);
    if (message.was_deferred) ::unlinkat(dirs_.root(), log.c_str(), 0);
  }
  forget(message, ipc::qmgr::EventKind::kRemoved);
}

void Manager::defer(Message& message) {
  // As old as it is, so long it waits, within the two limits: attempts thin out by themselves.
  const auto age = std::chrono::duration_cast<std::chrono::seconds>(
      std::chrono::microseconds(wall_clock_us() - message.arrival_us));
  const auto wait =
      std::clamp(age, settings_.minimal_backoff_time,
                 std::max(settings_.minimal_backoff_time, settings_.maximal_backoff_time));
  const std::string path = dirs_.path_of(message.queue, message.id);
  const timespec when{wall_clock_us() / 1'000'000 + wait.count(), 0};
  const timespec times[2] = {when, when};
  if (::utimensat(dirs_.root(), path.c_str(), times, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT) {
    return forget(message, ipc::qmgr::EventKind::kGone);
  }
  const auto moved = dirs_.move(message.queue, queuefile::Queue::kDeferred, message.id);
  if (!moved) log::warning("{}: {}", message.id, moved.error().text);
  const auto queue = moved ? queuefile::Queue::kDeferred : message.queue;
  if (!moved || *moved) schedule_.put(message.id, queue, loop::Clock::now() + wait);
  forget(message, ipc::qmgr::EventKind::kDeferred);
}

void Manager::forget(Message& message, ipc::qmgr::EventKind end) {
  if (!watchers_.empty()) watchers_.ended(message.id, end);
  active_recipients_ -= message.recipients.size();
  active_.erase(message);
  take_due();
}

}  // namespace postern::qmgr
