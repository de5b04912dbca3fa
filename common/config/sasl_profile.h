// sasl_profile.h - how logins are judged, as a configuration says it (smtpd_sasl_type and kin), and
// the number by which smtpd names it to the auth daemon.
//
// As with endpoints (endpoints.h): a process that was taken over may ask for what the configuration
// names, and nothing else.

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/config/values.h"

namespace postern::config {

struct SaslProfile {
  std::string type;          // "cyrus" or "postern"
  std::string path;          // cyrus: smtpd_sasl_path, the name of the application's file
  std::string config_path;   // cyrus: cyrus_sasl_config_path
  std::string service;       // smtpd_sasl_service
  std::string local_domain;  // smtpd_sasl_local_domain
  std::string hostname;      // myhostname
  // postern: smtpd_sasl_password_maps and smtpd_sasl_pam_service
  std::vector<std::string> password_maps;
  std::string pam_service;

  [[nodiscard]] std::uint64_t number() const;
};

[[nodiscard]] SaslProfile read_sasl_profile(const Values& values);

// Those of main.cf and of each line of master.cf that are of the auth daemon's types and switched
// on, by number.
[[nodiscard]] std::map<std::uint64_t, SaslProfile> configured_sasl_profiles(const Values& values);

// The endpoint behind smtpd_sasl_path for Dovecot: "inet:host:port" or "unix:path".
[[nodiscard]] Result<std::string> sasl_endpoint(std::string_view path);

}  // namespace postern::config
