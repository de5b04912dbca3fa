#include "common/agent/deliverers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>

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
constexpr unsigned kMaxUnderWay = 128;
// Longer than all lock attempts of any sane configuration.
constexpr std::chrono::seconds kJobTime{900};
constexpr std::chrono::seconds kBrokerTime{60};

}  // namespace

// The connection to one deliverer.
class Deliverers::Deliverer : public std::enable_shared_from_this<Deliverer> {
 public:
  explicit Deliverer(sys::Fd socket) : socket_(std::move(socket)), watch_(socket_.get()) {}

  void start() { loop::spawn(read_replies()); }
  void close() {
    is_open_ = false;
    watch_.cancel_waits();
  }
  [[nodiscard]] bool is_open() const { return is_open_; }
  [[nodiscard]] bool is_idle() const { return users_ == 0; }
  [[nodiscard]] loop::TimePoint idle_since() const { return idle_since_; }

  [[nodiscard]] loop::Task<Result<JobReply>> run(Job job, int fd, sys::Fd* opened) {
    ++users_;
    const auto deadline = loop::Clock::now() + kJobTime + job.time_limit;
    Result<JobReply> result = fail_temporary("deliverer does not answer");
    while (under_way_ >= kMaxUnderWay && is_open_) {
      const loop::Wait wait = co_await changed_.wait(deadline);
      if (wait != loop::Wait::kReady) break;
    }
    if (is_open_ && under_way_ < kMaxUnderWay) {
      ++under_way_;
      result = co_await exchange(std::move(job), fd, opened, deadline);
      --under_way_;
      changed_.notify_one();
    }
    --users_;
    idle_since_ = loop::Clock::now();
    co_return result;
  }

 private:
  struct Waiting {
    loop::Condition answered;
    std::optional<JobReply> reply;
    sys::Fd fd;
  };

  [[nodiscard]] loop::Task<Result<JobReply>> exchange(Job job, int fd, sys::Fd* opened,
                                                      loop::Deadline deadline) {
    const auto waiting = std::make_shared<Waiting>();
    const std::int64_t id = job.id;
    const std::string bytes = ipc::encode(job);
    if (bytes.size() > kMaxPacket) co_return fail_temporary("delivery job is too large");
    waiting_[id] = waiting;
    for (;;) {
      const std::array<std::string_view, 1> parts = {bytes};
      const std::array<int, 1> fds = {fd};
      const ssize_t sent = sys::send_with_fds(
          socket_.get(), parts, fd < 0 ? std::span<const int>{} : std::span<const int>(fds));
      if (sent >= 0) break;
      if (errno == EINTR) continue;
      loop::Wait wait = loop::Wait::kCancelled;
      if (errno == EAGAIN && is_open_) {
        watch_.clear_write();
        // One coroutine at a time may wait to write; the others look again a little later.
        if (is_writing_) {
          co_await loop::sleep_for(std::chrono::milliseconds(2));
          continue;
        }
        is_writing_ = true;
        wait = co_await watch_.writable(deadline);
        is_writing_ = false;
      }
      if (wait != loop::Wait::kReady) {
        waiting_.erase(id);
        co_return fail_temporary("deliverer has ended");
      }
    }
    while (!waiting->reply && is_open_) {
      const loop::Wait wait = co_await waiting->answered.wait(deadline);
      if (wait == loop::Wait::kTimeout) break;
    }
    waiting_.erase(id);
    if (!waiting->reply) co_return fail_temporary("deliverer has ended or hangs");
    if (opened != nullptr) *opened = std::move(waiting->fd);
    co_return std::move(*waiting->reply);
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
      auto reply =
          ipc::decode<JobReply>(std::string_view(buffer.data(), static_cast<std::size_t>(count)));
      if (!reply) break;
      const auto found = waiting_.find(reply->id);
      if (found == waiting_.end()) continue;  // its caller gave up
      const auto waiting = found->second;
      waiting->reply = *std::move(reply);
      if (!fds.empty()) waiting->fd = std::move(fds.front());
      waiting->answered.notify_all();
    }
    is_open_ = false;
    for (auto& [id, waiting] : waiting_) waiting->answered.notify_all();
    changed_.notify_all();
    watch_.close();
    socket_.reset();
  }

  sys::Fd socket_;
  loop::FdWatch watch_;
  bool is_open_ = true;
  bool is_writing_ = false;
  unsigned users_ = 0;
  unsigned under_way_ = 0;
  loop::TimePoint idle_since_ = loop::Clock::now();
  std::unordered_map<std::int64_t, std::shared_ptr<Waiting>> waiting_;
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
  const bool is_exclusive = job.kind == JobKind::kMbox || is_command;
  const std::string path = is_command ? fmt::format("|{} {}", who.uid, job.line) : job.path;
  if (is_exclusive) {
    while (busy_files_.contains(path)) co_await file_free_.wait(loop::kNever);
    busy_files_.insert(path);
  }
  Result<JobReply> result = fail_temporary("not done");
  const auto deliverer = co_await find(std::move(who));
  if (deliverer) {
    result = co_await (*deliverer)->run(std::move(job), message_fd, opened);
  } else {
    result = std::unexpected(deliverer.error());
  }
  if (is_exclusive) {
    busy_files_.erase(path);
    file_free_.notify_all();
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

}  // namespace postern::agent
