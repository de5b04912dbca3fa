#include "common/agent/deliverer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>

#include "common/agent/biff.h"
#include "common/agent/command.h"
#include "common/agent/maildir.h"
#include "common/agent/mbox.h"
#include "common/agent/packet.h"
#include "common/sys/flush.h"

namespace postern::agent {

namespace {

JobOutcome outcome_of(MailboxOutcome outcome) {
  switch (outcome) {
    case MailboxOutcome::kDelivered:
      return JobOutcome::kDelivered;
    case MailboxOutcome::kBounced:
      return JobOutcome::kBounced;
    case MailboxOutcome::kDeferred:
      break;
  }
  return JobOutcome::kDeferred;
}

MboxRequest mbox_request(const Job& job) {
  MboxRequest request;
  request.path = job.path;
  request.sender = job.sender;
  if (job.has_owner) request.owner = ::geteuid();
  request.locks = {.dotlock = job.use_dotlock,
                   .fcntl = job.use_fcntl,
                   .flock = job.use_flock,
                   .attempts = static_cast<unsigned>(job.lock_attempts),
                   .delay = job.lock_delay,
                   .stale_after = job.stale_after};
  request.limit = static_cast<std::uint64_t>(job.limit);
  request.allow_device = job.allow_device;
  request.open_failures_defer = job.open_failures_defer;
  request.failure_prefix = job.failure_prefix;
  if (!job.success_text.empty()) request.success_text = job.success_text;
  return request;
}

JobReply open_for_reading(const Job& job, sys::Fd* opened) {
  JobReply reply;
  // Never waits for the other end of a FIFO, never makes a terminal ours.
  opened->reset(::open(job.path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  struct stat status{};
  if (*opened && ::fstat(opened->get(), &status) == 0 && S_ISREG(status.st_mode)) {
    reply.outcome = JobOutcome::kDelivered;
    return reply;
  }
  const int error = *opened ? EINVAL : errno;
  reply.outcome = !*opened && (error == ENOENT || error == ENOTDIR) ? JobOutcome::kMissing
                                                                    : JobOutcome::kDeferred;
  reply.status = "4.2.0";
  reply.text = *opened ? "not a regular file" : sys::errno_text(error);
  opened->reset();
  return reply;
}

bool is_missing(const std::string& path) {
  struct stat status{};
  return ::lstat(path.c_str(), &status) < 0 && errno == ENOENT;
}

// Maildir deliveries go in batches, one batch at a time: while it waits for the disk, the next
// gathers, and the larger it is, the fewer flushes a delivery costs. A batch that takes longer than
// this hangs in some mailbox (a file server that does not answer); the next one begins beside it.
constexpr std::chrono::milliseconds kPatience{100};
// What a reply takes of a packet, beside its texts; and the packet itself.
constexpr std::size_t kReplyOverhead = 128;

MaildirRequest maildir_request(const Job& job) {
  return {.path = job.path, .host = job.host, .limit = static_cast<std::uint64_t>(job.limit)};
}

MailboxMessage message_of(const Job& job, int fd) {
  MailboxMessage message;
  message.fd = fd;
  message.header = {static_cast<std::uint64_t>(job.header_offset),
                    static_cast<std::uint64_t>(job.header_length)};
  message.body = {static_cast<std::uint64_t>(job.body_offset),
                  static_cast<std::uint64_t>(job.body_length)};
  message.prepended = job.prepended;
  return message;
}

JobReply reply_of(const Job& job, MailboxResult result) {
  JobReply reply;
  reply.id = job.id;
  reply.outcome = outcome_of(result.outcome);
  reply.status = std::move(result.status);
  reply.text = std::move(result.text);
  reply.warning = std::move(result.warning);
  return reply;
}

JobReply maildir_reply(const Job& job, MailboxResult result) {
  if (result.outcome != MailboxOutcome::kDelivered) {
    result.text.insert(0, job.failure_prefix);
  } else if (!job.success_text.empty()) {
    result.text = job.success_text;
  }
  return reply_of(job, std::move(result));
}

JobReply command_reply(const Job& job, int fd) {
  CommandRequest request;
  request.arguments = job.arguments;
  request.line = job.line;
  request.shell = job.shell;
  request.environment = job.environment;
  request.directory = job.directory;
  request.must_have_directory = job.must_have_directory;
  request.time_limit = job.time_limit;
  request.file_limit = static_cast<std::uint64_t>(job.limit);
  request.format = {.eol = job.eol,
                    .quote_from = job.quote_from,
                    .stuff_dots = job.stuff_dots,
                    .end_blank = job.end_blank};
  CommandResult result = run_command(message_of(job, fd), request);
  JobReply reply;
  reply.id = job.id;
  reply.outcome = outcome_of(result.outcome);
  reply.status = std::move(result.status);
  reply.text = std::move(result.text);
  reply.diagnostic = std::move(result.diagnostic);
  reply.output = std::move(result.output);
  return reply;
}

// One thread at a time reads the socket: it takes a job, or all Maildir jobs that are there. Others
// take over where it would be missed for long: at once when the job may wait for somebody's lock,
// after kPatience when it is a batch.
class Threads {
 public:
  explicit Threads(int socket) : socket_(socket) {}

  void run() {
    work();
    // The socket is at its end for everybody.
    for (std::size_t i = 0;; ++i) {
      std::thread thread;
      {
        const std::lock_guard lock(mutex_);
        if (i == threads_.size()) return;
        thread = std::move(threads_[i]);
      }
      thread.join();
    }
  }

 private:
  using Clock = std::chrono::steady_clock;

  struct Work {
    Job job;
    int message = -1;  // owned by the batch
  };
  // What came in one packet or in several, with the descriptors that it needs.
  struct Batch {
    std::vector<Work> works;
    std::vector<std::vector<sys::Fd>> messages;
  };

  void work() {
    for (;;) {
      if (!become_reader()) return;
      Batch batch;
      if (!take(wait_packet(socket_), batch)) return end();
      bool is_going_on = true;
      if (is_maildirs(batch)) {
        const std::uint64_t number = begin_batch();
        is_going_on = run_batch(batch);
        end_batch(number);
      } else {
        hand_over();
        is_going_on = run_each(batch);
      }
      if (!is_going_on) return end();
    }
  }

  // Waits until nobody reads. False: the socket is at its end.
  bool become_reader() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    while (has_reader_ && !is_over_) wait_for_turn(lock);
    --waiting_;
    if (is_over_) return false;
    has_reader_ = true;
    return true;
  }

  void wait_for_turn(std::unique_lock<std::mutex>& lock) {
    // One of those that wait looks after the batch under way.
    if (!batch_since_ || has_watch_) {
      turn_.wait(lock);
      return;
    }
    has_watch_ = true;
    turn_.wait_until(lock, *batch_since_ + kPatience);
    has_watch_ = false;
    if (batch_since_ && Clock::now() >= *batch_since_ + kPatience) {
      batch_since_.reset();
      has_reader_ = false;
    }
  }

  void end() {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
    turn_.notify_all();
  }

  // The reader goes to do something that may take long.
  void hand_over() {
    const std::lock_guard lock(mutex_);
    has_reader_ = false;
    call_help();
  }

  void call_help() {
    if (waiting_ > 0) {
      turn_.notify_one();
    } else if (threads_.size() + 1 < kDelivererThreads) {
      threads_.emplace_back([this] { work(); });
    }
  }

  // The number of the batch; its thread stays the reader meanwhile.
  std::uint64_t begin_batch() {
    const std::lock_guard lock(mutex_);
    batch_since_ = Clock::now();
    if (!has_watch_) call_help();
    return ++last_batch_;
  }

  void end_batch(std::uint64_t batch) {
    const std::lock_guard lock(mutex_);
    if (batch != last_batch_ || !batch_since_) return;  // another has taken over
    batch_since_.reset();
    has_reader_ = false;
  }

  static bool is_maildirs(const Batch& batch) {
    return batch.works.front().job.kind == JobKind::kMaildir;
  }

  // Adds what is in the packet, at least one job; false when it is none.
  static bool take(std::optional<Packet> packet, Batch& batch) {
    if (!packet) return false;
    auto jobs = ipc::decode<JobPacket>(packet->bytes);
    if (!jobs || jobs->jobs.empty() || jobs->jobs.size() != jobs->messages.size()) return false;
    for (std::size_t i = 0; i < jobs->jobs.size(); ++i) {
      auto job = ipc::decode<Job>(jobs->jobs[i]);
      const auto message = static_cast<std::uint64_t>(jobs->messages[i]);
      if (!job || message > packet->fds.size()) return false;
      batch.works.push_back({*std::move(job), message == 0 ? -1 : packet->fds[message - 1].get()});
    }
    batch.messages.push_back(std::move(packet->fds));
    return true;
  }

  bool run_each(Batch& batch) {
    for (Work& work : batch.works) {
      sys::Fd opened;
      JobReplies replies;
      replies.replies.push_back(do_job(work.job, work.message, &opened));
      if (!send_packet(socket_, ipc::encode(replies), opened.get())) return false;
    }
    return true;
  }

  // All Maildir deliveries that wait are written, then flushed together: the file system commits
  // once for all of them, and one flush of a directory serves all.
  bool run_batch(Batch& batch) {
    Batch other;
    while (batch.works.size() < kMaxBatch) {
      Batch next;
      if (!take(next_packet(socket_), next)) break;
      if (!is_maildirs(next)) {
        other = std::move(next);
        break;
      }
      std::ranges::move(next.works, std::back_inserter(batch.works));
      std::ranges::move(next.messages, std::back_inserter(batch.messages));
    }
    std::vector<MailboxResult> results = deliver(batch.works);
    batch.messages.clear();
    return send_results(batch.works, std::move(results)) && run_each(other);
  }

  // What was written is flushed, all of it together, and gets its name.
  static void publish(std::span<const std::unique_ptr<MaildirDelivery>> deliveries,
                      std::span<std::optional<MailboxResult>> results) {
    std::vector<int> fds;
    for (std::size_t i = 0; i < deliveries.size(); ++i) {
      if (!results[i]) fds.push_back(deliveries[i]->fd());
    }
    std::vector<int> errors(fds.size());
    for (std::size_t i = 0; i < fds.size(); i += sys::kMaxFlushes) {
      const std::size_t count = std::min(sys::kMaxFlushes, fds.size() - i);
      sys::flush_all(std::span(fds).subspan(i, count), std::span(errors).subspan(i, count));
    }
    auto error = errors.begin();
    for (std::size_t i = 0; i < deliveries.size(); ++i) {
      if (!results[i]) results[i] = deliveries[i]->publish(*error++);
    }
  }

  static std::vector<MailboxResult> deliver(const std::vector<Work>& works) {
    std::vector<std::unique_ptr<MaildirDelivery>> deliveries(works.size());
    std::vector<std::optional<MailboxResult>> results(works.size());
    // Mostly it is one message for many.
    LoadedMessage loaded;
    for (std::size_t i = 0; i < works.size(); ++i) {
      deliveries[i] = std::make_unique<MaildirDelivery>(maildir_request(works[i].job));
      MailboxMessage message = message_of(works[i].job, works[i].message);
      message.loaded = loaded.find(message);
      results[i] = works[i].message >= 0
                       ? deliveries[i]->write(message)
                       : MailboxResult{.status = "4.3.0", .text = "no message came with the job"};
    }
    publish(deliveries, results);
    std::map<std::string, int> flushed;
    std::vector<MailboxResult> all;
    for (std::size_t i = 0; i < works.size(); ++i) {
      if (!results[i]) {
        const auto [place, is_new] = flushed.try_emplace(deliveries[i]->path(), 0);
        if (is_new) place->second = deliveries[i]->flush_new();
        results[i] = deliveries[i]->finish(place->second);
      }
      all.push_back(*std::move(results[i]));
    }
    return all;
  }

  bool send_results(const std::vector<Work>& works, std::vector<MailboxResult> results) {
    JobReplies replies;
    std::size_t size = 0;
    for (std::size_t i = 0; i < works.size(); ++i) {
      JobReply reply = maildir_reply(works[i].job, std::move(results[i]));
      const std::size_t more = reply.text.size() + reply.warning.size() + kReplyOverhead;
      if (!replies.replies.empty() && size + more > kMaxPacket) {
        if (!send_packet(socket_, ipc::encode(replies))) return false;
        replies.replies.clear();
        size = 0;
      }
      size += more;
      replies.replies.push_back(std::move(reply));
    }
    return send_packet(socket_, ipc::encode(replies));
  }

  const int socket_;
  std::mutex mutex_;
  std::condition_variable turn_;
  bool has_reader_ = false;
  bool has_watch_ = false;
  bool is_over_ = false;
  unsigned waiting_ = 0;
  std::uint64_t last_batch_ = 0;
  std::optional<Clock::time_point> batch_since_;  // of the batch whose thread is the reader
  std::vector<std::thread> threads_;
};

}  // namespace

JobReply do_job(const Job& job, int fd, sys::Fd* opened) {
  JobReply reply;
  if (job.kind == JobKind::kOpen) {
    reply = open_for_reading(job, opened);
    reply.id = job.id;
    return reply;
  }
  reply.id = job.id;
  if (fd < 0) {
    reply.status = "4.3.0";
    reply.text = "no message came with the job";
    return reply;
  }
  if (job.kind == JobKind::kMbox && job.must_exist && is_missing(job.path)) {
    reply.outcome = JobOutcome::kMissing;
    return reply;
  }
  if (job.kind == JobKind::kCommand) return command_reply(job, fd);
  const MailboxMessage message = message_of(job, fd);
  if (job.kind == JobKind::kMaildir) {
    return maildir_reply(job, deliver_to_maildir(message, maildir_request(job)));
  }
  MailboxResult result = deliver_to_mbox(message, mbox_request(job));
  if (result.outcome == MailboxOutcome::kDelivered && !job.biff_user.empty()) {
    tell_biff(job.biff_user, result.offset);
  }
  return reply_of(job, std::move(result));
}

void serve_jobs(int socket) { Threads(socket).run(); }

}  // namespace postern::agent
