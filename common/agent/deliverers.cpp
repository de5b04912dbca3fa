#include "common/agent/deliverers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>

#include "common/agent/deliverer.h"
#include "common/agent/packet.h"
#include "common/base/scratch.h"
#include "common/log/log.h"
#include "common/sys/socket.h"

namespace postern::agent {

namespace {

// Deliverers that one process keeps; an idle one takes half a megabyte.
constexpr std::size_t kMaxDeliverers = 50;
constexpr std::chrono::seconds kIdleTime{60};
// Jobs that one deliverer has: what is more than its threads waits in the socket, and is taken in
// batches.
constexpr unsigned kMaxUnderWay = 2 * kMaxBatch;
// Of one packet.
constexpr std::size_t kMaxJobs = kMaxBatch;
constexpr std::size_t kMaxMessages = sys::kMaxFdsPerMessage;
// A job, or several with what they take beside.
constexpr std::size_t kJobOverhead = 16;
constexpr std::size_t kMaxJob = kMaxPacket - std::size_t{2} * kJobOverhead;
// Longer than all lock attempts of any sane configuration.
constexpr std::chrono::seconds kJobTime{900};
constexpr std::chrono::seconds kBrokerTime{60};

}  // namespace

// The connection to one deliverer.
class Deliverers::Deliverer final : public std::enable_shared_from_this<Deliverer>, loop::TurnEnd {
 public:
  explicit Deliverer(sys::Fd socket) : socket_(std::move(socket)), watch_(socket_.get()) {}
  ~Deliverer() { loop::Loop::current().forget(*this); }
  Deliverer(const Deliverer&) = delete;
  Deliverer& operator=(const Deliverer&) = delete;

  void start() { loop::spawn(read_replies()); }
  void close() {
    is_open_ = false;
    watch_.cancel_waits();
  }
  [[nodiscard]] bool is_open() const { return is_open_; }
  [[nodiscard]] bool is_idle() const { return users_ == 0; }
  [[nodiscard]] loop::TimePoint idle_since() const { return idle_since_; }

  // A job, encoded: many wait at once, and what a Job has members for is mostly empty.
  struct Unsent {
    std::int64_t id = 0;
    bool may_share = false;  // its packet
    std::string bytes;
    int fd = -1;
  };

  [[nodiscard]] loop::Task<Result<JobReply>> run(Unsent job, std::chrono::seconds time_limit,
                                                 sys::Fd* opened) {
    ++users_;
    const auto deadline = loop::Clock::now() + kJobTime + time_limit;
    Result<JobReply> result = fail_temporary("deliverer does not answer");
    while (under_way_ >= kMaxUnderWay && is_open_) {
      const loop::Wait wait = co_await changed_.wait(deadline);
      if (wait != loop::Wait::kReady) break;
    }
    if (is_open_ && under_way_ < kMaxUnderWay) {
      ++under_way_;
      result = co_await exchange(std::move(job), opened, deadline);
      --under_way_;
      changed_.notify_one();
    }
    --users_;
    idle_since_ = loop::Clock::now();
    co_return result;
  }

 private:
  struct Arrived {
    JobReply reply;
    sys::Fd fd;
  };
  // Who waits for the reply to one job.
  class ReplyAwaiter final : public loop::Timer {
   public:
    ReplyAwaiter(Deliverer& deliverer, std::int64_t id, loop::Deadline deadline)
        : deliverer_(deliverer), id_(id), deadline_(deadline) {}
    [[nodiscard]] bool await_ready() const noexcept { return !deliverer_.is_open_; }
    void await_suspend(std::coroutine_handle<> handle) {
      handle_ = handle;
      deliverer_.waiting_[id_] = this;
      arm(deadline_);
    }
    // Nothing: the deliverer has ended, or the time is over.
    [[nodiscard]] std::optional<Arrived> await_resume() { return std::move(arrived_); }

    void finish(std::optional<Arrived> arrived) {
      disarm();
      deliverer_.waiting_.erase(id_);
      arrived_ = std::move(arrived);
      loop::Loop::current().post(handle_);
    }

   private:
    void on_timer() override { finish(std::nullopt); }
    Deliverer& deliverer_;
    std::int64_t id_;
    loop::Deadline deadline_;
    std::coroutine_handle<> handle_;
    std::optional<Arrived> arrived_;
  };

  [[nodiscard]] loop::Task<Result<JobReply>> exchange(Unsent job, sys::Fd* opened,
                                                      loop::Deadline deadline) {
    const std::int64_t id = job.id;
    if (job.bytes.size() > kMaxJob) co_return fail_temporary("delivery job is too large");
    unsent_.push_back(std::move(job));
    loop::Loop::current().schedule(*this, loop::Loop::Order::kFrames);
    // What nobody waits for any more is not sent: its descriptor may be another's by then.
    ReplyAwaiter awaiter(*this, id, deadline);
    std::optional<Arrived> arrived = co_await awaiter;
    if (!arrived) co_return fail_temporary("deliverer has ended or hangs");
    if (opened != nullptr) *opened = std::move(arrived->fd);
    co_return std::move(arrived->reply);
  }

  void on_turn_end() override { send_unsent(); }

  // As many jobs as fit into one packet, and how many of unsent_ they are.
  struct Outgoing {
    JobPacket packet;
    std::vector<int> fds;
    std::size_t count = 0;
  };
  [[nodiscard]] Outgoing next_packet_of_jobs() const {
    Outgoing out;
    std::size_t size = 0;
    for (const Unsent& unsent : unsent_) {
      const bool is_wanted = waiting_.contains(unsent.id);
      if (is_wanted && !out.packet.jobs.empty()) {
        const bool is_full = size + unsent.bytes.size() > kMaxJob ||
                             out.packet.jobs.size() == kMaxJobs || out.fds.size() == kMaxMessages;
        if (is_full || !unsent.may_share) break;
      }
      ++out.count;
      if (!is_wanted) continue;
      std::int64_t message = 0;
      if (unsent.fd >= 0) {
        auto place = std::ranges::find(out.fds, unsent.fd);
        if (place == out.fds.end()) place = out.fds.insert(place, unsent.fd);
        message = place - out.fds.begin() + 1;
      }
      size += unsent.bytes.size() + kJobOverhead;
      out.packet.jobs.push_back(unsent.bytes);
      out.packet.messages.push_back(message);
      if (!unsent.may_share) break;
    }
    return out;
  }

  void send_unsent() {
    while (is_open_ && !unsent_.empty()) {
      const Outgoing out = next_packet_of_jobs();
      if (!out.packet.jobs.empty()) {
        const std::string bytes = ipc::encode(out.packet);
        const std::array<std::string_view, 1> parts = {bytes};
        const ssize_t sent = sys::send_with_fds(socket_.get(), parts, out.fds);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno == EAGAIN) {
          watch_.clear_write();
          if (!is_writing_) loop::spawn(send_later());
          return;
        }
        if (sent < 0) return close();
      }
      unsent_.erase(unsent_.begin(), unsent_.begin() + static_cast<std::ptrdiff_t>(out.count));
    }
  }

  loop::Task<void> send_later() {
    const auto self = shared_from_this();
    is_writing_ = true;
    const loop::Wait wait = co_await watch_.writable(loop::kNever);
    is_writing_ = false;
    if (wait == loop::Wait::kReady) send_unsent();
  }

  loop::Task<void> read_replies() {
    const auto self = shared_from_this();
    const auto buffer = scratch<Packet, kMaxPacket>();
    while (is_open_) {
      const loop::Wait wait = co_await watch_.readable(loop::kNever);
      if (wait != loop::Wait::kReady) break;
      std::vector<sys::Fd> fds;
      const ssize_t count = sys::receive_with_fds(socket_.get(), buffer.data(), buffer.size(), fds);
      if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        watch_.clear_read();
        continue;
      }
      if (count <= 0) break;
      auto packet =
          ipc::decode<JobReplies>(std::string_view(buffer.data(), static_cast<std::size_t>(count)));
      if (!packet) break;
      for (JobReply& reply : packet->replies) take(std::move(reply), fds);
    }
    is_open_ = false;
    while (!waiting_.empty()) waiting_.begin()->second->finish(std::nullopt);
    changed_.notify_all();
    watch_.close();
    socket_.reset();
  }

  void take(JobReply reply, std::vector<sys::Fd>& fds) {
    const auto found = waiting_.find(reply.id);
    if (found == waiting_.end()) return;  // its caller gave up
    found->second->finish(
        Arrived{std::move(reply), fds.empty() ? sys::Fd() : std::move(fds.front())});
  }

  sys::Fd socket_;
  loop::FdWatch watch_;
  bool is_open_ = true;
  bool is_writing_ = false;
  unsigned users_ = 0;
  unsigned under_way_ = 0;
  loop::TimePoint idle_since_ = loop::Clock::now();
  std::unordered_map<std::int64_t, ReplyAwaiter*> waiting_;
  std::deque<Unsent> unsent_;
  loop::Condition changed_;
};

Deliverers::Deliverers(sys::Fd broker)
    : broker_(std::move(broker)),
      broker_watch_(broker_.get()),
      idle_timer_([this] { end_idle(); }) {
  idle_timer_.arm(loop::Clock::now() + kIdleTime);
}

Deliverers::~Deliverers() {
  for (auto& [who, deliverer] : deliverers_) deliverer->close();
}

void Deliverers::end_idle() {
  const auto now = loop::Clock::now();
  std::erase_if(deliverers_, [&](auto& entry) {
    Deliverer& deliverer = *entry.second;
    const bool is_over =
        deliverer.is_idle() && (!deliverer.is_open() || now - deliverer.idle_since() > kIdleTime);
    if (is_over) deliverer.close();
    return is_over;
  });
  idle_timer_.arm(now + kIdleTime);
}

// Ends the deliverer that was idle longest when there are too many.
void Deliverers::make_room() {
  if (deliverers_.size() < kMaxDeliverers) return;
  auto oldest = deliverers_.end();
  for (auto place = deliverers_.begin(); place != deliverers_.end(); ++place) {
    if (!place->second->is_idle()) continue;
    if (oldest == deliverers_.end() || place->second->idle_since() < oldest->second->idle_since()) {
      oldest = place;
    }
  }
  if (oldest == deliverers_.end()) return;  // all at work: as many as qmgr gave us deliveries
  oldest->second->close();
  deliverers_.erase(oldest);
}

loop::Task<Result<Deliverers::BrokerAnswer>> Deliverers::ask_broker(BrokerRequest request) {
  const auto deadline = loop::Clock::now() + kBrokerTime;
  while (broker_busy_) {
    const loop::Wait wait = co_await broker_free_.wait(deadline);
    if (wait != loop::Wait::kReady) co_return fail_temporary("broker is busy");
  }
  broker_busy_ = true;
  Result<BrokerAnswer> result = fail_temporary("broker does not answer");
  const std::string bytes = ipc::encode(request);
  const std::array<std::string_view, 1> parts = {bytes};
  if (sys::send_with_fds(broker_.get(), parts, {}) >= 0) {
    const auto buffer = scratch<Packet, kMaxPacket>();
    for (;;) {
      std::vector<sys::Fd> fds;
      const ssize_t count = sys::receive_with_fds(broker_.get(), buffer.data(), buffer.size(), fds);
      if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        broker_watch_.clear_read();
        const loop::Wait wait = co_await broker_watch_.readable(deadline);
        if (wait == loop::Wait::kReady) continue;
        // Its answer would be taken for the next one's.
        broker_watch_.close();
        broker_.reset();
        break;
      }
      if (count <= 0) break;
      auto reply = ipc::decode<BrokerReply>(
          std::string_view(buffer.data(), static_cast<std::size_t>(count)));
      if (!reply) break;
      result = BrokerAnswer{*std::move(reply), fds.empty() ? sys::Fd() : std::move(fds.front())};
      break;
    }
  }
  // Without it nothing can be delivered any more. What is under way is repeated by qmgr.
  if (!result) log::fatal("the broker of this process has ended; master starts both again");
  broker_busy_ = false;
  broker_free_.notify_one();
  co_return result;
}

loop::Task<Result<Deliverers::DelivererPtr>> Deliverers::find(Identity who) {
  for (;;) {
    const auto place = deliverers_.find(who);
    if (place != deliverers_.end() && place->second->is_open()) co_return place->second;
    if (being_made_.insert(who).second) break;
    co_await made_.wait(loop::kNever);
  }
  auto made = co_await make(who);
  being_made_.erase(who);
  made_.notify_all();
  co_return made;
}

loop::Task<Result<Deliverers::DelivererPtr>> Deliverers::make(Identity who) {
  BrokerRequest request;
  request.action = BrokerAction::kSpawn;
  request.uid = who.uid;
  request.gid = who.gid;
  request.user = who.user;
  CO_TRY(BrokerAnswer answer, co_await ask_broker(std::move(request)));
  if (!answer.reply.is_done) co_return fail_temporary(answer.reply.error);
  if (!answer.fd) co_return fail_temporary("broker sent no deliverer");
  make_room();
  auto deliverer = std::make_shared<Deliverer>(std::move(answer.fd));
  deliverer->start();
  deliverers_[who] = deliverer;
  co_return deliverer;
}

loop::Task<Result<JobReply>> Deliverers::run(Identity who, Job job, int message_fd,
                                             sys::Fd* opened) {
  job.id = ++last_id_;
  // A user's command line is run for one message at a time: such commands are written with files
  // in mind, and few of them lock.
  const bool is_command = job.kind == JobKind::kCommand && !job.line.empty();
  loop::NamedLocks::Held held;
  if (is_command) held = co_await one_at_a_time_.take(fmt::format("|{} {}", who.uid, job.line));
  if (job.kind == JobKind::kMbox) held = co_await one_at_a_time_.take(job.path);
  Result<JobReply> result = fail_temporary("not done");
  const auto deliverer = co_await find(std::move(who));
  if (deliverer) {
    Deliverer::Unsent unsent{job.id, job.kind == JobKind::kMaildir, ipc::encode(job), message_fd};
    result = co_await (*deliverer)->run(std::move(unsent), job.time_limit, opened);
  } else {
    result = std::unexpected(deliverer.error());
  }
  co_return result;
}

loop::Task<Result<void>> Deliverers::make_mailbox(Identity who) {
  BrokerRequest request;
  request.action = BrokerAction::kMakeMailbox;
  request.uid = who.uid;
  request.gid = who.gid;
  request.user = who.user;
  CO_TRY(const BrokerAnswer answer, co_await ask_broker(std::move(request)));
  if (!answer.reply.is_done) co_return fail_temporary(answer.reply.error);
  co_return Result<void>{};
}

loop::Task<Result<sys::Fd>> Deliverers::open_root_forward(std::string user, std::string name) {
  BrokerRequest request;
  request.action = BrokerAction::kOpenRootForward;
  request.user = std::move(user);
  request.file = std::move(name);
  CO_TRY(BrokerAnswer answer, co_await ask_broker(std::move(request)));
  if (!answer.reply.is_done) co_return fail_temporary(answer.reply.error);
  co_return std::move(answer.fd);
}

}  // namespace postern::agent
