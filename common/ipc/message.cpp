#include "common/ipc/message.h"

namespace postern::ipc {

namespace {
constexpr unsigned kGroupBits = 7;
constexpr std::uint64_t kMoreFollows = 0x80;
constexpr unsigned kMaxVarintBytes = 10;
}  // namespace

void append_varint(std::string& out, std::uint64_t value) {
  for (; value >= kMoreFollows; value >>= kGroupBits) {
    out += static_cast<char>(value | kMoreFollows);
  }
  out += static_cast<char>(value);
}

std::optional<std::uint64_t> take_varint(std::string_view& in) {
  std::uint64_t value = 0;
  for (unsigned i = 0; i < kMaxVarintBytes && i < in.size(); ++i) {
    const auto byte = static_cast<unsigned char>(in[i]);
    const unsigned shift = i * kGroupBits;
    if (shift == 63 && byte > 1) return std::nullopt;
    value |= static_cast<std::uint64_t>(byte & ~kMoreFollows) << shift;
    if ((byte & kMoreFollows) == 0) {
      in.remove_prefix(i + 1);
      return value;
    }
  }
  return std::nullopt;
}

namespace detail {

void append_sized(std::string& out, std::string_view bytes) {
  append_varint(out, bytes.size());
  out += bytes;
}

std::optional<std::string_view> take_sized(std::string_view& in) {
  const auto size = take_varint(in);
  if (!size || *size > in.size()) return std::nullopt;
  const std::string_view bytes = in.substr(0, *size);
  in.remove_prefix(*size);
  return bytes;
}

bool Decoder::split(std::string_view record) {
  while (!record.empty()) {
    const auto number = static_cast<unsigned char>(record.front());
    record.remove_prefix(1);
    const auto bytes = take_sized(record);
    if (number == 0 || !bytes) return false;
    if (number >= kMaxFields) continue;
    values_[number] = *bytes;
    present_[number] = true;
  }
  return true;
}

void Tracer::add(std::string_view name, std::string_view text) {
  if (!out_.empty()) out_ += ' ';
  out_.append(name).append("=").append(text);
}

}  // namespace detail

}  // namespace postern::ipc
