// record.h - the unit of a queue file's envelope: append one, walk over many.
//
//     record := type (1 byte)  length (number)  payload (length bytes)
//     number := base 128, low group first, high bit set on every byte but the last
//
// A payload that holds several values is made of numbers and texts (a number, then that many
// bytes): FieldReader walks over them.
//
// Both sides work on memory, never on a descriptor: the same code serves a mapped queue
// file, a socket buffer and the fuzzer. postern-queue(5) describes the whole file.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/result.h"

namespace postern::queuefile {

enum class RecordType : char {
  kTime = 'T',       // arrival: seconds, microseconds
  kSender = 'S',     // the envelope sender; a later one replaces it
  kAttribute = 'A',  // name=value
  kWarning = 'W',    // state byte, time of the delay warning
  kRecipient = 'R',  // state byte, then the fields of envelope.cpp
  kEnd = 'E',        // the last one
};

// A view into the buffer it was read from, and valid only as long as that buffer.
struct Record {
  RecordType type;
  std::string_view payload;

  friend bool operator==(const Record&, const Record&) = default;
};

// Larger payloads are refused on both sides: a damaged length must not make us allocate.
inline constexpr std::size_t kMaxPayload = std::size_t{1} << 20;

// Appends one record to `out`. Precondition: payload.size() <= kMaxPayload.
void append_record(std::string& out, const Record& record);

void append_number(std::string& out, std::uint64_t number);
void append_text(std::string& out, std::string_view text);

// Walks the envelope of one queue file. Trusts nothing: any bytes give records or an Error.
class RecordReader {
 public:
  explicit RecordReader(std::string_view file) : file_(file) {}

  // The next record; nothing once kEnd was read. A file that stops before kEnd is kDamaged.
  [[nodiscard]] Result<std::optional<Record>> next();

  // Where the next record starts, or, after kEnd, what follows the envelope.
  [[nodiscard]] std::size_t offset() const { return offset_; }

  // Where the payload of the record that next() gave last starts.
  [[nodiscard]] std::size_t payload_offset() const { return payload_offset_; }

 private:
  [[nodiscard]] Result<std::size_t> read_length();
  [[nodiscard]] std::unexpected<Error> damage(std::string_view what) const;

  std::string_view file_;
  std::size_t offset_ = 0;
  std::size_t payload_offset_ = 0;
  bool at_end_ = false;
};

// Walks the values within one payload. The texts are views into it.
class FieldReader {
 public:
  explicit FieldReader(std::string_view payload) : rest_(payload) {}

  [[nodiscard]] Result<std::uint64_t> number(std::uint64_t max);
  [[nodiscard]] Result<std::string_view> text(std::size_t max_size);
  [[nodiscard]] Result<char> byte();
  [[nodiscard]] bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

}  // namespace postern::queuefile
