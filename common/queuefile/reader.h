// reader.h - opens a queue file that may be anything: ours and whole, unfinished, damaged, foreign.
//
// parse_message is the whole reading as a pure function over bytes. open_message does the same
// from a descriptor with few calls: one pread up to kSmallFile; beyond, one for the tail, one for
// the envelope, and the content in chunks for the checksum. Only pread is used, so that a
// descriptor may be shared with whoever else reads it.
//
// What a refusal means for the file:
//
//     kUnfinished  never acknowledged; to be removed when it is old
//     kNoTrailer   committed by its mode, but without trailer: set aside rather than removed
//     kDamaged     set aside in corrupt/, and say so
//     kForeign     a queue file of Postfix: report it once and leave it alone
//     kNotOurs     wrong type, owner or mode: set aside, and say so
//     kNotRead     could not be read just now; nothing is known

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "common/queuefile/envelope.h"
#include "common/queuefile/layout.h"

namespace postern::queuefile {

enum class RefusalKind {
  kUnfinished,
  kNoTrailer,
  kDamaged,
  kForeign,
  kNotOurs,
  kNotRead,
};

struct Refusal {
  RefusalKind kind = RefusalKind::kNotRead;
  std::string text{};  // says what and where

  friend bool operator==(const Refusal&, const Refusal&) = default;
};

template <typename T>
using Opened = std::expected<T, Refusal>;

struct Message {
  Envelope envelope{};
  Layout layout{};
  bool forced_expire = false;  // `postsuper -e` set the mode bit
  // The whole file, when it is a small one: header() and body() are views into it.
  std::string bytes{};

  [[nodiscard]] bool is_in_memory() const { return !bytes.empty(); }
  // Precondition: is_in_memory().
  [[nodiscard]] std::string_view header() const;
  [[nodiscard]] std::string_view body() const;
};

// The mode of a committed file, and the bit that marks one as to be returned at once.
inline constexpr mode_t kCommittedMode = 0700;
inline constexpr mode_t kForcedExpireBit = 0010;
inline constexpr mode_t kUnfinishedMode = 0600;

// Larger files are refused unread.
inline constexpr std::uint64_t kMaxFile = std::uint64_t{1} << 40;

// A whole file. The Message does not keep the bytes.
[[nodiscard]] Opened<Message> parse_message(std::string_view file);

// Is this the beginning of one of Postfix's queue files?
[[nodiscard]] bool is_foreign(std::string_view beginning);

enum class Verify {
  kEverything,  // the checksum of the whole file
  kStructure,   // of small files everything, of large ones only that the parts fit
};

// Which modes a file may have. postdrop's are readable for pickup, copies of an administrator have
// any; unfinished files are always refused.
enum class Modes : unsigned char { kCommitted, kAny };

struct OpenOptions {
  std::optional<uid_t> owner{};  // any other is refused
  Modes modes = Modes::kCommitted;
  Verify verify = Verify::kEverything;
  // kSkip: Message.envelope.recipients is empty. For whoever was told its recipients otherwise:
  // the message may have ten thousands.
  Recipients recipients = Recipients::kRead;
};

// Blocks for as long as the disk takes. The descriptor stays the caller's.
[[nodiscard]] Opened<Message> open_message(int fd, const OpenOptions& options = {});

// Reads a part of an open file into memory; parts above `limit` are refused.
[[nodiscard]] Result<std::string> read_extent(int fd, Extent extent, std::uint64_t limit);

}  // namespace postern::queuefile
