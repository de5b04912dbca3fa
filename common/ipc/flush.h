// flush.h - the fast flush service (public/flush): which deferred messages wait for which site.
//
// qmgr tells of each deferral to a domain that fast_flush_domains lists; smtpd (ETRN) and
// postqueue -s ask for a site's messages to be tried now.

#pragma once

#include <string>

#include "common/ipc/message.h"

namespace postern::ipc::flush {

enum class Status : std::uint8_t {
  kOk = 0,
  kDenied = 1,  // fast_flush_domains does not list the site
  kBad = 2,     // no domain, or the service failed
};

struct Sent {
  Status status = Status::kOk;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("status", self.status);
  }
};

struct SendSite {
  static constexpr std::uint16_t kType = 0x0d01;
  static constexpr bool kRepeatable = true;
  using Reply = Sent;
  std::string site;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("site", self.site);
  }
};

// qmgr: this message waits for that site.
struct Waiting {
  static constexpr std::uint16_t kType = 0x0d02;
  std::string site;
  std::string queue_id;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("site", self.site);
    field("queue_id", self.queue_id);
  }
};

}  // namespace postern::ipc::flush
