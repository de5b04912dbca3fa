// onlookers.h - those who see what smtpd writes of its clients while it writes it (postern trace
// --live).
//
// Processes of smtpd are told whether there is anybody: where there is nobody, they send nothing.
// What an onlooker does not read in time is dropped for him, and counted.

#pragma once

#include <vector>

#include "common/ipc/anvil.h"
#include "common/ipc/channel.h"

namespace postern::anvil {

class Onlookers {
 public:
  [[nodiscard]] bool empty() const { return onlookers_.empty(); }
  // An error where there are too many.
  [[nodiscard]] Result<void> add(const ipc::ChannelPtr& channel);
  void remove(const ipc::ChannelPtr& channel);
  void show(const ipc::anvil::SessionLine& line);

 private:
  struct Onlooker {
    ipc::ChannelPtr channel;
    std::int64_t dropped = 0;
  };
  std::vector<Onlooker> onlookers_;
};

}  // namespace postern::anvil
