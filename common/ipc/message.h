// message.h - one C++ description of a message serves both ends: encoder, decoder, trace, fuzzer.
//
// A message is a struct that lists its fields, in an order that never changes; new fields are added
// at the end, so that a newer and an older process understand each other:
//
//     struct Resolve {
//       static constexpr std::uint16_t kType = 0x0201;
//       using Reply = Resolved;
//       std::string sender;
//       std::string address;
//       template <typename Self, typename Fields>
//       static void fields(Self& self, Fields& field) {
//         field("sender", self.sender);
//         field("address", self.address);
//       }
//     };
//
// On the wire: for each field that is not empty or zero its number (1 byte, from 1), the length of
// its value (varint) and the value. Numbers are varints (zigzag), lists are their elements each
// with a length, a nested struct is a record of its own. A field that the reader does not know is
// skipped; one that is missing is empty or zero, whatever the struct's own default.

#pragma once

#include <array>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "common/base/result.h"

namespace postern::ipc {

// More fields than this in one struct, or longer payloads, are refused on both sides.
inline constexpr std::size_t kMaxFields = 64;
inline constexpr std::size_t kMaxPayload = std::size_t{4} << 20;
inline constexpr std::size_t kMaxElements = 200'000;
inline constexpr unsigned kMaxDepth = 8;

void append_varint(std::string& out, std::uint64_t value);
// Takes one varint off the front of `in`.
[[nodiscard]] std::optional<std::uint64_t> take_varint(std::string_view& in);

namespace detail {

// Most messages are smaller; an empty string would grow there in many steps.
inline constexpr std::size_t kUsualSize = 256;

struct AnyField {
  template <typename T>
  void operator()(const char*, T&) {}
};

template <typename T>
concept Described = requires(T& value, AnyField& field) { T::fields(value, field); };
template <typename T>
struct IsVector : std::false_type {};
template <typename T>
struct IsVector<std::vector<T>> : std::true_type {};
template <typename T>
struct IsOptional : std::false_type {};
template <typename T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <typename T>
struct IsDuration : std::false_type {};
template <typename R, typename P>
struct IsDuration<std::chrono::duration<R, P>> : std::true_type {};

[[nodiscard]] constexpr std::uint64_t zigzag(std::int64_t n) {
  return (static_cast<std::uint64_t>(n) << 1) ^ static_cast<std::uint64_t>(n >> 63);
}
[[nodiscard]] constexpr std::int64_t unzigzag(std::uint64_t n) {
  return static_cast<std::int64_t>((n >> 1) ^ (~(n & 1) + 1));
}

template <typename T>
[[nodiscard]] constexpr std::int64_t to_number(const T& value) {
  if constexpr (IsDuration<T>::value) {
    return static_cast<std::int64_t>(value.count());
  } else {
    return static_cast<std::int64_t>(value);
  }
}

template <typename T>
inline constexpr bool kIsNumber =
    std::is_integral_v<T> || std::is_enum_v<T> || IsDuration<T>::value;

void append_sized(std::string& out, std::string_view bytes);
[[nodiscard]] std::optional<std::string_view> take_sized(std::string_view& in);

template <typename T>
void append_value(std::string& out, const T& value);

class Encoder {
 public:
  explicit Encoder(std::string& out) : out_(out) {}
  template <typename T>
  void operator()(const char*, const T& value) {
    ++number_;
    if constexpr (std::is_same_v<T, std::string> || IsVector<T>::value) {
      if (value.empty()) return;
    } else if constexpr (IsOptional<T>::value) {
      if (!value) return;
    } else if constexpr (kIsNumber<T>) {
      if (to_number(value) == 0) return;
    }
    out_ += static_cast<char>(number_);
    if constexpr (std::is_same_v<T, std::string>) {
      append_sized(out_, value);
    } else {
      std::string bytes;
      append_value(bytes, value);
      append_sized(out_, bytes);
    }
  }

 private:
  std::string& out_;
  std::uint8_t number_ = 0;
};

template <typename T>
void append_value(std::string& out, const T& value) {
  if constexpr (std::is_same_v<T, std::string>) {
    out += value;
  } else if constexpr (kIsNumber<T>) {
    append_varint(out, zigzag(to_number(value)));
  } else if constexpr (IsVector<T>::value) {
    for (const auto& element : value) {
      if constexpr (std::is_same_v<typename T::value_type, std::string>) {
        append_sized(out, element);
      } else {
        std::string bytes;
        append_value(bytes, element);
        append_sized(out, bytes);
      }
    }
  } else if constexpr (IsOptional<T>::value) {
    append_value(out, *value);
  } else {
    Encoder encoder(out);
    T::fields(value, encoder);
  }
}

template <typename T>
[[nodiscard]] bool read_value(std::string_view in, T& value, unsigned depth);

class Decoder {
 public:
  Decoder(std::string_view record, unsigned depth) : depth_(depth) { good_ = split(record); }
  template <typename T>
  void operator()(const char*, T& value) {
    ++number_;
    if (!good_ || number_ >= kMaxFields) return;
    // What is empty or zero is not sent: a struct's own defaults are for those who make one.
    if (!present_[number_]) {
      value = T{};
    } else {
      good_ = read_value(values_[number_], value, depth_);
    }
  }
  [[nodiscard]] bool good() const { return good_; }

 private:
  [[nodiscard]] bool split(std::string_view record);
  std::array<std::string_view, kMaxFields> values_;
  std::array<bool, kMaxFields> present_{};
  unsigned depth_;
  std::size_t number_ = 0;
  bool good_ = true;
};

template <typename T>
bool read_value(std::string_view in, T& value, unsigned depth) {
  if constexpr (std::is_same_v<T, std::string>) {
    value = in;
    return true;
  } else if constexpr (kIsNumber<T>) {
    const auto bits = take_varint(in);
    if (!bits || !in.empty()) return false;
    const std::int64_t number = unzigzag(*bits);
    if constexpr (IsDuration<T>::value) {
      value = T(number);
    } else if constexpr (std::is_same_v<T, bool>) {
      if (number != 0 && number != 1) return false;
      value = number == 1;
    } else if constexpr (std::is_enum_v<T>) {
      // in_range() knows no plain char, which address classes are.
      using Under = std::conditional_t<std::is_same_v<std::underlying_type_t<T>, char>, signed char,
                                       std::underlying_type_t<T>>;
      if (!std::in_range<Under>(number)) return false;
      value = static_cast<T>(number);
    } else if constexpr (sizeof(T) < sizeof(std::int64_t)) {
      if (!std::in_range<T>(number)) return false;
      value = static_cast<T>(number);
    } else {
      value = static_cast<T>(number);
    }
    return true;
  } else if constexpr (IsVector<T>::value) {
    if (depth == 0) return false;
    value.clear();
    while (!in.empty()) {
      const auto bytes = take_sized(in);
      if (!bytes || value.size() == kMaxElements) return false;
      if (!read_value(*bytes, value.emplace_back(), depth - 1)) return false;
    }
    return true;
  } else if constexpr (IsOptional<T>::value) {
    return read_value(in, value.emplace(), depth);
  } else {
    if (depth == 0) return false;
    Decoder decoder(in, depth - 1);
    T::fields(value, decoder);
    return decoder.good();
  }
}

class Tracer {
 public:
  explicit Tracer(std::string& out) : out_(out) {}
  template <typename T>
  void operator()(const char* name, const T& value) {
    if constexpr (std::is_same_v<T, std::string>) {
      if (!value.empty()) add(name, value);
    } else if constexpr (kIsNumber<T>) {
      if (to_number(value) != 0) add(name, std::to_string(to_number(value)));
    } else if constexpr (IsVector<T>::value) {
      if (!value.empty()) add(name, std::to_string(value.size()) + " elements");
    } else if constexpr (IsOptional<T>::value) {
      if (value) (*this)(name, *value);
    } else if constexpr (Described<const T>) {
      T::fields(value, *this);
    }
  }

 private:
  void add(std::string_view name, std::string_view text);
  std::string& out_;
};

}  // namespace detail

// A struct with kType and fields().
template <typename T>
concept Message = requires {
  { T::kType } -> std::convertible_to<std::uint16_t>;
};

template <typename T>
[[nodiscard]] std::string encode(const T& message) {
  std::string out;
  out.reserve(detail::kUsualSize);
  detail::append_value(out, message);
  return out;
}

// Any bytes give a T or a kDamaged error; nothing is allocated beyond what the bytes hold.
template <typename T>
[[nodiscard]] Result<T> decode(std::string_view payload) {
  T message;
  if (!detail::read_value(payload, message, kMaxDepth)) {
    return fail(Error::Kind::kDamaged, "malformed record between processes");
  }
  return message;
}

// An Error travels like any other record.
template <>
[[nodiscard]] Result<Error> decode<Error>(std::string_view payload);

// "sender=a@b address=c@d", for `-v`.
template <typename T>
[[nodiscard]] std::string trace(const T& message) {
  std::string out;
  detail::Tracer tracer(out);
  T::fields(message, tracer);
  return out;
}

// The reply of a request that has nothing to say but that it was done.
struct Done {
  template <typename Self, typename Fields>
  static void fields(Self&, Fields&) {}
};

}  // namespace postern::ipc
