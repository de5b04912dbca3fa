// queue_id.h - the names of messages: two shapes, made so that no name comes twice.
//
//     short  5 hex digits of microseconds, then a number in upper-case hex: 3A15C1A6E012F3
//     long   seconds (6 digits or more) and microseconds (4 digits) in base 52, 'z', a number in
//            base 51: 4cV2Lk3pJdz1LbKxQ. Digits are figures and consonants, so that no id is a
//            word; base 51 has no 'z'. Long ids sort by time.
//
// The number at the end is the inode of the file in Postfix. Here it is seconds and the slot of
// the process that made the id, which the supervisor keeps different for processes that run at
// the same time. Within one process microseconds only ever grow. So an id is unique across
// processes and restarts as long as the clock is not set back, without asking the file system; a
// file is created with O_EXCL all the same.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace postern::queuefile {

enum class IdForm { kShort, kLong };  // enable_long_queue_ids

inline constexpr unsigned kIdSlots = 256;
inline constexpr std::size_t kMaxQueueId = 100;

class QueueIdSource {
 public:
  // Precondition: slot < kIdSlots.
  explicit QueueIdSource(unsigned slot);

  // `now` is microseconds since 1970. Of two calls in one microsecond, or after the clock was set
  // back, the later gets the next free microsecond.
  [[nodiscard]] std::string next(std::int64_t now, IdForm form);

 private:
  unsigned slot_;
  std::int64_t last_ = 0;
};

// Has `name` one of the two shapes? Nothing else is ever used as a file name in the queue.
[[nodiscard]] bool is_valid_queue_id(std::string_view name);

// The microseconds of an id as five hex digits; what hashed directories are named after.
// Precondition: is_valid_queue_id(id).
[[nodiscard]] std::string hash_key(std::string_view id);

// When a long id was made, in seconds since 1970; short ids do not tell.
[[nodiscard]] std::optional<std::int64_t> id_time(std::string_view id);

}  // namespace postern::queuefile
