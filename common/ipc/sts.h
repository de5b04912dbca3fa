// sts.h - what sts answers (private/sts): the MTA-STS policy of a domain.

#pragma once

#include <string>
#include <vector>

#include "common/ipc/message.h"

namespace postern::ipc::sts {

enum class Mode : std::uint8_t { kNone = 0, kTesting = 1, kEnforce = 2 };

// kNone stands for "no policy", too: a domain without one, or whose policy cannot be had.
struct Policy {
  Mode mode = Mode::kNone;
  std::vector<std::string> mx;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("mode", self.mode);
    field("mx", self.mx);
  }
};

struct FindPolicy {
  static constexpr std::uint16_t kType = 0x1401;
  static constexpr bool kRepeatable = true;
  using Reply = Policy;
  std::string domain;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("domain", self.domain);
  }
};

}  // namespace postern::ipc::sts
