// record.h - what is known of one address, as text, and how long it counts. Pure.
//
//     record := status ':' probed ':' updated ':' text
//
// `probed` is when the last probe was sent (0: none since), `updated` when an answer came.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/ipc/verify.h"

namespace postern::verify {

using ipc::verify::Status;

struct Record {
  Status status = Status::kUnknown;
  std::int64_t probed = 0;  // seconds since the epoch
  std::int64_t updated = 0;
  std::string text{};

  friend bool operator==(const Record&, const Record&) = default;
};

inline constexpr std::size_t kMaxText = 1000;

[[nodiscard]] std::string print_record(const Record& record);
// Nothing for what is no record.
[[nodiscard]] std::optional<Record> parse_record(std::string_view text);

struct Rules {
  std::chrono::seconds positive_expire{0}, positive_refresh{0};
  std::chrono::seconds negative_expire{0}, negative_refresh{0};
  bool keeps_negative = true;
};

// A probe that has not come back after this time is taken for lost.
inline constexpr std::chrono::seconds kProbeTime{1000};

// Whether the record still says something.
[[nodiscard]] bool is_valid(const Record& record, const Rules& rules, std::int64_t now);
// Whether a probe should be sent, and none is under way.
[[nodiscard]] bool is_probe_due(const Record& record, const Rules& rules, std::int64_t now);
// The record after a probe has ended so. A good address stays good until its time is over: one
// bad moment of a server refuses nobody.
[[nodiscard]] Record updated(const Record& old, Status status, std::string_view text,
                             const Rules& rules, std::int64_t now);

}  // namespace postern::verify
