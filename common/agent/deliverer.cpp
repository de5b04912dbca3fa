#include "common/agent/deliverer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "common/agent/maildir.h"
#include "common/agent/mbox.h"
#include "common/agent/packet.h"

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

// Batches of Maildir deliveries under way at once: while one waits for the disk, the next gathers.
constexpr unsigned kBatches = 2;
constexpr std::size_t kMaxBatch = 64;

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
  struct Work {
    Job job;
    sys::Fd message;
  };

  void work() {
    for (;;) {
      {
        const std::lock_guard lock(mutex_);
        ++idle_;
      }
      auto first = take(wait_packet(socket_, kMaxPacket));
      const bool is_batch = first && first->job.kind == JobKind::kMaildir;
      {
        const std::lock_guard lock(mutex_);
        --idle_;
        if (!first) return;
        if (is_batch) ++batches_;
        // A mailbox whose lock is held by somebody must not hold up the others.
        const bool is_help_wanted = !is_batch || batches_ < kBatches;
        if (idle_ == 0 && is_help_wanted && threads_.size() + 1 < kDelivererThreads) {
          threads_.emplace_back([this] { work(); });
        }
      }
      const bool is_going_on = is_batch ? run_batch(*std::move(first)) : run_one(*first);
      if (is_batch) {
        const std::lock_guard lock(mutex_);
        --batches_;
      }
      if (!is_going_on) return;
    }
  }

  static std::optional<Work> take(std::optional<Packet> packet) {
    if (!packet) return std::nullopt;
    auto job = ipc::decode<Job>(packet->bytes);
    if (!job) return std::nullopt;
    return Work{*std::move(job), packet->fds.empty() ? sys::Fd() : std::move(packet->fds.front())};
  }

  bool run_one(Work& work) {
    sys::Fd opened;
    const JobReply reply = do_job(work.job, work.message.get(), &opened);
    work.message.reset();
    return send_packet(socket_, ipc::encode(reply), opened.get());
  }

  // All Maildir deliveries that wait are written, then flushed: the first flush makes the file
  // system commit what the others have written as well, and one flush of a directory serves all.
  bool run_batch(Work first) {
    std::vector<Work> batch;
    std::optional<Work> other;
    batch.push_back(std::move(first));
    while (batch.size() < kMaxBatch) {
      auto next = take(next_packet(socket_, kMaxPacket));
      if (!next) break;
      if (next->job.kind != JobKind::kMaildir) {
        other = std::move(next);
        break;
      }
      batch.push_back(*std::move(next));
    }
    std::vector<std::unique_ptr<MaildirDelivery>> deliveries(batch.size());
    std::vector<std::optional<MailboxResult>> results(batch.size());
    for (std::size_t i = 0; i < batch.size(); ++i) {
      deliveries[i] = std::make_unique<MaildirDelivery>(maildir_request(batch[i].job));
      results[i] = batch[i].message
                       ? deliveries[i]->write(message_of(batch[i].job, batch[i].message.get()))
                       : MailboxResult{.status = "4.3.0", .text = "no message came with the job"};
    }
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (!results[i]) results[i] = deliveries[i]->publish();
    }
    std::map<std::string, int> flushed;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (results[i]) continue;
      const auto [place, is_new] = flushed.try_emplace(deliveries[i]->path(), 0);
      if (is_new) place->second = deliveries[i]->flush_new();
      results[i] = deliveries[i]->finish(place->second);
    }
    bool is_good = true;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      batch[i].message.reset();
      const JobReply reply = maildir_reply(batch[i].job, *std::move(results[i]));
      is_good = is_good && send_packet(socket_, ipc::encode(reply));
    }
    if (other) is_good = is_good && run_one(*other);
    return is_good;
  }

  const int socket_;
  std::mutex mutex_;
  unsigned idle_ = 0;
  unsigned batches_ = 0;
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
  const MailboxMessage message = message_of(job, fd);
  if (job.kind == JobKind::kMaildir) {
    return maildir_reply(job, deliver_to_maildir(message, maildir_request(job)));
  }
  return reply_of(job, deliver_to_mbox(message, mbox_request(job)));
}

void serve_jobs(int socket) { Threads(socket).run(); }

}  // namespace postern::agent
