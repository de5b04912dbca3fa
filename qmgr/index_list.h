// index_list.h - a list of recipients by their numbers: one or two of them, mostly.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

namespace postern::qmgr {

// 16 bytes, and a piece of memory of its own from three numbers on.
class IndexList {
 public:
  using Index = std::uint32_t;

  IndexList() = default;
  IndexList(std::initializer_list<Index> numbers) : IndexList(std::span(numbers)) {}
  // NOLINTNEXTLINE(google-explicit-constructor): the same list
  IndexList(const std::vector<Index>& numbers) : IndexList(std::span(numbers)) {}
  explicit IndexList(std::span<const Index> numbers)
      : size_(static_cast<Index>(numbers.size())), room_(std::max(size_, kNear)) {
    if (room_ > kNear) far_ = new Index[room_];
    std::copy(numbers.begin(), numbers.end(), begin());
  }
  IndexList(IndexList&& other) noexcept { swap(other); }
  IndexList& operator=(IndexList&& other) noexcept {
    swap(other);
    return *this;
  }
  ~IndexList() {
    if (room_ > kNear) delete[] far_;
  }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] Index* begin() { return room_ > kNear ? far_ : near_; }
  [[nodiscard]] Index* end() { return begin() + size_; }
  [[nodiscard]] const Index* begin() const { return room_ > kNear ? far_ : near_; }
  [[nodiscard]] const Index* end() const { return begin() + size_; }

  // Takes the last `count` of them out. Precondition: there are so many.
  [[nodiscard]] IndexList take_back(std::size_t count) {
    IndexList taken(std::span<const Index>(end() - count, count));
    size_ -= static_cast<Index>(count);
    return taken;
  }
  [[nodiscard]] std::vector<Index> to_vector() const { return {begin(), end()}; }
  template <typename Condition>
  void remove_if(Condition condition) {
    size_ = static_cast<Index>(std::remove_if(begin(), end(), condition) - begin());
  }

  friend bool operator==(const IndexList& a, const IndexList& b) {
    return std::ranges::equal(a, b);
  }

 private:
  static constexpr Index kNear = 2;
  void swap(IndexList& other) noexcept {
    std::swap(size_, other.size_);
    std::swap(room_, other.room_);
    // Whichever of the two it is: both have eight bytes.
    static_assert(sizeof(near_) == sizeof(far_));
    char bytes[sizeof far_];
    std::memcpy(bytes, &far_, sizeof far_);
    std::memcpy(&far_, &other.far_, sizeof far_);
    std::memcpy(&other.far_, bytes, sizeof far_);
  }

  Index size_ = 0;
  Index room_ = kNear;
  union {
    Index near_[kNear]{};
    Index* far_;
  };
};

}  // namespace postern::qmgr
