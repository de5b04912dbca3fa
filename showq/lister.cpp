#include "showq/lister.h"

#include "common/log/log.h"
#include "common/loop/stream.h"
#include "common/queuefile/listing.h"
#include "common/sys/socket.h"

namespace postern::showq {

namespace {

// Listings at once: each is a reader of the whole queue.
constexpr unsigned kMaxClients = 20;
// So much is read from the disk before it is sent.
constexpr std::size_t kPiece = std::size_t{64} << 10;
constexpr std::chrono::seconds kClientTime{60};

}  // namespace

Lister::Lister(daemon::Process& process, queuefile::QueueDirs dirs)
    : process_(process),
      dirs_(std::move(dirs)),
      listener_(process.take_listener()),
      doorkeeper_(process.clients()),
      pool_(2) {}

Lister::~Lister() {
  if (watching_) loop::Loop::current().unwatch(listener_.get(), *this);
}

void Lister::start() {
  process_.on_drain([this] {
    if (watching_) loop::Loop::current().unwatch(listener_.get(), *this);
    watching_ = false;
    listener_.reset();
    if (clients_ == 0) process_.finish();
  });
  loop::Loop::current().watch_level(listener_.get(), *this);
  watching_ = true;
}

void Lister::on_events(std::uint32_t /*events*/) {
  while (clients_ < kMaxClients) {
    auto accepted = sys::accept_connection(listener_.get());
    if (!accepted || !accepted->fd) return;
    if (!doorkeeper_.lets_in(accepted->fd.get())) continue;
    loop::spawn(serve(std::move(accepted->fd)));
  }
  loop::Loop::current().unwatch(listener_.get(), *this);
  watching_ = false;
}

loop::Task<void> Lister::serve(sys::Fd client) {
  ++clients_;
  loop::Stream stream(std::move(client));
  std::string piece;
  queuefile::append_stream_start(piece);
  bool is_there = true;
  for (const auto queue : queuefile::kListedQueues) {
    auto walk = dirs_.scan(queue);
    for (bool more = true; more && is_there;) {
      // Directories and files are read where that may block.
      more = co_await pool_.run([&]() -> bool {
        while (piece.size() < kPiece) {
          const auto entry = walk.next();
          if (!entry) continue;  // one directory that cannot be read
          if (!*entry) return false;
          if (const auto message = queuefile::list_message(dirs_, queue, **entry)) {
            queuefile::append_to_stream(piece, *message);
          }
        }
        return true;
      });
      const auto sent = co_await stream.write(piece, loop::Clock::now() + kClientTime);
      is_there = sent == loop::Io::kOk;
      piece.clear();
    }
  }
  queuefile::append_stream_end(piece);
  if (is_there) (void)co_await stream.write(piece, loop::Clock::now() + kClientTime);
  --clients_;
  if (process_.is_draining()) {
    if (clients_ == 0) process_.finish();
  } else if (!watching_) {
    loop::Loop::current().watch_level(listener_.get(), *this);
    watching_ = true;
  }
}

}  // namespace postern::showq
