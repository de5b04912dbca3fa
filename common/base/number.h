// number.h - integers from text, with bounds; sizes that do not overflow.

#pragma once

#include <charconv>
#include <concepts>
#include <limits>
#include <optional>
#include <string_view>

namespace postern {

// The whole of `text` as a number within [low, high]: no blanks, no sign but a leading '-' where
// Integer is signed, nothing behind it. Anything else is nullopt.
template <std::integral Integer>
[[nodiscard]] std::optional<Integer> parse_integer(
    std::string_view text, Integer low = std::numeric_limits<Integer>::min(),
    Integer high = std::numeric_limits<Integer>::max(), int base = 10) {
  Integer value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, base);
  if (text.empty() || error != std::errc() || stop != end) return std::nullopt;
  if (value < low || value > high) return std::nullopt;
  return value;
}

// a + b and a * b, or nullopt where the result does not fit.
template <std::integral Integer>
[[nodiscard]] std::optional<Integer> checked_add(Integer a, Integer b) {
  Integer sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

template <std::integral Integer>
[[nodiscard]] std::optional<Integer> checked_multiply(Integer a, Integer b) {
  Integer product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

}  // namespace postern
