// job.h - one delivery as the engine sees it: what is to be sent, and whom to tell what became of
// it.
//
// The engine knows nothing of qmgr. An agent puts its own delivery behind this (agent_job.h), a
// test its own.

#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/loop/worker_pool.h"
#include "common/queuefile/reader.h"

namespace postern::smtpclient {

// What is said of a recipient.
struct Verdict {
  std::string status{};        // "2.0.0", "4.4.1"
  std::string text{};          // as in the log line and the notification
  std::string relay = "none";  // "mx.example.org[192.0.2.1]:25"
  unsigned conn_use = 0;       // deliveries over the connection, this one included
  std::string remote_mta{};    // "dns; mx.example.org"
  std::string diagnostic_type{};
  std::string diagnostic{};  // "550 5.1.1 no such user"
  std::string action{};      // "relayed"; empty: by the outcome

  [[nodiscard]] bool is_temporary() const { return status.starts_with('4'); }
};

// Views are valid as long as the job.
struct Recipient {
  std::string_view address;
  std::string_view orig_to;
  std::string_view dsn_orcpt;  // "rfc822;..." or empty
  std::int64_t notify = 0;     // queuefile::Notify bits
};

class Job {
 public:
  virtual ~Job() = default;

  [[nodiscard]] virtual const std::string& queue_id() const = 0;
  [[nodiscard]] virtual const std::string& nexthop() const = 0;
  [[nodiscard]] virtual const std::string& sender() const = 0;
  // Deliveries to its destination follow each other: connections are worth keeping.
  [[nodiscard]] virtual bool is_busy_destination() const { return false; }
  [[nodiscard]] virtual std::size_t recipients() const = 0;
  [[nodiscard]] virtual Recipient recipient(std::size_t index) const = 0;
  // The queue file: its envelope, where its parts are, and, when it is small, its bytes.
  [[nodiscard]] virtual const queuefile::Message& message() const = 0;
  [[nodiscard]] virtual int fd() const = 0;
  // For reads that would have to wait for the disk.
  [[nodiscard]] virtual loop::WorkerPool& pool() = 0;

  // A connection is being set up, or stands (or has failed): the third of the delays.
  virtual void mark_connecting() = 0;
  virtual void mark_connected() = 0;
  virtual void delivered(std::size_t recipient, const Verdict& verdict) = 0;
  // Another agent takes it from here, by "transport:nexthop" (best_mx_transport).
  virtual void reroute(std::size_t recipient, const std::string& transport_and_nexthop) = 0;
  // 4.x.x defers, 5.x.x bounces.
  virtual void failed(std::size_t recipient, const Verdict& verdict) = 0;
  [[nodiscard]] virtual bool is_reported(std::size_t recipient) const = 0;
  [[nodiscard]] virtual std::size_t unreported() const = 0;
  // The next hop itself could not be used. Before the last recipient.
  virtual void mark_destination_failure() = 0;

  // Since the message came.
  [[nodiscard]] std::chrono::seconds age() const {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::seconds>(now) -
           std::chrono::seconds(message().envelope.arrival.seconds);
  }

  // Empty also for one that is not there.
  [[nodiscard]] std::string_view attribute(std::string_view wanted) const {
    for (const auto& [name, value] : message().envelope.attributes) {
      if (name == wanted) return value;
    }
    return {};
  }
  [[nodiscard]] bool has_attribute(std::string_view wanted) const {
    return !attribute(wanted).empty();
  }
  // RFC 8689 4.1: REQUIRETLS goes before what a header field says.
  [[nodiscard]] bool requires_tls() const { return has_attribute(queuefile::kRequireTls); }
  // TLS-Required: no
  [[nodiscard]] bool is_tls_optional() const {
    return has_attribute(queuefile::kTlsOptional) && !requires_tls();
  }

  // Address verification and sendmail -bv: how far the next hop would go; nothing is delivered.
  [[nodiscard]] bool is_probe() const {
    const auto& envelope = message().envelope;
    return envelope.origin == queuefile::Origin::kProbe ||
           (envelope.flags & queuefile::kFlagProbe) != 0;
  }
};

}  // namespace postern::smtpclient
