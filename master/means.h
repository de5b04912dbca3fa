// means.h - what this system has to keep daemons apart: the kernel's means, and accounts.

#pragma once

#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/config/values.h"
#include "common/sys/fd.h"

namespace postern::master {

class Means {
 public:
  // Looks at what there is, and says once what is missing. kConfig error where `confinement`
  // (process_confinement) is strict and something is.
  [[nodiscard]] Result<void> choose(const config::Values& values, std::string_view confinement);

  // A network without interfaces for daemons that need none; -1 when they share ours.
  [[nodiscard]] int empty_network() const { return is_wanted_ ? empty_network_.get() : -1; }

 private:
  void probe();

  bool is_wanted_ = false;
  bool was_probed_ = false;
  sys::Fd empty_network_;
  std::string withheld_;  // what the kernel or the container has not
  bool has_told_of_accounts_ = false;
};

}  // namespace postern::master
