#include "common/agent/packet.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "common/base/scratch.h"
#include "common/sys/privilege.h"
#include "common/sys/socket.h"

namespace postern::agent {

Result<PacketPair> packet_pair() {
  int fds[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
    return sys::fail_errno("socketpair");
  }
  PacketPair pair{sys::Fd(fds[0]), sys::Fd(fds[1])};
  const int flags = ::fcntl(pair.nonblocking.get(), F_GETFL);
  if (flags < 0 || ::fcntl(pair.nonblocking.get(), F_SETFL, flags | O_NONBLOCK) < 0) {
    return sys::fail_errno("fcntl");
  }
  return pair;
}

namespace {

std::optional<Packet> receive_packet(int socket, int flags) {
  const auto buffer = scratch<Packet, kMaxPacket>();
  Packet packet;
  iovec vector{buffer.data(), buffer.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * sys::kMaxFdsPerMessage)> control;
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t count = -1;
  do {
    count = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | flags);
  } while (count < 0 && errno == EINTR);
  for (cmsghdr* header = count < 0 ? nullptr : CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t received = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < received; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      packet.fds.emplace_back(fd);
    }
  }
  if (count <= 0 || (message.msg_flags & MSG_TRUNC) != 0) return std::nullopt;
  packet.bytes.assign(buffer.data(), static_cast<std::size_t>(count));
  return packet;
}

}  // namespace

std::optional<Packet> wait_packet(int socket) {
  // Not poll and receive: of several threads that wait here, the kernel wakes one.
  return receive_packet(socket, 0);
}

std::optional<Packet> next_packet(int socket) { return receive_packet(socket, MSG_DONTWAIT); }

bool send_packet(int socket, std::string_view bytes, int fd) {
  const std::array<std::string_view, 1> parts = {bytes};
  const std::array<int, 1> fds = {fd};
  for (;;) {
    const ssize_t sent = sys::send_with_fds(
        socket, parts, fd < 0 ? std::span<const int>{} : std::span<const int>(fds));
    if (sent >= 0) return true;
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return false;
    pollfd waiting{socket, POLLOUT, 0};
    if (::poll(&waiting, 1, -1) < 0 && errno != EINTR) return false;
  }
}

void keep_only(sys::Fd socket) {
  if (socket.get() == kPacketSocket) {
    (void)socket.release();
  } else if (::dup3(socket.get(), kPacketSocket, O_CLOEXEC) < 0) {
    ::_exit(1);
  } else {
    (void)socket.release();
  }
  sys::close_from(kPacketSocket + 1);
}

}  // namespace postern::agent
