// peers.h - who may speak to a service, and who connects to it.

#pragma once

#include <sys/types.h>

#include <optional>
#include <utility>
#include <vector>

namespace postern::ipc {

// Root always may.
struct Peers {
  // Processes of these users, or of this group, and nobody else. Empty: everybody whom the
  // directory of the socket lets in.
  std::vector<uid_t> users{};
  std::optional<gid_t> group{};
  // Of everybody, all but these users.
  std::vector<uid_t> refused{};
};

class Doorkeeper {
 public:
  Doorkeeper() = default;
  explicit Doorkeeper(Peers peers) : peers_(std::move(peers)) {}

  // Whether the process that made this connection may speak to the service. The first one that may
  // not is logged.
  [[nodiscard]] bool lets_in(int fd);

 private:
  Peers peers_;
  bool has_warned_ = false;
};

}  // namespace postern::ipc
