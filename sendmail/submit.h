// submit.h - hands one message to postdrop.

#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/queuefile/envelope.h"
#include "common/sys/fd.h"

namespace postern::sendmail {

class Drop {
 public:
  // Starts postdrop; the configuration directory is passed on when it is not the default one.
  [[nodiscard]] static Result<Drop> start(const std::string& command_directory,
                                          const std::string& config_directory);
  Drop(Drop&&) = default;
  ~Drop();

  [[nodiscard]] Result<void> envelope(queuefile::Envelope& envelope);
  [[nodiscard]] Result<void> content(std::string_view bytes);
  // Gives the message up; returns when postdrop has ended.
  void end();
  // The message is in the queue; its id in maildrop/.
  [[nodiscard]] Result<std::string> finish();

 private:
  Drop(pid_t child, sys::Fd to, sys::Fd from)
      : child_(child), to_(std::move(to)), from_(std::move(from)) {}
  struct Child {
    explicit Child(pid_t number) : pid(number) {}
    Child(Child&& other) noexcept : pid(std::exchange(other.pid, -1)) {}
    pid_t pid;
  };
  Child child_;
  sys::Fd to_, from_;
};

}  // namespace postern::sendmail
