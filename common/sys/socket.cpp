#include "common/sys/socket.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cassert>

namespace postern::sys {

namespace {

const sockaddr_in& as_v4(const SocketAddress& a) {
  return *static_cast<const sockaddr_in*>(static_cast<const void*>(&a.storage));
}
const sockaddr_in6& as_v6(const SocketAddress& a) {
  return *static_cast<const sockaddr_in6*>(static_cast<const void*>(&a.storage));
}

Result<Fd> open_socket(int family, int type) {
  Fd fd(::socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("socket");
  return fd;
}

// Replaces a socket that an earlier run left; anything else of that name is not ours to remove.
Result<void> clear_path(std::string_view path) {
  struct stat st{};
  const std::string name(path);
  if (::lstat(name.c_str(), &st) < 0) return {};
  if (!S_ISSOCK(st.st_mode)) return fail_temporary(fmt::format("{}: not a socket", path));
  if (::unlink(name.c_str()) < 0) return fail_errno(fmt::format("remove {}", path));
  return {};
}

Result<Fd> bind_unix(std::string_view path, unsigned mode, int type) {
  TRY(const SocketAddress address, unix_address(path));
  TRY(Fd fd, open_socket(AF_UNIX, type));
  DO(clear_path(path));
  if (::bind(fd.get(), address.get(), address.length) < 0) {
    return fail_errno(fmt::format("bind {}", path));
  }
  if (::chmod(std::string(path).c_str(), mode) < 0)
    return fail_errno(fmt::format("chmod {}", path));
  return fd;
}

}  // namespace

std::string SocketAddress::host() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (family() == AF_INET) {
    ::inet_ntop(AF_INET, &as_v4(*this).sin_addr, text.data(), text.size());
    return text.data();
  }
  if (family() != AF_INET6) return "local";
  const in6_addr& v6 = as_v6(*this).sin6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&v6)) {
    ::inet_ntop(AF_INET, &v6.s6_addr[12], text.data(), text.size());
  } else {
    ::inet_ntop(AF_INET6, &v6, text.data(), text.size());
  }
  return text.data();
}

std::uint16_t SocketAddress::port() const {
  if (family() == AF_INET) return ntohs(as_v4(*this).sin_port);
  if (family() == AF_INET6) return ntohs(as_v6(*this).sin6_port);
  return 0;
}

Result<SocketAddress> parse_address(std::string_view host, std::uint16_t port) {
  SocketAddress address;
  const std::string text(host);
  auto* v4 = static_cast<sockaddr_in*>(static_cast<void*>(&address.storage));
  auto* v6 = static_cast<sockaddr_in6*>(static_cast<void*>(&address.storage));
  if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    address.length = sizeof(sockaddr_in);
    return address;
  }
  address.storage = {};
  if (::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    address.length = sizeof(sockaddr_in6);
    return address;
  }
  return fail_temporary(fmt::format("{}: not an IP address", host));
}

Result<SocketAddress> unix_address(std::string_view path) {
  SocketAddress address;
  auto* un = static_cast<sockaddr_un*>(static_cast<void*>(&address.storage));
  if (path.empty() || path.size() >= sizeof un->sun_path) {
    return fail_temporary(fmt::format("{}: socket path is empty or too long", path));
  }
  un->sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), un->sun_path);
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return address;
}

Result<Fd> listen_inet(const SocketAddress& address, int backlog) {
  TRY(Fd fd, open_socket(address.family(), SOCK_STREAM));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.family() == AF_INET6) {
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  }
  const std::string where = fmt::format("{} port {}", address.host(), address.port());
  if (::bind(fd.get(), address.get(), address.length) < 0) {
    return fail_errno(fmt::format("bind {}", where));
  }
  if (::listen(fd.get(), backlog) < 0) return fail_errno(fmt::format("listen {}", where));
  return fd;
}

Result<Fd> listen_unix(std::string_view path, unsigned mode, int backlog) {
  TRY(Fd fd, bind_unix(path, mode, SOCK_STREAM));
  if (::listen(fd.get(), backlog) < 0) return fail_errno(fmt::format("listen {}", path));
  return fd;
}

Result<Fd> bind_unix_datagram(std::string_view path, unsigned mode) {
  return bind_unix(path, mode, SOCK_DGRAM);
}

Result<Fd> connect_unix(std::string_view path) {
  TRY(const SocketAddress address, unix_address(path));
  TRY(Fd fd, open_socket(AF_UNIX, SOCK_STREAM));
  if (::connect(fd.get(), address.get(), address.length) < 0) {
    return fail_errno(fmt::format("connect to {}", path));
  }
  return fd;
}

Result<Fd> stream_socket(int family) { return open_socket(family, SOCK_STREAM); }

Result<FdPair> socket_pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
    return fail_errno("socketpair");
  }
  return FdPair{Fd(fds[0]), Fd(fds[1])};
}

Result<Accepted> accept_connection(int listener) {
  Accepted accepted;
  accepted.peer.length = sizeof accepted.peer.storage;
  const int fd =
      ::accept4(listener, accepted.peer.get(), &accepted.peer.length, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd >= 0) {
    accepted.fd.reset(fd);
    return accepted;
  }
  switch (errno) {
    case EAGAIN:
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EPERM:
      return Accepted{};
    default:
      return fail_errno("accept");
  }
}

Result<SocketAddress> local_address(int fd) {
  SocketAddress address;
  address.length = sizeof address.storage;
  if (::getsockname(fd, address.get(), &address.length) < 0) return fail_errno("getsockname");
  return address;
}

pid_t peer_process(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}

std::optional<uid_t> peer_user(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
  return peer.uid;
}

std::optional<gid_t> peer_group(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
  return peer.gid;
}

Result<SocketAddress> peer_address(int fd) {
  SocketAddress address;
  address.length = sizeof address.storage;
  if (::getpeername(fd, address.get(), &address.length) < 0) return fail_errno("getpeername");
  return address;
}

ssize_t send_with_fds(int socket, std::span<const std::string_view> parts,
                      std::span<const int> fds) {
  constexpr std::size_t kMaxParts = 64;
  std::array<iovec, kMaxParts> vectors{};
  const std::size_t count = std::min(parts.size(), kMaxParts);
  for (std::size_t i = 0; i < count; ++i) {
    vectors[i] = {const_cast<char*>(parts[i].data()), parts[i].size()};
  }
  msghdr message{};
  message.msg_iov = vectors.data();
  message.msg_iovlen = count;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxFdsPerMessage)> control{};
  if (!fds.empty()) {
    assert(fds.size() <= kMaxFdsPerMessage);
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  return ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

ssize_t receive_with_fds(int socket, char* buffer, std::size_t size, std::vector<Fd>& fds) {
  iovec vector{buffer, size};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxFdsPerMessage)> control;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t count = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (count < 0) return count;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t received = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < received; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return count;
}

}  // namespace postern::sys
