// named_locks.h - what only one may do at a time, by name; who waits is served in order.
//
//     const auto held = co_await locks.take(path);
//     ...                                            // until `held` ends

#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "common/loop/loop.h"
#include "common/loop/task.h"

namespace postern::loop {

class NamedLocks {
 public:
  // One name, until this object's end. It must not outlive the locks.
  class [[nodiscard]] Held {
   public:
    Held() = default;  // of nothing
    Held(Held&& other) noexcept
        : locks_(std::exchange(other.locks_, nullptr)), name_(std::move(other.name_)) {}
    Held& operator=(Held&& other) noexcept {
      release();
      locks_ = std::exchange(other.locks_, nullptr);
      name_ = std::move(other.name_);
      return *this;
    }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() { release(); }

   private:
    friend class NamedLocks;
    Held(NamedLocks& locks, std::string name) : locks_(&locks), name_(std::move(name)) {}
    void release() {
      if (locks_ != nullptr) std::exchange(locks_, nullptr)->give_on(name_);
    }

    NamedLocks* locks_ = nullptr;
    std::string name_;
  };

  NamedLocks() = default;
  NamedLocks(const NamedLocks&) = delete;
  NamedLocks& operator=(const NamedLocks&) = delete;

  // A free name is taken before the first suspension: who calls first has it first.
  [[nodiscard]] Task<Held> take(std::string name) {
    const auto [place, is_free] = taken_.try_emplace(name);
    if (!is_free && co_await place->second.wait(kNever) != Wait::kReady) co_return Held();
    co_return Held(*this, std::move(name));
  }

 private:
  // The next one in the line has it from here on; nobody gets in between.
  void give_on(std::string_view name) {
    const auto place = taken_.find(name);
    if (place->second.has_waiters()) return place->second.notify_one();
    taken_.erase(place);
  }

  std::map<std::string, Condition, std::less<>> taken_;
};

}  // namespace postern::loop
