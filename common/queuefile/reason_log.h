// reason_log.h - why recipients of a message failed or wait: bounce/ID, defer/ID and trace/ID.
//
// bounce writes these files; qmgr, showq and the tools read them. A line is one recipient's latest
// news, fields parted by tabs; control characters and backslashes in values are written as \xNN:
//
//     recipient=bob@example.org<tab>status=4.4.1<tab>text=connect to ...: Connection refused
//
// Lines are only ever appended, so a crash can tear the last one: a line that is not whole is
// ignored, and the next writer begins a new one. Of several lines about one recipient (the same
// offset) the last one counts.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/queuefile/queue_dir.h"

namespace postern::queuefile {

struct Reason {
  std::string address{};
  std::string orig_to{};
  std::string dsn_orcpt{};
  std::uint8_t notify = 0;
  std::uint64_t state_offset = 0;  // names the recipient within its message
  std::uint64_t part = 0;          // of several for this recipient; 0: there is but one
  std::int64_t time = 0;           // seconds since 1970
  std::string action{};            // "failed", "delayed", ...
  std::string status{};            // "5.1.1"
  std::string text{};
  std::string remote_mta{};
  std::string diagnostic_type{};
  std::string diagnostic{};
  std::string owner{};  // who hears of it in the sender's place; empty: the sender

  friend bool operator==(const Reason&, const Reason&) = default;
};

// Larger files are refused; a recipient takes some 300 bytes.
inline constexpr std::size_t kMaxReasonFile = std::size_t{256} << 20;

// With its line end.
[[nodiscard]] std::string print_reason(const Reason& reason);

// Any bytes give the reasons that are whole, one for each recipient and part, in the order in which
// the recipients appear first.
[[nodiscard]] std::vector<Reason> parse_reasons(std::string_view file);

// The same with the older lines too, in the order in which they were written.
[[nodiscard]] std::vector<Reason> parse_reason_history(std::string_view file);

enum class Durability : unsigned char { kFlushed, kUnflushed };

// `log` is kBounce, kDefer or kTrace; the id is a valid one. Blocks for as long as the disk takes.
// What stands in the file of old lines is thinned out now and then (not in a flushed log).
[[nodiscard]] Result<void> append_reasons(const QueueDirs& dirs, Queue log, std::string_view id,
                                          const std::vector<Reason>& reasons,
                                          Durability durability);

// None when there is no such file.
[[nodiscard]] Result<std::vector<Reason>> read_reasons(const QueueDirs& dirs, Queue log,
                                                       std::string_view id);
[[nodiscard]] Result<std::vector<Reason>> read_reason_history(const QueueDirs& dirs, Queue log,
                                                              std::string_view id);

}  // namespace postern::queuefile
