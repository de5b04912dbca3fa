// key_order.h - keys in the order of their bytes.

#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace postern::table {

// Sixteen bytes of a key as numbers that are ordered as they are: they settle most comparisons
// without a look at the key.
class KeyPrefix {
 public:
  explicit KeyPrefix(std::string_view key) : words_{word_of(key, 0), word_of(key, 8)} {}

  // Before, after, or (0) not to be told from the prefixes.
  [[nodiscard]] int compare(const KeyPrefix& other) const {
    for (const std::size_t i : {0U, 1U}) {
      if (words_[i] != other.words_[i]) return words_[i] < other.words_[i] ? -1 : 1;
    }
    return 0;
  }

 private:
  [[nodiscard]] static std::uint64_t word_of(std::string_view key, std::size_t from) {
    std::uint64_t word = 0;
    if (key.size() >= from + sizeof word) {
      std::memcpy(&word, key.data() + from, sizeof word);
      return std::endian::native == std::endian::little ? __builtin_bswap64(word) : word;
    }
    for (std::size_t i = from; i < from + sizeof word; ++i) {
      word = word << 8U | (i < key.size() ? static_cast<unsigned char>(key[i]) : 0U);
    }
    return word;
  }

  std::uint64_t words_[2];
};

// The indices of the keys, in that order.
[[nodiscard]] std::vector<std::uint32_t> order_of(std::span<const std::string_view> keys);

}  // namespace postern::table
