// packet.h - records over a SOCK_SEQPACKET socket, for processes that wait for nothing else.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/sys/fd.h"

namespace postern::agent {

// Longer ones are refused on both sides.
inline constexpr std::size_t kMaxPacket = std::size_t{64} << 10;

struct Packet {
  std::string bytes;
  std::vector<sys::Fd> fds;
};

struct PacketPair {
  sys::Fd blocking;     // for the process that waits
  sys::Fd nonblocking;  // for the one with a loop
};
[[nodiscard]] Result<PacketPair> packet_pair();

// Waits for the next packet; nothing when the other side has closed. An oversized packet counts as
// closed.
[[nodiscard]] std::optional<Packet> wait_packet(int socket);
// One that is there already.
[[nodiscard]] std::optional<Packet> next_packet(int socket);
// Waits until it is sent; false when the other side is gone.
bool send_packet(int socket, std::string_view bytes, int fd = -1);

// For a process just forked: the socket becomes descriptor kPacketSocket, and everything beyond is
// closed. Ends the process where that fails.
inline constexpr int kPacketSocket = 3;
void keep_only(sys::Fd socket);

}  // namespace postern::agent
