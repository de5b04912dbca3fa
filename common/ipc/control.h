// control.h - between master and each of its children, over the child's control socket.
//
// The child says what it has and how busy it is; master hands it configuration, listeners, and the
// wish that it ends. A child whose control socket ends closes its listeners and drains.

#pragma once

#include <string>

#include "common/ipc/message.h"

namespace postern::ipc::control {

// child to master: the rights are dropped, the service is served.
struct Ready {
  static constexpr std::uint16_t kType = 0x0101;
  template <typename Self, typename Fields>
  static void fields(Self&, Fields&) {}
};

// child to master, when it changes: how many clients or deliveries are served now, and whether
// another process of the service would help.
struct Load {
  static constexpr std::uint16_t kType = 0x0102;
  std::int64_t in_use = 0;
  bool is_busy = false;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("in_use", self.in_use);
    field("is_busy", self.is_busy);
  }
};

// master to child: a new configuration snapshot (its descriptor comes along).
struct Reload {
  static constexpr std::uint16_t kType = 0x0103;
  template <typename Self, typename Fields>
  static void fields(Self&, Fields&) {}
};

// master to child: accept nothing more, end with the last session or after `seconds`.
struct Drain {
  static constexpr std::uint16_t kType = 0x0104;
  std::int64_t seconds = 0;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("seconds", self.seconds);
  }
};

// master to child: the wake-up time of master.cf has passed, or `postern flush` was given.
struct Wakeup {
  static constexpr std::uint16_t kType = 0x0105;
  bool is_flush = false;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("is_flush", self.is_flush);
  }
};

// master to child: how many clients this process may serve at once from now on (its share of the
// service's limit); 0 is no limit.
struct Share {
  static constexpr std::uint16_t kType = 0x0106;
  std::int64_t limit = 0;
  bool is_stress = false;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("limit", self.limit);
    field("is_stress", self.is_stress);
  }
};

}  // namespace postern::ipc::control
