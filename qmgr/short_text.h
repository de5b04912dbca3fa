// short_text.h - a name that lies where it is held, unless it is longer than most names are.

#pragma once

#include <cstddef>
#include <cstring>
#include <string_view>
#include <utility>

namespace postern::qmgr {

// Takes kSize bytes, and a piece of its own where the name has kSize characters or more.
template <std::size_t kSize>
class ShortText {
 public:
  ShortText() = default;
  explicit ShortText(std::string_view text) { assign(text); }
  ShortText(ShortText&& other) noexcept { swap(other); }
  ShortText& operator=(ShortText&& other) noexcept {
    swap(other);
    return *this;
  }
  ~ShortText() {
    if (is_far()) delete[] far().text;
  }

  // NOLINTNEXTLINE(google-explicit-constructor): it is the text
  operator std::string_view() const { return view(); }
  [[nodiscard]] std::string_view view() const {
    if (!is_far()) return {bytes_, static_cast<std::size_t>(bytes_[kSize - 1])};
    return {far().text, far().size};
  }
  [[nodiscard]] bool empty() const { return bytes_[kSize - 1] == 0; }

 private:
  static_assert(kSize >= 24 && kSize % 8 == 0 && kSize < 128);
  static constexpr char kFar = static_cast<char>(kSize);
  struct Far {
    char* text;
    std::size_t size;
  };

  [[nodiscard]] bool is_far() const { return bytes_[kSize - 1] == kFar; }
  [[nodiscard]] Far far() const {
    Far far{};
    std::memcpy(&far, bytes_, sizeof far);
    return far;
  }
  void assign(std::string_view text) {
    if (text.size() < kSize) {
      std::memcpy(bytes_, text.data(), text.size());
      bytes_[kSize - 1] = static_cast<char>(text.size());
      return;
    }
    const Far far{new char[text.size()], text.size()};
    std::memcpy(far.text, text.data(), text.size());
    std::memcpy(bytes_, &far, sizeof far);
    bytes_[kSize - 1] = kFar;
  }
  void swap(ShortText& other) noexcept { std::swap(bytes_, other.bytes_); }

  alignas(8) char bytes_[kSize]{};  // the last one is the length, or kFar
};

}  // namespace postern::qmgr
