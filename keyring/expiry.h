// expiry.h - says in the log, once a day, which certificates end soon.

#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "common/ipc/keyring.h"
#include "common/loop/loop.h"

namespace postern::keyring {

// What is to be said of one certificate at the time: nothing while its end is further away than
// kExpiryNotice.
inline constexpr std::chrono::days kExpiryNotice{14};
[[nodiscard]] std::string expiry_warning(std::string_view path, std::string_view subject,
                                         std::chrono::system_clock::time_point end,
                                         std::chrono::system_clock::time_point now);

class ExpiryWatch {
 public:
  ExpiryWatch() : timer_([this] { look(); }) {}
  // The first certificate of each file counts: the others are not ours to renew.
  void set(const std::vector<ipc::keyring::KeyFile>& files);

 private:
  struct Watched {
    std::string path, subject;
    std::chrono::system_clock::time_point end;
  };
  void look();
  std::vector<Watched> certificates_;
  loop::CallbackTimer timer_;
};

}  // namespace postern::keyring
