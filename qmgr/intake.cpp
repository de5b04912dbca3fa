// intake.cpp - how messages come into qmgr's memory.
//
// A fresh message comes with cleanup's notice and is neither read nor resolved again. A lost notice
// costs delay: the scan at each wake-up finds what is in incoming/. At start everything is found
// by scanning, in the background, while new mail flows already.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "common/base/encode.h"
#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/event.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/queuefile/queue_id.h"
#include "common/queuefile/reader.h"
#include "qmgr/manager.h"

namespace postern::qmgr {

namespace {

// So many files are looked at, or loaded, before others have their turn.
constexpr unsigned kEntriesPerTurn = 100;
constexpr std::size_t kLoadsAtOnce = 50;

// A file in incoming/ without a notice may still be in the making; the scan takes it when it is
// committed and this old.
constexpr std::chrono::seconds kNoticeGrace{2};
// What was never acknowledged is removed after a day (design: it is no damage).
constexpr std::chrono::hours kUnfinishedAge{24};

constexpr std::chrono::seconds kTablesTime{100};

Recipient from_envelope(const queuefile::Recipient& recipient) {
  Recipient result;
  result.address = recipient.address;
  result.orig_to = recipient.orig_to;
  result.dsn_orcpt = recipient.dsn_orcpt;
  result.state_offset = recipient.state_offset;
  result.notify = recipient.notify;
  if (recipient.resolved) {
    result.transport = recipient.resolved->transport;
    result.nexthop = recipient.resolved->nexthop;
    result.address = recipient.resolved->recipient;
  }
  if (recipient.state != queuefile::State::kPending) result.progress = Progress::kDone;
  return result;
}

// What kAliasExpanded tells.
std::vector<ipc::agent::Recipient> expanded_recipients(const queuefile::Envelope& envelope) {
  std::vector<ipc::agent::Recipient> expanded;
  for (const auto& [name, value] : envelope.attributes) {
    if (name != queuefile::kAliasExpanded) continue;
    const auto words = split_words(value);
    if (words.size() != 3) continue;
    auto& recipient = expanded.emplace_back();
    recipient.address = xtext_decode(words[0]).value_or("");
    recipient.orig_to = xtext_decode(words[1]).value_or("");
    recipient.dsn_orcpt = xtext_decode(words[2]).value_or("");
    recipient.notify = queuefile::kNotifySuccess;
  }
  return expanded;
}

void fill(Message& message, const queuefile::Envelope& envelope) {
  message.sender = envelope.sender;
  message.client = envelope.client.address;
  message.is_probe = envelope.origin == queuefile::Origin::kProbe;
  message.content_filter = envelope.content_filter;
  message.redirect = envelope.redirect;
  for (const auto& [name, value] : envelope.attributes) {
    if (name == queuefile::kRefused) message.refusal = value;
  }
  message.dsn_envid = envelope.dsn_envid;
  if (envelope.verp_delims.size() == 2 && !envelope.sender.empty()) {
    message.verp_delims = envelope.verp_delims;
  }
  message.dsn_ret = envelope.dsn_ret;
  // Told once: of the first round.
  message.is_dry_run = (envelope.flags & queuefile::kFlagProbe) != 0 && !message.is_probe;
  message.is_traced = (message.is_dry_run || (envelope.flags & queuefile::kFlagTrace) != 0) &&
                      message.queue == queuefile::Queue::kIncoming && !envelope.sender.empty();
  if (message.queue == queuefile::Queue::kIncoming && !envelope.sender.empty()) {
    message.expanded = expanded_recipients(envelope);
  }
  message.arrival_us = envelope.arrival.seconds * 1'000'000 + envelope.arrival.microseconds;
  message.recipients.reserve(envelope.recipients.size());
  for (const auto& recipient : envelope.recipients) {
    if (recipient.state == queuefile::State::kRemoved) continue;
    message.recipients.push_back(from_envelope(recipient));
  }
  // A notice may say what it likes.
  if (!std::ranges::is_sorted(message.recipients, {}, &Recipient::state_offset)) {
    std::ranges::sort(message.recipients, {}, &Recipient::state_offset);
  }
}

}  // namespace

void Manager::accept_notice(ipc::qmgr::NewMessage& notice) {
  if (is_leaving_ || !queuefile::is_valid_queue_id(notice.queue_id)) return;
  if (find(notice.queue_id) != nullptr) return;
  if (!has_room()) {
    schedule_.put(notice.queue_id, queuefile::Queue::kIncoming, loop::Clock::now());
    return schedule_intake();
  }
  auto envelope = queuefile::read_envelope(notice.envelope);
  const auto resolved = [](const auto& recipient) { return recipient.resolved.has_value(); };
  // What the notice does not have whole is read from the file; and of a probe cleanup has not asked
  // whether the recipient exists.
  const bool is_probe = envelope && (envelope->origin == queuefile::Origin::kProbe ||
                                     (envelope->flags & queuefile::kFlagProbe) != 0);
  if (!envelope || is_probe || envelope->recipients.empty() || !envelope->redirect.empty() ||
      envelope->recipients.size() != notice.state_offsets.size() ||
      !std::all_of(envelope->recipients.begin(), envelope->recipients.end(), resolved)) {
    loop::spawn(load(notice.queue_id, queuefile::Queue::kIncoming));
    return;
  }
  auto message = std::make_unique<Message>();
  message->id = notice.queue_id;
  message->queue = queuefile::Queue::kIncoming;
  message->size = static_cast<std::uint64_t>(notice.message_size);
  message->is_fresh = true;
  message->is_new = true;
  for (std::size_t i = 0; i < notice.state_offsets.size(); ++i) {
    envelope->recipients[i].state_offset = static_cast<std::uint64_t>(notice.state_offsets[i]);
  }
  fill(*message, *envelope);
  activate(std::move(message));
}

void Manager::flush(const ipc::qmgr::Flush& notice) {
  const auto now = loop::Clock::now();
  if (notice.clear_dead) {
    for (auto& [name, transport] : transports_) {
      transport->dead_until = {};
      transport->for_each([&](Destination& d) { d.revive(transport->limits()); });
    }
  }
  if (notice.queue_ids.empty()) {
    is_flushing_ = true;
    schedule_.make_all_due(now);
    // What an operator moved here by hand is found on the same occasion.
    loop::spawn(scan_all(false));
  }
  for (const auto& id : notice.queue_ids) {
    if (!queuefile::is_valid_queue_id(id) || find(id) != nullptr) continue;
    if (schedule_.contains(id)) {
      schedule_.make_due(id, now);
      continue;
    }
    const auto queue = dirs_.find(id, {queuefile::Queue::kDeferred, queuefile::Queue::kIncoming});
    if (queue) schedule_.put(id, *queue, now);
  }
  take_due();
}

loop::Task<Result<ipc::qmgr::Watching>> Manager::watch(ipc::qmgr::Watch request,
                                                       ipc::ChannelPtr channel) {
  CO_DO(watchers_.add(channel, request.is_live));
  ipc::qmgr::Watching answer;
  if (!request.is_flush) co_return answer;
  // What an operator moved here by hand is part of it.
  co_await scan_all(false);
  std::unordered_set<std::string> ids;
  schedule_.for_each_id([&](const std::string& id) { ids.insert(id); });
  active_.for_each([&](const Message& message) { ids.insert(message.id); });
  ids.insert(loading_ids_.begin(), loading_ids_.end());
  answer.messages = static_cast<std::int64_t>(ids.size());
  watchers_.wait_for(channel, std::move(ids));
  flush({});
  co_return answer;
}

loop::Task<void> Manager::scan_all(bool is_start) {
  if (is_scanning_) {
    rescan_wanted_ = true;
    co_return;
  }
  is_scanning_ = true;
  do {
    rescan_wanted_ = false;
    if (is_start) co_await scan(queuefile::Queue::kActive, is_start);
    co_await scan(queuefile::Queue::kIncoming, is_start);
    co_await scan(queuefile::Queue::kDeferred, is_start);
    take_due();
  } while (rescan_wanted_);
  is_scanning_ = false;
}

loop::Task<void> Manager::scan(queuefile::Queue queue, bool is_start) {
  auto walk = dirs_.scan(queue, [this](std::string_view path, std::string_view what) {
    leave_alone(path, fmt::format("{} in the mail queue", what));
  });
  for (unsigned count = 1;; ++count) {
    if (count % kEntriesPerTurn == 0) co_await loop::Yield();
    if (is_leaving_) co_return;
    const auto entry = walk.next();
    if (!entry) {
      log::warning("scan of the {} queue: {}", queuefile::queue_name(queue), entry.error().text);
      continue;
    }
    if (!*entry) co_return;
    note_found(**entry, queue, is_start);
  }
}

void Manager::note_found(const queuefile::QueueEntry& entry, queuefile::Queue queue,
                         bool is_start) {
  const Message* active = find(entry.id);
  if (active != nullptr) return drop_second(entry, active->queue);
  if (const auto known = schedule_.queue_of(entry.id)) return drop_second(entry, *known);
  struct stat st{};
  if (::fstatat(dirs_.root(), entry.path.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0) return;
  const auto age = std::chrono::seconds(wall_clock_us() / 1'000'000 - st.st_mtime);
  // An empty file is what a power cut leaves of one that was not flushed yet. Of one that was being
  // flushed it leaves zeros, which are noticed when it is read.
  if ((st.st_mode & 07777) == queuefile::kUnfinishedMode ||
      (S_ISREG(st.st_mode) && st.st_size == 0)) {
    return drop_unfinished(entry.path, st);
  }
  if (entry.path != dirs_.path_of(queue, entry.id)) {
    const auto moved = dirs_.move_path(entry.path, queue, entry.id);
    if (!moved) return log::warning("{}: {}", entry.path, moved.error().text);
  }
  auto due = loop::Clock::now();
  if (queue == queuefile::Queue::kIncoming && !is_start && age < kNoticeGrace) {
    due += kNoticeGrace;
  } else if (queue == queuefile::Queue::kDeferred) {
    // mtime is the time of the next attempt. One that is further away than we ever defer comes
    // from a clock that was wrong.
    if (-age <= settings_.maximal_backoff_time) due += std::max(-age, std::chrono::seconds(0));
  }
  schedule_.put(entry.id, queue, due);
  schedule_intake();
}

// Somebody writes it now, or died while he did. Nobody was told that it is ours.
//
// Whatever else has no whole trailer is set aside, although a power cut in the middle of a flush
// leaves such files, too: by its bytes, half a file that was never acknowledged is the same as one
// that was, and that the disk lost a part of later. File systems do know which blocks were never
// written, but so they do of a copy that somebody made of a queue. A mark that tells would have to
// be flushed after the flush, at the price of a second one for each message.
void Manager::drop_unfinished(const std::string& path, const struct stat& st) const {
  const auto age = std::chrono::seconds(wall_clock_us() / 1'000'000 - st.st_mtime);
  if (age <= kUnfinishedAge || ::unlinkat(dirs_.root(), path.c_str(), 0) != 0) return;
  if ((st.st_mode & 07777) == queuefile::kUnfinishedMode) return;
  log::info(
      "{}: removed: nothing is in it, as in what a power cut leaves of a message that was "
      "never acknowledged",
      path);
}

// Two files with one id, where a backup was put back over a queue that went on: the one that we
// know of is delivered, the other one is kept for a person to look at.
void Manager::drop_second(const queuefile::QueueEntry& entry, queuefile::Queue known) {
  const std::string first = dirs_.path_of(known, entry.id);
  if (entry.path == first) return;
  const auto exists = [&](const std::string& path) {
    return ::faccessat(dirs_.root(), path.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
  };
  // It may just have been moved: both have to be there.
  if (exists(first) && exists(entry.path)) set_aside(entry, "the same id is in " + first);
}

void Manager::leave_alone(std::string_view path, std::string_view why) {
  constexpr std::size_t kMaxReported = 10'000;
  if (reported_.size() >= kMaxReported) reported_.clear();
  if (!reported_.emplace(path).second) return;
  log::warning("{}: {}; it is left alone", log::clean(path), why);
}

bool Manager::has_room() const {
  return active_.size() + loading_ < settings_.message_active_limit &&
         active_recipients_ < settings_.message_recipient_limit;
}

// A backlog leaves a fifth of the memory to mail that comes meanwhile.
bool Manager::has_room_for_old_mail() const {
  const auto share = [](std::size_t limit) { return limit - limit / 5; };
  return active_.size() + loading_ < share(settings_.message_active_limit) &&
         active_recipients_ < share(settings_.message_recipient_limit);
}

void Manager::schedule_intake() { due_timer_.arm(std::max(schedule_.next(), loop::Clock::now())); }

void Manager::take_due() {
  if (is_leaving_) return;
  const auto now = loop::Clock::now();
  while (loading_ < kLoadsAtOnce && has_room_for_old_mail()) {
    auto due = schedule_.take_due(now);
    if (!due) break;
    loop::spawn(load(std::move(due->id), due->queue));
  }
  // With a full memory the end of a message calls again.
  if (loading_ < kLoadsAtOnce && has_room_for_old_mail()) due_timer_.arm(schedule_.next());
  if (schedule_.next() > now) is_flushing_ = is_flushing_ && loading_ > 0;
}

loop::Task<void> Manager::load(std::string id, queuefile::Queue queue) {
  ++loading_;
  loading_ids_.insert(id);
  auto message = std::make_unique<Message>();
  Message* const loaded = message.get();
  loading_messages_.push_back(loaded);
  message->id = id;
  message->queue = queue;
  const bool is_read = co_await read(id, queue, *message);
  bool is_taken = find(id) != nullptr;
  if (is_read && find(id) == nullptr) {
    const Result<void> resolved = co_await resolve(*message);
    is_taken = resolved.has_value() || find(id) != nullptr;
    if (find(id) != nullptr || is_leaving_) {
      // Its notice came in meanwhile, or it is the successor's.
    } else if (resolved) {
      activate(std::move(message));
    } else {
      log::warning("{}: {}; trying again later", id, resolved.error().text);
      schedule_.put(id, queue, loop::Clock::now() + settings_.minimal_backoff_time);
    }
  }
  loading_ids_.erase(id);
  std::erase(loading_messages_, loaded);
  if (!is_taken && !watchers_.empty()) watchers_.ended(id, ipc::qmgr::EventKind::kGone);
  --loading_;
  take_due();
}

std::optional<uid_t> Manager::foreign_owner(const std::string& path) const {
  struct stat st{};
  if (::fstatat(dirs_.root(), path.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0) return std::nullopt;
  return st.st_uid == settings_.owner ? std::nullopt : std::optional(st.st_uid);
}

loop::Task<bool> Manager::read(std::string id, queuefile::Queue queue, Message& message) {
  // Every few files the loop gets its turn: a read may wait for the disk.
  co_await loop::Yield();
  const auto fd = dirs_.open_message(queue, id);
  if (!fd) {
    if (const auto uid = foreign_owner(dirs_.path_of(queue, id))) {
      set_aside({id, dirs_.path_of(queue, id)}, fmt::format("owned by uid {}", *uid));
      co_return false;
    }
    log::warning("{}", fd.error().text);
    schedule_.put(id, queue, loop::Clock::now() + settings_.minimal_backoff_time);
    co_return false;
  }
  if (!*fd) co_return false;  // moved or removed by an operator
  const auto opened = queuefile::open_message(
      (*fd)->get(), {.owner = settings_.owner, .verify = queuefile::Verify::kStructure});
  if (!opened) {
    switch (opened.error().kind) {
      case queuefile::RefusalKind::kUnfinished:
        if (struct stat st{}; ::fstat((*fd)->get(), &st) == 0) {
          drop_unfinished(dirs_.path_of(queue, id), st);
        }
        break;
      case queuefile::RefusalKind::kNoTrailer:
      case queuefile::RefusalKind::kDamaged:
        set_aside({id, dirs_.path_of(queue, id)}, "damaged: " + opened.error().text);
        break;
      case queuefile::RefusalKind::kNotOurs:
        set_aside({id, dirs_.path_of(queue, id)}, opened.error().text);
        break;
      case queuefile::RefusalKind::kForeign:
        leave_alone(dirs_.path_of(queue, id), opened.error().text);
        break;
      case queuefile::RefusalKind::kNotRead:
        log::warning("{}: {}; trying again later", dirs_.path_of(queue, id), opened.error().text);
        schedule_.put(id, queue, loop::Clock::now() + settings_.minimal_backoff_time);
        break;
    }
    co_return false;
  }
  message.size = opened->layout.message_size;
  message.is_forced_expire = opened->forced_expire;
  fill(message, opened->envelope);
  const std::string log = dirs_.path_of(queuefile::Queue::kBounce, id);
  message.has_bounces = ::faccessat(dirs_.root(), log.c_str(), F_OK, 0) == 0;
  message.was_deferred = queue == queuefile::Queue::kDeferred;
  mark_again(message);
  co_return true;
}

loop::Task<Result<void>> Manager::resolve(Message& message) {
  for (auto& recipient : message.recipients) {
    if (recipient.progress == Progress::kDone) continue;
    ipc::tables::Resolve question;
    question.sender = message.sender;
    question.address = message.redirect.empty() ? recipient.address : message.redirect;
    question.is_for_probe = message.is_probe;
    auto answer = co_await tables_.call(question, loop::Clock::now() + kTablesTime);
    if (!answer) co_return std::unexpected(std::move(answer).error());
    if (answer->transport.empty()) co_return fail_temporary(answer->error);
    recipient.transport = std::move(answer->transport);
    recipient.nexthop = std::move(answer->nexthop);
    recipient.address = std::move(answer->recipient);
  }
  co_return Result<void>{};
}

void Manager::set_aside(const queuefile::QueueEntry& entry, std::string_view why) {
  const auto path = dirs_.set_aside(entry);
  if (!path) {
    log::warning("{}: {}; it cannot be set aside: {}", entry.path, why, path.error().text);
  } else if (*path) {
    log::warning("{}: {}; saved as {} and not delivered", entry.path, why, **path);
  }
}

// REDIRECT: all have the same address now, and one delivery is meant.
void Manager::keep_one_recipient(Message& message) {
  bool is_first = true;
  std::erase_if(message.recipients, [&](const Recipient& recipient) {
    return recipient.progress == Progress::kWaiting && !std::exchange(is_first, false);
  });
  message.waiting = message.remaining = is_first ? 0 : 1;
}

// FILTER: where the recipients' own mail goes does not count.
void Manager::send_to_filter(Message& message) const {
  const auto colon = message.content_filter.find(':');
  const std::string transport = message.content_filter.substr(0, colon);
  std::string nexthop =
      colon == std::string::npos ? std::string() : message.content_filter.substr(colon + 1);
  if (nexthop.empty()) nexthop = settings_.default_filter_nexthop;
  for (auto& recipient : message.recipients) {
    if (recipient.progress != Progress::kWaiting) continue;
    recipient.transport = transport;
    recipient.nexthop = nexthop;
    if (nexthop.empty()) {
      const auto domain = mail::split_address(recipient.address).domain;
      recipient.nexthop = domain.empty() ? "localhost" : std::string(domain);
    }
  }
}

void Manager::activate(std::unique_ptr<Message> owned) {
  Message& message = *owned;
  if (message.queue != queuefile::Queue::kActive) {
    const auto moved = dirs_.move(message.queue, queuefile::Queue::kActive, message.id);
    if (!moved) {
      log::warning("{}: {}; trying again later", message.id, moved.error().text);
      watchers_.ended(message.id, ipc::qmgr::EventKind::kDeferred);
      schedule_.put(message.id, message.queue, loop::Clock::now() + settings_.minimal_backoff_time);
      return schedule_intake();
    }
    if (!*moved) return watchers_.ended(message.id, ipc::qmgr::EventKind::kGone);
    message.queue = queuefile::Queue::kActive;
  }
  schedule_.remove(message.id);
  message.active_us = wall_clock_us();
  message.waiting = 0;
  for (const auto& recipient : message.recipients) {
    message.waiting += recipient.progress == Progress::kWaiting ? 1 : 0;
  }
  message.remaining = message.waiting;
  // Of refused mail cleanup has said all.
  if (message.refusal.empty()) {
    log::activated(message.id, mail::quote_address(message.sender), message.size,
                   message.remaining);
  }
  if (!watchers_.empty()) watchers_.arrived(message);
  // access(5), header_checks(5): REDIRECT goes before FILTER.
  if (!message.redirect.empty()) {
    keep_one_recipient(message);
  } else if (!message.content_filter.empty()) {
    send_to_filter(message);
  }
  active_recipients_ += message.recipients.size();
  active_.add(std::move(owned));
  if (message.refusal.empty()) {
    assign(message);
    finish_if_done(message);
  } else {
    loop::spawn(return_refused(&message));
  }
}

}  // namespace postern::qmgr
