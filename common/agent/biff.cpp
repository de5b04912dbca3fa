#include "common/agent/biff.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <string>

#include "common/sys/fd.h"

namespace postern::agent {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint16_t kPort = 512;
constexpr std::chrono::seconds kSilence{60};

sys::Fd open_socket() {
  sys::Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(kPort);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto* const generic = static_cast<const sockaddr*>(static_cast<const void*>(&address));
  if (fd && ::connect(fd.get(), generic, sizeof address) < 0) fd.reset();
  return fd;
}

// False where nobody listens, or nothing can be sent.
bool send_to(int fd, std::string_view text) {
  if (::send(fd, text.data(), text.size(), MSG_NOSIGNAL) < 0) return errno == EAGAIN;
  // On this machine the answer that nobody is there has come already.
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

}  // namespace

void tell_biff(std::string_view user, std::uint64_t offset) {
  static std::atomic<Clock::time_point> silent_until{Clock::time_point{}};
  static std::mutex mutex;
  static sys::Fd socket;
  if (Clock::now() < silent_until.load()) return;
  std::string text = fmt::format("{}@{}", user, offset);
  text += '\0';
  const std::lock_guard lock(mutex);
  if (!socket) socket = open_socket();
  if (socket && send_to(socket.get(), text)) return;
  socket.reset();
  silent_until = Clock::now() + kSilence;
}

}  // namespace postern::agent
