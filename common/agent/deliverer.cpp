#include "common/agent/deliverer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mutex>
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
  void work() {
    for (;;) {
      {
        const std::lock_guard lock(mutex_);
        ++idle_;
      }
      auto packet = wait_packet(socket_, kMaxPacket);
      {
        const std::lock_guard lock(mutex_);
        --idle_;
        if (!packet) return;
        if (idle_ == 0 && threads_.size() + 1 < kDelivererThreads) {
          threads_.emplace_back([this] { work(); });
        }
      }
      auto job = ipc::decode<Job>(packet->bytes);
      if (!job) return;
      sys::Fd opened;
      const int fd = packet->fds.empty() ? -1 : packet->fds.front().get();
      const JobReply reply = do_job(*job, fd, &opened);
      packet->fds.clear();
      if (!send_packet(socket_, ipc::encode(reply), opened.get())) return;
    }
  }

  const int socket_;
  std::mutex mutex_;
  unsigned idle_ = 0;
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
  MailboxMessage message;
  message.fd = fd;
  message.header = {static_cast<std::uint64_t>(job.header_offset),
                    static_cast<std::uint64_t>(job.header_length)};
  message.body = {static_cast<std::uint64_t>(job.body_offset),
                  static_cast<std::uint64_t>(job.body_length)};
  message.prepended = job.prepended;
  MailboxResult result;
  if (job.kind == JobKind::kMaildir) {
    result = deliver_to_maildir(
        message,
        {.path = job.path, .host = job.host, .limit = static_cast<std::uint64_t>(job.limit)});
    if (result.outcome != MailboxOutcome::kDelivered) {
      result.text.insert(0, job.failure_prefix);
    } else if (!job.success_text.empty()) {
      result.text = job.success_text;
    }
  } else {
    result = deliver_to_mbox(message, mbox_request(job));
  }
  reply.outcome = outcome_of(result.outcome);
  reply.status = result.status;
  reply.text = result.text;
  reply.warning = result.warning;
  return reply;
}

void serve_jobs(int socket) { Threads(socket).run(); }

}  // namespace postern::agent
