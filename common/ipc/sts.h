// sts.h - what sts does for others (private/sts): the MTA-STS policy of a domain, and reports sent
// over HTTPS.

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
  std::vector<std::string> lines;  // of the policy file, for reports
  // Why a policy that the domain announces cannot be had, as TLS reports call it (RFC
  // 8460 4.3.2.2).
  std::string failure;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("mode", self.mode);
    field("mx", self.mx);
    field("lines", self.lines);
    field("failure", self.failure);
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

struct Posted {
  std::int64_t status = 0;  // of HTTP
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("status", self.status);
  }
};

// A report for a URL that its receiver has published. An error: it did not get there.
struct Post {
  static constexpr std::uint16_t kType = 0x1402;
  using Reply = Posted;
  std::string url;  // https, port 443
  std::string content_type;
  std::string body;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("url", self.url);
    field("content_type", self.content_type);
    field("body", self.body);
  }
};

}  // namespace postern::ipc::sts
