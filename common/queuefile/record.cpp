#include "common/queuefile/record.h"

#include <fmt/format.h>

#include <cassert>

namespace postern::queuefile {

namespace {

constexpr unsigned kGroupBits = 7;
constexpr unsigned kMoreFollows = 0x80;
constexpr unsigned kMaxLengthBytes = 5;
constexpr unsigned kMaxNumberBytes = 10;
constexpr std::string_view kKnownTypes = "TSAWRE";

}  // namespace

void append_number(std::string& out, std::uint64_t number) {
  for (; number >= kMoreFollows; number >>= kGroupBits) {
    out += static_cast<char>((number & (kMoreFollows - 1)) | kMoreFollows);
  }
  out += static_cast<char>(number);
}

void append_text(std::string& out, std::string_view text) {
  append_number(out, text.size());
  out += text;
}

void append_record(std::string& out, const Record& record) {
  assert(record.payload.size() <= kMaxPayload);
  out += static_cast<char>(record.type);
  append_text(out, record.payload);
}

Result<std::optional<Record>> RecordReader::next() {
  if (at_end_) return std::nullopt;
  if (offset_ == file_.size()) return damage("no end record");

  const char type = file_[offset_];
  if (kKnownTypes.find(type) == std::string_view::npos) return damage("unknown record type");
  ++offset_;

  TRY(const std::size_t length, read_length());
  if (length > file_.size() - offset_) return damage("record runs past the end");

  const Record record{static_cast<RecordType>(type), file_.substr(offset_, length)};
  payload_offset_ = offset_;
  offset_ += length;
  at_end_ = record.type == RecordType::kEnd;
  return record;
}

Result<std::size_t> RecordReader::read_length() {
  std::size_t length = 0;
  for (unsigned i = 0; i < kMaxLengthBytes && offset_ < file_.size(); ++i) {
    const auto byte = static_cast<unsigned char>(file_[offset_++]);
    length |= static_cast<std::size_t>(byte & ~kMoreFollows) << (i * kGroupBits);
    if (length > kMaxPayload) return damage("record too long");
    if ((byte & kMoreFollows) == 0) return length;
  }
  return damage("bad record length");
}

std::unexpected<Error> RecordReader::damage(std::string_view what) const {
  return fail(Error::Kind::kDamaged, fmt::format("{} at offset {}", what, offset_));
}

Result<std::uint64_t> FieldReader::number(std::uint64_t max) {
  std::uint64_t number = 0;
  for (unsigned i = 0; i < kMaxNumberBytes && i < rest_.size(); ++i) {
    const auto byte = static_cast<unsigned char>(rest_[i]);
    const std::uint64_t group = byte & ~kMoreFollows;
    if (i == kMaxNumberBytes - 1 && group > 1) break;
    number |= group << (i * kGroupBits);
    if ((byte & kMoreFollows) != 0) continue;
    if (number > max) return fail(Error::Kind::kDamaged, "number out of range");
    rest_.remove_prefix(i + 1);
    return number;
  }
  return fail(Error::Kind::kDamaged, "bad number");
}

Result<std::string_view> FieldReader::text(std::size_t max_size) {
  TRY(const std::uint64_t size, number(max_size));
  if (size > rest_.size()) return fail(Error::Kind::kDamaged, "text runs past its record");
  const std::string_view text = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return text;
}

Result<char> FieldReader::byte() {
  if (rest_.empty()) return fail(Error::Kind::kDamaged, "record too short");
  const char byte = rest_.front();
  rest_.remove_prefix(1);
  return byte;
}

}  // namespace postern::queuefile
