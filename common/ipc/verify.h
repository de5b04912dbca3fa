// verify.h - whether mail for an address would be taken (private/verify): smtpd asks, qmgr tells
// what became of the probes.

#pragma once

#include <string>

#include "common/ipc/message.h"

namespace postern::ipc::verify {

enum class Status : std::uint8_t {
  kUnknown = 0,  // no probe has ended yet
  kGood = 1,
  kBad = 2,     // refused for good
  kUnsure = 3,  // refused for now, or nobody there to ask
};

struct Answer {
  Status status = Status::kUnknown;
  std::string text;  // as the next hop said it
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("status", self.status);
    field("text", self.text);
  }
};

// What is known of the address. Where that is nothing, a probe is sent, and its end is waited for,
// but no longer than `wait`.
struct Ask {
  static constexpr std::uint16_t kType = 0x0901;
  static constexpr bool kRepeatable = true;
  using Reply = Answer;
  std::string address;
  std::chrono::milliseconds wait{0};
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("address", self.address);
    field("wait", self.wait);
  }
};

// qmgr: how a probe ended.
struct Outcome {
  static constexpr std::uint16_t kType = 0x0902;
  std::string address;
  Status status = Status::kUnsure;
  std::string text;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("address", self.address);
    field("status", self.status);
    field("text", self.text);
  }
};

}  // namespace postern::ipc::verify
