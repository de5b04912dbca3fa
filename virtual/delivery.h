// delivery.h - delivers to mailboxes of users who are in no passwd.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/agent/deliverers.h"
#include "common/agent/delivery.h"
#include "common/agent/mailbox_job.h"
#include "common/config/values.h"
#include "common/ipc/tables_client.h"

namespace postern::virtual_mailbox {

struct Settings {
  std::string virtual_mailbox_base{};
  std::vector<std::string> virtual_mailbox_maps{};
  std::vector<std::string> virtual_uid_maps{};
  std::vector<std::string> virtual_gid_maps{};
  std::int64_t virtual_minimum_uid = 0;
  std::string recipient_delimiter{};
  bool adds_original_to = true;  // enable_original_recipient
  agent::MailboxSettings mailbox{};
};
[[nodiscard]] Settings load_settings(const config::Values& values);

class Agent {
 public:
  Agent(const config::Values& values, sys::Fd broker);
  void configure(const config::Values& values);
  [[nodiscard]] loop::Task<void> deliver(std::shared_ptr<agent::Delivery> delivery);

 private:
  struct Progress {
    std::string header;  // of the message
    unsigned under_way = 0;
    loop::Condition landed;
  };
  loop::Task<void> deliver_one(std::shared_ptr<agent::Delivery> delivery,
                               const queuefile::Message& message, std::size_t index,
                               std::shared_ptr<Progress> progress);
  [[nodiscard]] loop::Task<agent::Verdict> deliver_to(const agent::Delivery& delivery,
                                                      const queuefile::Message& message,
                                                      std::size_t index, const std::string& header);
  // `maps` and `keys` are the caller's, who waits.
  [[nodiscard]] loop::Task<Result<unsigned>> find_id(const std::vector<std::string>& maps,
                                                     const std::vector<ipc::tables::Key>& keys,
                                                     std::int64_t minimum, std::string_view what);

  // Deliveries under way keep the settings that they began with.
  std::shared_ptr<const Settings> settings_;
  ipc::TablesClient tables_;
  agent::Deliverers deliverers_;
};

}  // namespace postern::virtual_mailbox
