// settings.h - what the sessions of one service take from the configuration.
//
// A session keeps the settings it began with; a reload makes new ones for those that come after.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/config/networks.h"
#include "common/config/params/address.h"
#include "common/config/params/smtpd.h"
#include "common/config/values.h"
#include "common/smtpwire/command.h"
#include "common/smtpwire/dot.h"
#include "smtpd/restrictions/list.h"

namespace postern::smtpd {

struct Settings {
  config::SmtpdParams smtpd;
  config::AddressParams address;
  std::string mail_name;
  std::uint64_t message_size_limit = 0;
  std::size_t line_length_limit = 2048;
  bool enable_long_queue_ids = false;
  std::chrono::seconds in_flow_delay{0};
  bool smtputf8_enable = true;
  std::vector<std::string> own_addresses;
  std::vector<std::string> noop_commands;       // upper case
  std::vector<std::string> forbidden_commands;  // upper case
  std::vector<std::string> discarded_keywords;  // of EHLO, lower case

  RestrictionLists restrictions;
  // No list keeps strangers from relaying: nobody is served (SMTPD_ACCESS_README).
  bool has_no_relay_guard = false;

  [[nodiscard]] bool discards(std::string_view keyword) const;
};
using SettingsPtr = std::shared_ptr<const Settings>;

[[nodiscard]] SettingsPtr read_settings(const config::Values& values, config::Problems& problems);

}  // namespace postern::smtpd
