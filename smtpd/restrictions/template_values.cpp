#include "smtpd/restrictions/template_values.h"

#include <fmt/format.h>

#include <array>
#include <ctime>

#include "common/base/text.h"
#include "common/config/expand.h"
#include "common/log/clean.h"
#include "common/mail/address.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

// Facts that come from outside: what goes into a reply is short and harmless.
constexpr std::size_t kMaxFact = 500;

std::string local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&now, &parts);
  std::array<char, 64> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%b %d %H:%M:%S", &parts);
  return {text.data(), size};
}

void add_address(TemplateValues& values, const std::string& prefix, std::string_view address) {
  const auto parts = mail::split_address(address);
  values[prefix] = address.empty() ? "<>" : mail::quote_address(address);
  values[prefix + "_name"] = address.empty() ? "<>" : parts.local_part;
  values[prefix + "_domain"] = parts.domain;
}

}  // namespace

TemplateValues template_values(const Session& session, std::string_view recipient) {
  TemplateValues values = {
      {"client", session.client()},
      {"client_address", session.client_address()},
      {"client_name", session.client_name()},
      {"client_port", session.client_port()},
      {"reverse_client_name", session.reverse_name()},
      {"helo_name", session.helo()},
      {"localtime", local_time()},
      {"server_name", session.settings().address.myhostname},
  };
  if (session.sender()) add_address(values, "sender", *session.sender());
  if (!recipient.empty()) add_address(values, "recipient", recipient);
  return values;
}

TemplateValues template_values(const ContactFacts& facts) {
  TemplateValues values = {
      {"client", fmt::format("[{}]:{}", facts.address, facts.port)},
      {"client_address", std::string(facts.address)},
      {"client_port", std::string(facts.port)},
      {"helo_name", std::string(facts.helo)},
      {"localtime", local_time()},
      {"server_name", std::string(facts.myhostname)},
  };
  if (facts.sender != nullptr) add_address(values, "sender", *facts.sender);
  if (facts.recipient != nullptr) add_address(values, "recipient", *facts.recipient);
  return values;
}

Result<std::string> expand_template(std::string_view text, const TemplateValues& own,
                                    const config::Values* values, std::string_view allowed) {
  const config::Lookup lookup = [&](std::string_view name) -> std::optional<std::string> {
    std::string value;
    if (const auto found = own.find(name); found != own.end()) {
      value = log::clean(found->second, kMaxFact);
    } else if (values != nullptr && values->raw(name)) {
      value = values->text(name);
    } else {
      return std::nullopt;
    }
    for (char& c : value) {
      if (allowed.find(c) == std::string_view::npos) c = '_';
    }
    // A client that calls itself ${...} is shown so: only main.cf is expanded.
    return replace_all(value, "$", "$$");
  };
  return config::expand(text, lookup);
}

}  // namespace postern::smtpd
