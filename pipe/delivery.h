// delivery.h - gives messages to an external command.
//
// main has no rights; the command runs in a deliverer that has those of user=. One command gets a
// message for all recipients of the delivery, and its exit status counts for all of them.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/agent/deliverers.h"
#include "common/agent/delivery.h"
#include "common/agent/mailbox_job.h"
#include "common/config/values.h"
#include "pipe/command_line.h"

namespace postern::pipe {

class Agent {
 public:
  // `who` are the rights of user=.
  Agent(const config::Values& values, std::string service, CommandLine line, agent::Identity who,
        sys::Fd broker);
  void configure(const config::Values& values);
  [[nodiscard]] loop::Task<void> deliver(std::shared_ptr<agent::Delivery> delivery);

 private:
  struct Settings {
    std::chrono::seconds time_limit{};
    std::vector<std::string> environment{};
    std::string queue_directory{};
    std::string recipient_delimiter{};
    bool adds_original_to = true;  // enable_original_recipient
  };

  [[nodiscard]] loop::Task<void> run(agent::Delivery& delivery, const queuefile::Message& message,
                                     std::vector<std::size_t> recipients);
  [[nodiscard]] const std::string& sender_of(const agent::Delivery& delivery) const;
  [[nodiscard]] std::string prepended(const agent::Delivery& delivery,
                                      const std::vector<std::size_t>& recipients) const;
  [[nodiscard]] agent::Verdict verdict(std::string_view status, std::string text) const;

  std::string service_;
  CommandLine line_;
  agent::Identity who_;
  std::shared_ptr<const Settings> settings_;
  agent::Deliverers deliverers_;
};

}  // namespace postern::pipe
