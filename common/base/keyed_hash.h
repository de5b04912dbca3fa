// keyed_hash.h - hash tables for keys that strangers choose.
//
// std::hash<std::string> is the same function in every process: whoever knows it makes thousands of
// names that all fall together, and each look-up walks them all (Crosby and Wallach, 2003). This
// one is SipHash-1-3 with a key of the process.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace postern {

// SipHash with one round a block and three at the end. Pure.
[[nodiscard]] std::uint64_t siphash13(std::uint64_t key0, std::uint64_t key1,
                                      std::string_view text);

struct KeyedHash {
  using is_transparent = void;
  // Not noexcept: the tables of libstdc++ then keep the value instead of asking for it again.
  [[nodiscard]] std::size_t operator()(std::string_view text) const;
};

template <typename Value>
using StringMap = std::unordered_map<std::string, Value, KeyedHash, std::equal_to<>>;
template <typename Value>
using StringViewMap = std::unordered_map<std::string_view, Value, KeyedHash, std::equal_to<>>;
using StringSet = std::unordered_set<std::string, KeyedHash, std::equal_to<>>;

}  // namespace postern
