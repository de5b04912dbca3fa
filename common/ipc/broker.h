// broker.h - connections that a process may not make itself (private/broker).
//
// Whoever asks names an endpoint of the configuration by its number (common/config/endpoints.h),
// never an address: a process that was taken over reaches nobody but the partners that the
// administrator has named. The connected descriptor comes with the answer.

#pragma once

#include "common/ipc/message.h"

namespace postern::ipc::broker {

struct Connected {
  std::string peer;  // for log lines: "inet:127.0.0.1:10023"
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("peer", self.peer);
  }
};

struct Connect {
  static constexpr std::uint16_t kType = 0x0801;
  static constexpr bool kRepeatable = true;
  using Reply = Connected;
  std::uint64_t endpoint = 0;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("endpoint", self.endpoint);
  }
};

}  // namespace postern::ipc::broker
