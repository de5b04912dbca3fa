// greylist.h - who has been asked to come again, in memory: for mail systems that have no anvil(8).
//
// A client network (/24, /64), sender and recipient are let in when they come again after the
// delay, and for a month from their last mail on.

#pragma once

#include <chrono>
#include <mutex>
#include <string>
#include <string_view>

#include "common/base/keyed_hash.h"
#include "common/dns/wire.h"

namespace postern::milterd {

class Greylist {
 public:
  using Time = std::chrono::seconds;  // on any clock that does not jump
  static constexpr std::size_t kMaxEntries = 200'000;

  explicit Greylist(Time delay) : delay_(delay) {}

  // How long it has to wait still; zero lets it in. Threads may ask at once.
  [[nodiscard]] Time ask(const dns::Address& client, std::string_view sender,
                         std::string_view recipient, Time now);

 private:
  static constexpr Time kWindow = std::chrono::hours(48);
  static constexpr Time kLifetime = std::chrono::hours(24 * 35);
  struct Entry {
    Time first{0}, last{0};
    bool has_passed = false;
  };
  void forget_old(Time now);

  const Time delay_;
  std::mutex mutex_;
  StringMap<Entry> entries_;
};

}  // namespace postern::milterd
