#include "pickup/collector.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "common/ipc/control.h"
#include "common/log/clean.h"
#include "common/log/event.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/queuefile/reader.h"

namespace postern::pickup {

namespace {

// Messages on their way to cleanup at once: local mail has reserved room there
// (cleanup_internal_reserve), but not all of it.
constexpr unsigned kAtOnce = 10;
constexpr std::size_t kPiece = std::size_t{64} << 10;
constexpr std::chrono::seconds kCleanupTime{600};
constexpr std::size_t kMaxReported = 1000;
constexpr std::chrono::hours kUnfinishedAge{24};

std::int64_t wall_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Collector::Collector(daemon::Process& process)
    : process_(process),
      server_(process.take_listener()),
      ids_(process.slot()),
      cleanup_("public/" + process.values().text("cleanup_service_name")) {}

void Collector::start() {
  server_.dispatcher().notice<ipc::control::Wakeup>(
      [this](ipc::control::Wakeup&, const ipc::ChannelPtr&) { collect(); });
  process_.on_wakeup([this](bool) { collect(); });
  process_.on_drain([this] {
    server_.stop_accepting();
    retry_.disarm();
    if (under_way_ == 0) process_.finish();
  });
  process_.on_reload([] {});
  server_.only_for(process_.clients());
  server_.start();
  collect();
}

void Collector::collect() {
  if (is_scanning_) {
    scan_again_ = true;
    return;
  }
  is_scanning_ = true;
  loop::spawn(scan());
}

// One pass at a time is planned, however many messages failed in the last.
void Collector::retry_later() {
  if (retry_.is_armed() || process_.is_draining()) return;
  retry_.arm(loop::Loop::current().after(pause_.next()));
}

loop::Task<void> Collector::scan() {
  do {
    scan_again_ = false;
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir("maildrop"), ::closedir);
    if (dir == nullptr) {
      log::warning("open maildrop: {}", sys::errno_text(errno));
      retry_later();
      break;
    }
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(dir.get())) {
      const std::string_view name = entry->d_name;
      if (!name.starts_with('.')) names.emplace_back(name);
    }
    for (const auto& name : names) {
      if (process_.is_draining()) break;
      while (under_way_ >= kAtOnce) co_await room_.wait(loop::kNever);
      if (busy_.insert(name).second) loop::spawn(take(name));
    }
  } while (scan_again_ && !process_.is_draining());
  is_scanning_ = false;
}

loop::Task<void> Collector::take(std::string name) {
  ++under_way_;
  if (cleanup_.pressure().is_intake_slow) {
    co_await loop::sleep_for(process_.values().duration("in_flow_delay"));
  }
  auto drop = open(name);
  if (!drop) {
    if (!drop.error().text.empty() && reported_.size() < kMaxReported &&
        reported_.insert(name).second) {
      log::warning("maildrop/{}: {}", log::clean(name), drop.error().text);
    }
  } else {
    reported_.erase(name);
    const std::string id = ids_.next(wall_us(), process_.values().flag("enable_long_queue_ids")
                                                    ? queuefile::IdForm::kLong
                                                    : queuefile::IdForm::kShort);
    auto outcome = co_await submit(*drop, id, {});
    if (outcome && !outcome->is_accepted && outcome->reply_code >= 500) {
      // Nobody waits for this answer: its sender is told by a notice, with the mail in it.
      std::string_view text = outcome->text;
      if (text.starts_with("Error: ")) text.remove_prefix(text.find(' ') + 1);  // a server's word
      const std::string why = fmt::format("{} {}", outcome->status, text);
      outcome = co_await submit(*drop, id, why);
    }
    if (!outcome) {
      log::warning("maildrop/{}: {}; trying again later", name, outcome.error().text);
      retry_later();
    } else if (!outcome->is_accepted && outcome->reply_code < 500) {
      if (!outcome->is_logged) {
        log::warning("maildrop/{}: {} {}; trying again later", name, outcome->status,
                     outcome->text);
      }
      retry_later();
    } else {
      pause_.reset();
      if (!outcome->is_accepted) {
        log::warning("maildrop/{}: message from uid={} refused: {} {}", name, drop->uid,
                     outcome->status, outcome->text);
      }
      if (::unlink(drop->path.c_str()) < 0) {
        log::warning("remove {}: {}", drop->path, sys::errno_text(errno));
      }
    }
  }
  busy_.erase(name);
  --under_way_;
  room_.notify_one();
  if (under_way_ == 0 && process_.is_draining()) process_.finish();
}

// An error with empty text is nothing to speak of: the file is still being written, or gone.
Result<Collector::Drop> Collector::open(const std::string& name) const {
  const auto stray = [](std::string text) { return fail(Error::Kind::kDamaged, std::move(text)); };
  if (!queuefile::is_valid_queue_id(name)) return stray("not the name of a queue file");
  Drop drop;
  drop.path = "maildrop/" + name;
  drop.fd.reset(::open(drop.path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!drop.fd) return errno == ENOENT ? stray("") : sys::fail_errno("open");
  struct stat st{};
  if (::fstat(drop.fd.get(), &st) < 0) return sys::fail_errno("fstat");
  if (!S_ISREG(st.st_mode)) return stray("not a file");
  if ((st.st_mode & S_IXUSR) == 0) {
    // Not finished. One that nobody finishes was never accepted.
    if (wall_us() / 1'000'000 - st.st_mtime >
        std::chrono::duration_cast<std::chrono::seconds>(kUnfinishedAge).count()) {
      ::unlink(drop.path.c_str());
    }
    return stray("");
  }
  if (st.st_nlink != 1) return stray("has more than one link");
  drop.uid = st.st_uid;
  const auto size = static_cast<std::uint64_t>(st.st_size);
  const std::uint64_t tail_size = std::min<std::uint64_t>(size, queuefile::kTrailerSize);
  TRY(const std::string tail,
      queuefile::read_extent(drop.fd.get(), {size - tail_size, tail_size}, tail_size));
  if (tail.size() < queuefile::kTrailerSize || !queuefile::has_trailer(tail)) {
    return stray("not a whole queue file");
  }
  TRY(drop.layout, queuefile::parse_trailer(tail, size));
  TRY(const std::string run,
      queuefile::read_extent(drop.fd.get(), drop.layout.envelope, queuefile::kMaxEnvelopeBytes));
  TRY(drop.envelope, queuefile::read_envelope(run, drop.layout.envelope.offset));
  return drop;
}

// `refusal` is why the mail goes back to its sender; empty: it does not.
loop::Task<Result<ipc::cleanup::Outcome>> Collector::submit(Drop& drop, const std::string& id,
                                                            const std::string& refusal) {
  auto& envelope = drop.envelope;
  const bool is_requeued = drop.uid == process_.mail_owner().uid;
  if (!is_requeued && envelope.rewrite_context != "remote") envelope.rewrite_context = "local";
  envelope.origin = queuefile::Origin::kLocal;
  std::erase_if(envelope.attributes, [](const auto& entry) {
    return entry.first == "uid" || entry.first == queuefile::kRefused;
  });
  envelope.attributes.emplace_back("uid", std::to_string(drop.uid));
  std::erase_if(envelope.recipients, [](const queuefile::Recipient& recipient) {
    return recipient.state != queuefile::State::kPending;
  });
  if (envelope.recipients.empty()) {
    // Everybody has it: requeued after the last delivery.
    ipc::cleanup::Outcome nothing_to_do;
    nothing_to_do.is_accepted = true;
    co_return nothing_to_do;
  }
  if (!is_requeued) envelope.arrival = {};
  if (refusal.empty()) log::picked_up(id, drop.uid, mail::quote_address(envelope.sender));

  // Also what is requeued passes the filter again.
  envelope.content_filter = process_.values().text("content_filter");
  ipc::SubmissionStart start;
  start.overrides =
      ipc::cleanup::parse_overrides(process_.values().list("receive_override_options"));
  if (!refusal.empty()) {
    envelope.content_filter.clear();
    envelope.attributes.emplace_back(queuefile::kRefused, refusal);
    start.overrides |= ipc::cleanup::kNoAddressMappings | ipc::cleanup::kNoHeaderBodyChecks |
                       ipc::cleanup::kNoMilters;
  }
  queuefile::append_envelope(start.envelope, envelope);
  start.queue_id = id;
  start.is_internal = true;
  ipc::Submission submission(cleanup_, std::move(start));
  const loop::Deadline deadline = loop::Clock::now() + kCleanupTime;
  if (drop.layout.header.length > 0) {
    CO_DO(co_await add_extent(submission, drop.fd.get(), drop.layout.header, deadline));
    CO_DO(co_await submission.add("\n", deadline));
  }
  CO_DO(co_await add_extent(submission, drop.fd.get(), drop.layout.body, deadline));
  co_return co_await submission.finish(deadline);
}

loop::Task<Result<void>> Collector::add_extent(ipc::Submission& submission, int fd,
                                               queuefile::Extent extent, loop::Deadline deadline) {
  while (extent.length > 0) {
    const queuefile::Extent piece{extent.offset, std::min<std::uint64_t>(extent.length, kPiece)};
    CO_TRY(const std::string bytes, queuefile::read_extent(fd, piece, kPiece));
    CO_DO(co_await submission.add(bytes, deadline));
    extent.offset += piece.length;
    extent.length -= piece.length;
  }
  co_return Result<void>{};
}

}  // namespace postern::pickup
