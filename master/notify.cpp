#include "master/notify.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <cstdlib>
#include <cstring>

#include "common/sys/fd.h"

namespace postern::master {

void tell_init(std::string_view state) {
  const char* const path = ::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (path[0] != '/' && path[0] != '@')) return;
  sockaddr_un address{};
  const std::size_t size = std::strlen(path);
  if (size >= sizeof address.sun_path) return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path, size);
  if (path[0] == '@') address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size);
  const sys::Fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return;
  const void* const target = &address;
  (void)::sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL,
                 static_cast<const sockaddr*>(target), length);
}

void tell_init_reloading() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  tell_init(fmt::format("RELOADING=1\nMONOTONIC_USEC={}",
                        std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000));
}

}  // namespace postern::master
