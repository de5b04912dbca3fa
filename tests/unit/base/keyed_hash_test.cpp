#include "common/base/keyed_hash.h"

#include <algorithm>
#include <array>
#include <bit>
#include <catch2/catch.hpp>
#include <set>
#include <vector>

namespace postern {

namespace {

// --- strings that std::hash makes one number of: MurmurHash64A, as libstdc++ has it ---

constexpr std::uint64_t kMultiplier = 0xc6a4a7935bd1e995;

constexpr std::uint64_t inverse_of(std::uint64_t odd) {
  std::uint64_t inverse = odd;
  for (int i = 0; i < 6; ++i) inverse *= 2 - odd * inverse;
  return inverse;
}

constexpr std::uint64_t mix(std::uint64_t block) {
  block *= kMultiplier;
  return (block ^ (block >> 47)) * kMultiplier;
}

constexpr std::uint64_t unmix(std::uint64_t mixed) {
  mixed *= inverse_of(kMultiplier);
  return (mixed ^ (mixed >> 47)) * inverse_of(kMultiplier);
}

std::string bytes_of(std::uint64_t block) {
  const auto bytes = std::bit_cast<std::array<char, sizeof block>>(block);
  return {bytes.data(), bytes.size()};
}

// A difference in the highest bit survives the multiplication alone, and the next block takes it
// back: each pair of blocks has two forms.
std::vector<std::string> colliding(unsigned pairs) {
  constexpr std::uint64_t kHighest = std::uint64_t{1} << 63;
  std::vector<std::string> made{""};
  for (std::uint64_t i = 0; i < pairs; ++i) {
    const std::uint64_t first = 2 * i + 1, second = 2 * i + 2;
    std::vector<std::string> longer;
    for (const auto& text : made) {
      longer.push_back(text + bytes_of(first) + bytes_of(second));
      longer.push_back(text + bytes_of(unmix(mix(first) ^ kHighest)) +
                       bytes_of(unmix(mix(second) ^ kHighest)));
    }
    made = std::move(longer);
  }
  return made;
}

}  // namespace

TEST_CASE("SipHash-1-3 gives what others' gives") {
  struct Case {
    std::string_view text;
    std::uint64_t hash;
  };
  const std::string_view numbers("\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16", 15);
  // openssl mac -macopt c-rounds:1 -macopt d-rounds:3 -macopt size:8 SIPHASH
  const auto c = GENERATE_COPY(values<Case>({
      {numbers.substr(0, 0), 0xabac0158050fc4dc},
      {numbers.substr(0, 1), 0xc9f49bf37d57ca93},
      {numbers.substr(0, 8), 0x369095118d299a8e},
      {numbers.substr(0, 15), 0xd320d86d2a519956},
  }));
  CHECK(siphash13(0x0706050403020100, 0x0f0e0d0c0b0a0908, c.text) == c.hash);
}

TEST_CASE("names that were made to fall together do not") {
  const auto names = colliding(12);
  std::set<std::size_t> plain, keyed;
  for (const auto& name : names) {
    plain.insert(std::hash<std::string>()(name));
    keyed.insert(KeyedHash()(name));
  }
  REQUIRE(names.size() == 4096);
  // Otherwise this library has another function, and the names prove nothing.
  CHECK(plain.size() == 1);
  CHECK(keyed.size() == names.size());
  StringMap<int> map;
  for (const auto& name : names) map[name] = 1;
  std::size_t fullest = 0;
  for (std::size_t i = 0; i < map.bucket_count(); ++i) {
    fullest = std::max(fullest, map.bucket_size(i));
  }
  CHECK(fullest < 20);
  CHECK(map.contains(std::string_view(names.back())));
}

}  // namespace postern
