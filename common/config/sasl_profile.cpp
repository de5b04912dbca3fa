#include "common/config/sasl_profile.h"

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/config/endpoints.h"
#include "common/config/snapshot.h"

namespace postern::config {

std::uint64_t SaslProfile::number() const {
  std::string text;
  for (const auto* part :
       {&type, &path, &config_path, &service, &local_domain, &hostname, &pam_service}) {
    text += *part;
    text += '\0';
  }
  for (const auto& map : password_maps) {
    text += map;
    text += '\0';
  }
  return endpoint_number(text);
}

SaslProfile read_sasl_profile(const Values& values) {
  SaslProfile profile;
  profile.type = values.text("smtpd_sasl_type");
  profile.service = values.text("smtpd_sasl_service");
  profile.local_domain = values.text("smtpd_sasl_local_domain");
  profile.hostname = values.text("myhostname");
  if (profile.type == "cyrus") {
    profile.path = values.text("smtpd_sasl_path");
    profile.config_path = values.text("cyrus_sasl_config_path");
  } else {
    profile.password_maps = values.list("smtpd_sasl_password_maps");
    profile.pam_service = values.text("smtpd_sasl_pam_service");
  }
  return profile;
}

std::map<std::uint64_t, SaslProfile> configured_sasl_profiles(const Values& values) {
  std::map<std::uint64_t, SaslProfile> found;
  const auto collect = [&found](const Values& from) {
    if (!from.flag("smtpd_sasl_auth_enable")) return;
    auto profile = read_sasl_profile(from);
    if (profile.type != "cyrus" && profile.type != "postern") return;
    const auto number = profile.number();
    found.emplace(number, std::move(profile));
  };
  collect(values);
  for (const auto& service : values.snapshot().services) {
    if (!service.overrides.empty()) collect(values.of_service(service));
  }
  return found;
}

Result<std::string> sasl_endpoint(std::string_view path) {
  if (path.starts_with("inet:")) return canonical_endpoint(path);
  if (path.starts_with("unix:")) path.remove_prefix(5);
  if (path.empty()) return fail(Error::Kind::kConfig, "smtpd_sasl_path is empty");
  return fmt::format("unix:{}", path);
}

}  // namespace postern::config
