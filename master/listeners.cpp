#include "master/listeners.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "common/sys/act_as.h"
#include "common/sys/socket.h"

namespace postern::master {

namespace {

// Who may connect is decided by the directory.
constexpr unsigned kSocketMode = 0666;

Result<sys::Fd> open_fifo(const std::string& path) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) == 0 && !S_ISFIFO(status.st_mode)) {
    if (::unlink(path.c_str()) != 0) return sys::fail_errno(fmt::format("remove {}", path));
  }
  if (::mkfifo(path.c_str(), 0622) != 0 && errno != EEXIST) {
    return sys::fail_errno(fmt::format("make {}", path));
  }
  // For both: a fifo without writers would be at its end for ever.
  sys::Fd fd(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return sys::fail_errno(fmt::format("open {}", path));
  return fd;
}

void make_parents(const std::string& path) {
  for (std::size_t at = path.find('/'); at != std::string::npos; at = path.find('/', at + 1)) {
    ::mkdir(path.substr(0, at).c_str(), 0700);
  }
}

}  // namespace

Result<sys::Fd> open_listener(const Endpoint& endpoint, const sys::Account& owner) {
  if (endpoint.kind == EndpointKind::kInet) {
    TRY(const sys::SocketAddress address, sys::parse_address(endpoint.host, endpoint.port));
    return sys::listen_inet(address, SOMAXCONN);
  }
  const sys::ActAs as_owner(owner);
  make_parents(endpoint.path);
  switch (endpoint.kind) {
    case EndpointKind::kDatagram:
      return sys::bind_unix_datagram(endpoint.path, kSocketMode);
    case EndpointKind::kFifo:
      return open_fifo(endpoint.path);
    default:
      break;
  }
  // What an old fifo of that name waits for will never come.
  struct stat status{};
  if (::lstat(endpoint.path.c_str(), &status) == 0 && S_ISFIFO(status.st_mode)) {
    ::unlink(endpoint.path.c_str());
  }
  return sys::listen_unix(endpoint.path, kSocketMode, SOMAXCONN);
}

void remove_listener(const Endpoint& endpoint, const sys::Account& owner) {
  if (endpoint.kind == EndpointKind::kInet) return;
  const sys::ActAs as_owner(owner);
  ::unlink(endpoint.path.c_str());
}

bool is_address_in_use(const Error& error) {
  return error.text.ends_with(sys::errno_text(EADDRINUSE));
}

}  // namespace postern::master
