// socket.h - sockets, and descriptors that travel over them.

#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/sys/fd.h"

namespace postern::sys {

// An Internet or UNIX socket address.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  [[nodiscard]] const sockaddr* get() const {
    return static_cast<const sockaddr*>(static_cast<const void*>(&storage));
  }
  [[nodiscard]] sockaddr* get() { return static_cast<sockaddr*>(static_cast<void*>(&storage)); }
  [[nodiscard]] int family() const { return storage.ss_family; }
  // "192.0.2.1" or "2001:db8::1"; an IPv4 address mapped into IPv6 is shown as IPv4; "local" for
  // UNIX sockets.
  [[nodiscard]] std::string host() const;
  [[nodiscard]] std::uint16_t port() const;
};

// A numeric address ("192.0.2.1", "2001:db8::1") with a port; temporary error if it is neither.
[[nodiscard]] Result<SocketAddress> parse_address(std::string_view host, std::uint16_t port);
[[nodiscard]] Result<SocketAddress> unix_address(std::string_view path);

// All sockets here are close-on-exec and non-blocking.
[[nodiscard]] Result<Fd> listen_inet(const SocketAddress& address, int backlog);
[[nodiscard]] Result<Fd> listen_unix(std::string_view path, unsigned mode, int backlog);
[[nodiscard]] Result<Fd> bind_unix_datagram(std::string_view path, unsigned mode);
[[nodiscard]] Result<Fd> connect_unix(std::string_view path);
[[nodiscard]] Result<Fd> stream_socket(int family);
struct FdPair {
  Fd first, second;
};
[[nodiscard]] Result<FdPair> socket_pair();

struct Accepted {
  Fd fd;
  SocketAddress peer;
};
// Nothing waiting: an Accepted without descriptor. `errno` conditions of one connection that died
// in the queue count as nothing waiting, too.
[[nodiscard]] Result<Accepted> accept_connection(int listener);
[[nodiscard]] Result<SocketAddress> local_address(int fd);
[[nodiscard]] Result<SocketAddress> peer_address(int fd);

// Who connected to a UNIX socket; 0 when the kernel does not say.
[[nodiscard]] pid_t peer_process(int fd);
// Whose rights it had when it connected; nothing when that is not known.
[[nodiscard]] std::optional<uid_t> peer_user(int fd);
// The group that it had then.
[[nodiscard]] std::optional<gid_t> peer_group(int fd);

// At most this many descriptors travel with one sendmsg (the kernel's SCM_MAX_FD is 253).
inline constexpr std::size_t kMaxFdsPerMessage = 64;

// sendmsg/recvmsg without waiting. Return bytes moved, 0 at end of file (receive), -1 with errno.
[[nodiscard]] ssize_t send_with_fds(int socket, std::span<const std::string_view> parts,
                                    std::span<const int> fds);
[[nodiscard]] ssize_t receive_with_fds(int socket, char* buffer, std::size_t size,
                                       std::vector<Fd>& fds);

}  // namespace postern::sys
