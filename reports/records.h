// records.h - what is counted of one domain on one day (UTC), and how a result is added to it.
//
// Bounded, whatever strangers make of it: results beyond the limits are counted, and nothing more
// is said of them.

#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "common/ipc/reports.h"
#include "common/tls/tls_report.h"

namespace postern::reports {

struct TlsDay {
  static constexpr std::size_t kMaxPolicies = 20;
  static constexpr std::size_t kMaxFailures = 200;  // kinds of them, for each policy

  std::vector<tls::TlsReportPolicy> policies;

  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("policies", self.policies);
  }
  void add(const ipc::reports::TlsResult& result);
  [[nodiscard]] std::uint64_t good() const;
  [[nodiscard]] std::uint64_t bad() const;
  // "certificate-expired 3"
  [[nodiscard]] std::vector<std::string> remarks() const;
};

struct DmarcRow {
  ipc::reports::DmarcResult result;  // without `domain` and `published`
  std::uint64_t count = 0;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("result", self.result);
    field("count", self.count);
  }
};

struct DmarcDay {
  static constexpr std::size_t kMaxRows = 2000;

  ipc::reports::DmarcPublished published;  // as it was last seen
  std::vector<DmarcRow> rows;
  std::uint64_t left_out = 0;  // messages beyond kMaxRows

  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("published", self.published);
    field("rows", self.rows);
    field("left_out", self.left_out);
  }
  void add(ipc::reports::DmarcResult result);
  [[nodiscard]] std::uint64_t good() const;
  [[nodiscard]] std::uint64_t bad() const;
  [[nodiscard]] std::vector<std::string> remarks() const;
};

// "2026-11-29", UTC, and back: the day's first second.
[[nodiscard]] std::string day_of(std::int64_t seconds);
[[nodiscard]] std::int64_t start_of(const std::string& day);
inline constexpr std::int64_t kDaySeconds = 86'400;

// When the report about that day and domain is sent: within `spread` after the day's end, at the
// same time each day, and never so late that the next day's comes first.
[[nodiscard]] std::int64_t due_time(const std::string& day, const std::string& domain,
                                    std::chrono::seconds spread);

}  // namespace postern::reports
