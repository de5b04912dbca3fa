// check_logins.cpp - what of smtpd_sasl_* and smtp_sasl_* cannot work.

#include <fmt/format.h>
#include <sys/stat.h>

#include "common/config/sasl_profile.h"
#include "common/sasl/mechanism.h"
#include "postern/check.h"

namespace postern::control {

namespace {

using namespace config;

void check_options(const Values& values, std::string_view name, Problems& problems) {
  // A default is the value of another one, where it is named already.
  if (!values.is_set(name)) return;
  std::vector<std::string> unknown;
  static_cast<void>(sasl::parse_security_options(values.list(name), &unknown));
  for (const auto& word : unknown) {
    problems.push_back(values.problem(name, fmt::format("unknown security option: {}", word)));
  }
}

// A socket that is not there now may be there later: Dovecot makes it when it starts.
void check_endpoint(const Values& values, Problems& problems) {
  const std::string_view name = "smtpd_sasl_path";
  const auto endpoint = sasl_endpoint(values.text(name));
  if (!endpoint) {
    problems.push_back(values.problem(name, endpoint.error().text));
    return;
  }
  std::string_view path = *endpoint;
  if (!path.starts_with("unix:")) return;
  path.remove_prefix(5);
  const std::string file = path.starts_with('/')
                               ? std::string(path)
                               : fmt::format("{}/{}", values.text("queue_directory"), path);
  struct stat status{};
  if (::stat(file.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) return;
  problems.push_back(values.problem(
      name, fmt::format("{}: no authentication server listens there", file), Severity::kWarning));
}

void check_server(const Values& values, Problems& problems) {
  if (!values.flag("smtpd_sasl_auth_enable")) return;
  check_options(values, "smtpd_sasl_security_options", problems);
  check_options(values, "smtpd_sasl_tls_security_options", problems);
  const std::string type = values.text("smtpd_sasl_type");
  if (type == "dovecot") {
    check_endpoint(values, problems);
  } else if (type == "postern") {
    const auto profile = read_sasl_profile(values);
    if (profile.password_maps.empty() && profile.pam_service.empty()) {
      problems.push_back(values.problem(
          "smtpd_sasl_type",
          "postern needs smtpd_sasl_password_maps or smtpd_sasl_pam_service, and neither is set"));
    }
  } else if (type != "cyrus") {
    problems.push_back(values.problem(
        "smtpd_sasl_type", fmt::format("unsupported SASL server implementation: {}", type)));
  }
}

void check_client(const Values& values, std::string_view protocol, Problems& problems) {
  const auto name = [&](std::string_view rest) {
    return fmt::format("{}_sasl_{}", protocol, rest);
  };
  if (!values.flag(name("auth_enable"))) return;
  check_options(values, name("security_options"), problems);
  check_options(values, name("tls_security_options"), problems);
  check_options(values, name("tls_verified_security_options"), problems);
  if (values.list(name("password_maps")).empty()) {
    problems.push_back(
        values.problem(name("auth_enable"),
                       fmt::format("specify a password table with {}", name("password_maps"))));
  }
}

}  // namespace

Problems check_logins(const Snapshot& snapshot) {
  Problems problems;
  const auto shared = unowned(snapshot);
  for (const Service& service : snapshot.services) {
    const Values values(shared, service);
    if (service.program == "smtpd") check_server(values, problems);
    if (service.program == "smtp" || service.program == "lmtp") {
      check_client(values, service.program, problems);
    }
  }
  return problems;
}

}  // namespace postern::control
