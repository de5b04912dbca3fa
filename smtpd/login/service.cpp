#include "smtpd/login/service.h"

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/config/endpoints.h"
#include "common/config/params/sasl.h"
#include "common/config/sasl_profile.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "smtpd/login/auth_daemon.h"
#include "smtpd/login/dovecot.h"

namespace postern::smtpd {

namespace {

constexpr std::chrono::seconds kComplaintPause{10};

sasl::SecurityOptions read_options(const config::Values& values, std::string_view name,
                                   const std::vector<std::string>& words,
                                   config::Problems& problems) {
  std::vector<std::string> unknown;
  const auto options = sasl::parse_security_options(words, &unknown);
  for (const auto& word : unknown) {
    problems.push_back(values.problem(name, fmt::format("unknown security option: {}", word)));
  }
  return options;
}

// Where TLS is demanded, nobody logs in before it.
bool is_tls_demanded(const config::Values& values) {
  const std::string level = values.text("smtpd_tls_security_level");
  return level.empty() ? values.flag("smtpd_enforce_tls") : level == "encrypt";
}

}  // namespace

LoginSettings read_login_settings(const config::Values& values, config::Problems& problems) {
  LoginSettings settings;
  const auto params = config::load<config::SaslParams>(values, problems);
  settings.is_enabled = params.smtpd_sasl_auth_enable;
  if (!settings.is_enabled) return settings;
  settings.is_tls_only = values.flag("smtpd_tls_auth_only") || is_tls_demanded(values);
  settings.offers_broken_form = params.broken_sasl_auth_clients;
  settings.has_trace = params.smtpd_sasl_authenticated_header;
  settings.service = params.smtpd_sasl_service;
  settings.options = read_options(values, "smtpd_sasl_security_options",
                                  params.smtpd_sasl_security_options, problems);
  settings.tls_options = read_options(values, "smtpd_sasl_tls_security_options",
                                      params.smtpd_sasl_tls_security_options, problems);
  settings.has_filter = !params.smtpd_sasl_mechanism_filter.empty();
  settings.filter = config::SiteList(params.smtpd_sasl_mechanism_filter, false, values);
  settings.exceptions = params.smtpd_sasl_exceptions_networks;
  settings.response_limit = static_cast<std::size_t>(params.smtpd_sasl_response_limit);
  if (params.smtpd_sasl_type == "dovecot") {
    settings.type = LoginSettings::Type::kDovecot;
    const auto endpoint = config::sasl_endpoint(params.smtpd_sasl_path);
    if (endpoint) {
      settings.partner = config::endpoint_number(*endpoint);
      settings.partner_name = *endpoint;
    } else {
      problems.push_back(values.problem("smtpd_sasl_path", endpoint.error().text));
      settings.is_enabled = false;
    }
  } else if (params.smtpd_sasl_type == "cyrus" || params.smtpd_sasl_type == "postern") {
    settings.type = LoginSettings::Type::kAuthDaemon;
    settings.partner = config::read_sasl_profile(values).number();
    settings.partner_name = params.smtpd_sasl_type;
  } else {
    problems.push_back(values.problem(
        "smtpd_sasl_type",
        fmt::format("unsupported SASL server implementation: {}", params.smtpd_sasl_type)));
    settings.is_enabled = false;
  }
  return settings;
}

LoginServices::LoginServices() = default;
LoginServices::~LoginServices() = default;

DovecotClient& LoginServices::dovecot(const LoginSettings& settings) {
  auto& client = dovecot_[settings.partner];
  if (client == nullptr) {
    client = std::make_unique<DovecotClient>(broker_, settings.partner, settings.partner_name);
  }
  return *client;
}

loop::Task<Result<std::vector<sasl::Mechanism>>> LoginServices::mechanisms(
    const LoginSettings& settings) {
  if (settings.type == LoginSettings::Type::kDovecot) {
    co_return co_await dovecot(settings).mechanisms();
  }
  co_return co_await auth_mechanisms(auth_, settings.partner);
}

void LoginServices::complain(std::string_view why) {
  const auto now = loop::Clock::now();
  if (complained_ != loop::TimePoint{} && now < complained_ + kComplaintPause) return;
  complained_ = now;
  log::warning("SASL: AUTH is not offered: {}", log::clean(why));
}

std::unique_ptr<LoginExchange> LoginServices::exchange(const LoginSettings& settings) {
  if (settings.type == LoginSettings::Type::kDovecot) {
    return make_dovecot_exchange(dovecot(settings), settings.service);
  }
  return make_auth_exchange(auth_, settings.partner);
}

}  // namespace postern::smtpd
