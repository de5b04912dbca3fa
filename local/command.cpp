#include "local/command.h"

#include <fmt/format.h>

#include <optional>

#include "common/config/expand.h"

namespace postern::local {

namespace {

std::string censored(std::string_view value, std::string_view filter) {
  std::string out(value);
  for (char& c : out) {
    if (c == '\0' || (!filter.empty() && filter.find(c) == std::string_view::npos)) c = '_';
  }
  return out;
}

}  // namespace

std::vector<std::string> describe(const CommandContext& context,
                                  const queuefile::Envelope& envelope, std::string_view filter) {
  std::vector<std::string> environment;
  const auto add = [&](std::string_view name, std::string_view value) {
    environment.push_back(fmt::format("{}={}", name, censored(value, filter)));
  };
  const auto add_known = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) add(name, value);
  };
  add_known("HOME", context.home);
  add("LOGNAME", context.user);
  add("USER", context.user);
  add("SENDER", context.sender);
  add("RECIPIENT", context.recipient);
  add("LOCAL", context.local_part);
  add_known("SHELL", context.shell);
  add_known("DOMAIN", context.domain);
  add_known("EXTENSION", context.extension);
  add_known("ORIGINAL_RECIPIENT", context.orig_to);
  add_known("CLIENT_HOSTNAME", envelope.client.name);
  add_known("CLIENT_ADDRESS", envelope.client.address);
  add_known("CLIENT_HELO", envelope.client.helo);
  add_known("CLIENT_PROTOCOL", envelope.client.protocol);
  add_known("SASL_METHOD", envelope.sasl_method);
  add_known("SASL_USERNAME", envelope.sasl_username);
  add_known("SASL_SENDER", envelope.sasl_sender);
  return environment;
}

std::string expand_for(const CommandContext& context, std::string_view text,
                       std::string_view recipient_delimiter, std::string_view filter) {
  const auto lookup = [&](std::string_view name) -> std::optional<std::string> {
    const auto value = [&]() -> std::optional<std::string_view> {
      if (name == "home") return context.home;
      if (name == "user") return context.user;
      if (name == "shell") return context.shell;
      if (name == "local" || name == "mailbox") return context.local_part;
      if (name == "domain") return context.domain;
      if (name == "extension") return context.extension;
      if (name == "recipient") return context.recipient;
      if (name == "recipient_delimiter") return recipient_delimiter.substr(0, 1);
      return std::nullopt;
    }();
    if (!value) return std::nullopt;
    // What comes from outside names no other value.
    std::string out = censored(*value, filter);
    for (std::size_t at = 0; (at = out.find('$', at)) != std::string::npos; ++at) out[at] = '_';
    return out;
  };
  const auto expanded = config::expand(text, lookup);
  return expanded ? *expanded : std::string();
}

}  // namespace postern::local
