#include "common/base/keyed_hash.h"

#include <sys/auxv.h>

#include <bit>
#include <cstring>

namespace postern {

namespace {

struct State {
  std::uint64_t v0, v1, v2, v3;

  void round() {
    v0 += v1;
    v2 += v3;
    v1 = std::rotl(v1, 13) ^ v0;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 = std::rotl(v0, 32) + v3;
    v2 += v1;
    v3 = std::rotl(v3, 21) ^ v0;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
};

std::uint64_t load(const char* bytes, std::size_t count) {
  std::uint64_t value = 0;
  std::memcpy(&value, bytes, count);
  if constexpr (std::endian::native == std::endian::big) value = __builtin_bswap64(value);
  return value;
}

struct Key {
  std::uint64_t first = 0, second = 0;
};

// What the kernel gives each program at its start, so that it need not be asked for.
Key key_of_process() {
  Key key;
  const auto* const bytes = std::bit_cast<const char*>(::getauxval(AT_RANDOM));
  if (bytes != nullptr) std::memcpy(&key, bytes, sizeof key);
  return key;
}

}  // namespace

std::uint64_t siphash13(std::uint64_t key0, std::uint64_t key1, std::string_view text) {
  State state{key0 ^ 0x736f6d6570736575, key1 ^ 0x646f72616e646f6d, key0 ^ 0x6c7967656e657261,
              key1 ^ 0x7465646279746573};
  constexpr std::size_t kBlock = 8;
  const std::size_t size = text.size();
  for (; text.size() >= kBlock; text.remove_prefix(kBlock)) {
    const std::uint64_t block = load(text.data(), kBlock);
    state.v3 ^= block;
    state.round();
    state.v0 ^= block;
  }
  const std::uint64_t last = (std::uint64_t{size & 0xff} << 56) | load(text.data(), text.size());
  state.v3 ^= last;
  state.round();
  state.v0 ^= last;
  state.v2 ^= 0xff;
  for (int i = 0; i < 3; ++i) state.round();
  return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

std::size_t KeyedHash::operator()(std::string_view text) const {
  static const Key key = key_of_process();
  return siphash13(key.first, key.second, text);
}

}  // namespace postern
