#include "common/smtpclient/login_settings.h"

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/config/params/sasl.h"

namespace postern::smtpclient {

namespace {

sasl::SecurityOptions read_options(const config::Values& values, std::string_view name,
                                   const std::vector<std::string>& words,
                                   config::Problems& problems) {
  std::vector<std::string> unknown;
  const auto options = sasl::parse_security_options(words, &unknown);
  for (const auto& word : unknown) {
    problems.push_back(
        values.problem(values.member_name(name), fmt::format("unknown security option: {}", word)));
  }
  return options;
}

}  // namespace

LoginSettings LoginSettings::load(const config::Values& values, config::Problems& problems) {
  LoginSettings out;
  const auto params = config::load<config::SaslParams>(values, problems);
  out.is_enabled = params.smtp_sasl_auth_enable;
  if (!out.is_enabled) return out;
  out.is_sender_dependent = values.flag(values.member_name("smtp_sender_dependent_authentication"));
  out.sends_dummy_sender = values.flag(values.member_name("smtp_send_dummy_mail_auth"));
  out.is_soft = params.smtp_sasl_auth_soft_bounce;
  out.sends_authzid = params.send_cyrus_sasl_authzid;
  out.password_maps = params.smtp_sasl_password_maps;
  out.result_delimiter = params.smtp_sasl_password_result_delimiter;
  out.token_directory = trim_right(params.smtp_sasl_token_directory, "/");
  out.recipient_delimiter = values.text("recipient_delimiter");
  out.options = read_options(values, "smtp_sasl_security_options",
                             params.smtp_sasl_security_options, problems);
  out.tls_options = read_options(values, "smtp_sasl_tls_security_options",
                                 params.smtp_sasl_tls_security_options, problems);
  out.verified_options = read_options(values, "smtp_sasl_tls_verified_security_options",
                                      params.smtp_sasl_tls_verified_security_options, problems);
  out.has_filter = !params.smtp_sasl_mechanism_filter.empty();
  out.filter = config::SiteList(params.smtp_sasl_mechanism_filter, false, values);
  out.has_cache = !params.smtp_sasl_auth_cache_name.empty();
  out.cache_time = params.smtp_sasl_auth_cache_time;
  if (out.password_maps.empty()) {
    problems.push_back(values.problem(values.member_name("smtp_sasl_auth_enable"),
                                      fmt::format("specify a password table with {}",
                                                  values.member_name("smtp_sasl_password_maps"))));
  }
  return out;
}

}  // namespace postern::smtpclient
