// login_settings.h - what smtp_sasl_* (lmtp_sasl_*) say.

#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "common/config/site_list.h"
#include "common/config/values.h"
#include "common/sasl/mechanism.h"

namespace postern::smtpclient {

struct LoginSettings {
  bool is_enabled = false;
  bool is_sender_dependent = false;
  bool is_soft = true;              // a refusal of ours is no reason to bounce
  bool sends_authzid = false;       // send_cyrus_sasl_authzid
  bool sends_dummy_sender = false;  // AUTH=<> with MAIL
  std::vector<std::string> password_maps{};
  std::string result_delimiter = ":";
  std::string recipient_delimiter{};
  std::string token_directory{};
  sasl::SecurityOptions options{};
  sasl::SecurityOptions tls_options{};
  sasl::SecurityOptions verified_options{};
  bool has_filter = false;
  config::SiteList filter{};
  bool has_cache = false;
  std::chrono::seconds cache_time{0};

  // `values` as the protocol sees them (Values::for_lmtp).
  [[nodiscard]] static LoginSettings load(const config::Values& values, config::Problems& problems);
};

}  // namespace postern::smtpclient
