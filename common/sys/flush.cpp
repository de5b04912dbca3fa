#include "common/sys/flush.h"

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>

namespace postern::sys {

namespace {

int flush(int fd) { return ::fsync(fd) < 0 ? errno : 0; }

// The kernel's side of a thread's requests. It is made with the first of them.
class Context {
 public:
  Context() { is_open_ = ::syscall(SYS_io_setup, kMaxFlushes, &context_) == 0; }
  ~Context() {
    if (is_open_) ::syscall(SYS_io_destroy, context_);
  }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // How many of the first requests were taken.
  [[nodiscard]] std::size_t submit(std::span<iocb*> requests) const {
    if (!is_open_) return 0;
    const long count = ::syscall(SYS_io_submit, context_, requests.size(), requests.data());
    return count < 0 ? 0 : static_cast<std::size_t>(count);
  }

  // Waits until that many have ended; `take` is called with each.
  template <typename Take>
  void collect(std::size_t count, Take take) const {
    std::array<io_event, kMaxFlushes> events;
    while (count > 0) {
      const long got = ::syscall(SYS_io_getevents, context_, count, count, events.data(), nullptr);
      // Only a signal ends the wait early: what is under way cannot be left alone.
      assert(got > 0 || errno == EINTR);
      for (long i = 0; i < got; ++i) take(events[static_cast<std::size_t>(i)]);
      count -= static_cast<std::size_t>(std::max(got, 0L));
    }
  }

 private:
  aio_context_t context_ = 0;
  bool is_open_ = false;
};

}  // namespace

void flush_all(std::span<const int> fds, std::span<int> errors) {
  assert(fds.size() == errors.size() && fds.size() <= kMaxFlushes);
  std::size_t taken = 0;
  if (fds.size() > 1) {
    static thread_local const Context context;
    std::array<iocb, kMaxFlushes> requests{};
    std::array<iocb*, kMaxFlushes> list{};
    for (std::size_t i = 0; i < fds.size(); ++i) {
      requests[i].aio_lio_opcode = IOCB_CMD_FSYNC;
      requests[i].aio_fildes = static_cast<std::uint32_t>(fds[i]);
      requests[i].aio_data = i;
      list[i] = &requests[i];
    }
    taken = context.submit(std::span(list).first(fds.size()));
    context.collect(taken, [&](const io_event& event) {
      errors[event.data] = event.res < 0 ? static_cast<int>(-event.res) : 0;
    });
  }
  // A request that was refused says nothing of the file; the flush of it was not begun. With the
  // blocks of all of them allocated, the commit for the first is one for the others, too.
  for (std::size_t i = taken + 1; i < fds.size(); ++i) {
    ::sync_file_range(fds[i], 0, 0, SYNC_FILE_RANGE_WRITE);
  }
  for (std::size_t i = taken; i < fds.size(); ++i) errors[i] = flush(fds[i]);
}

}  // namespace postern::sys
