// srs.h - rewritten and tagged senders (private/keyring, which has the secrets).

#pragma once

#include <string>

#include "common/ipc/message.h"

namespace postern::ipc::srs {

enum class Direction : std::uint8_t {
  kForward = 0,  // SRS
  kReverse = 1,
  kTag = 2,  // BATV
  kUntag = 3,
};

struct Rewritten {
  std::string address;
  std::string refusal;  // why no mail is to be taken for the address; empty: it is good
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("address", self.address);
    field("refusal", self.refusal);
  }
};

struct Rewrite {
  static constexpr std::uint16_t kType = 0x1107;
  static constexpr bool kRepeatable = true;
  using Reply = Rewritten;
  Direction direction = Direction::kForward;
  std::string address;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("direction", self.direction);
    field("address", self.address);
  }
};

}  // namespace postern::ipc::srs
