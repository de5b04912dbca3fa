#include "local/delivery.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

#include "common/base/text.h"
#include "common/config/expand.h"
#include "common/config/params/address.h"
#include "common/config/params/local.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/table/table.h"
#include "local/expansion.h"

namespace postern::local {

namespace {

// Name services block; a few may do so at once.
constexpr unsigned kLookupThreads = 4;

}  // namespace

bool has_word(const std::vector<std::string>& words, std::string_view word) {
  return std::ranges::find(words, word) != words.end();
}

Settings load_settings(const config::Values& values, std::string service) {
  config::Problems problems;
  const auto params = config::load<config::LocalParams>(values, problems);
  const auto address = config::load<config::AddressParams>(values, problems);
  Settings s;
  s.service = std::move(service);
  s.myhostname = address.myhostname;
  s.alias_maps = table::literal_names(values.list("alias_maps"));
  s.recipient_delimiter = address.recipient_delimiter;
  s.owner_request_special = params.owner_request_special;
  s.expand_owner_alias = params.expand_owner_alias;
  s.adds_original_to = values.flag("enable_original_recipient");
  s.frozen_delivered_to = params.frozen_delivered_to;
  s.require_home_directory = params.require_home_directory;
  s.biff = params.biff;
  s.home_mailbox = params.home_mailbox;
  s.mail_spool_directory = params.mail_spool_directory;
  for (const auto element : split_words_braced(params.forward_path)) {
    s.forward_path.emplace_back(element);
  }
  s.forward_expansion_filter = params.forward_expansion_filter;
  s.propagates_from_alias = has_word(address.propagate_unmatched_extensions, "alias");
  s.propagates_from_forward = has_word(address.propagate_unmatched_extensions, "forward");
  s.propagates_from_include = has_word(address.propagate_unmatched_extensions, "include");
  s.adds_delivered_to_file = has_word(params.prepend_delivered_header, "file");
  s.adds_delivered_to_forward = has_word(params.prepend_delivered_header, "forward");
  s.adds_delivered_to_command = has_word(params.prepend_delivered_header, "command");
  s.mailbox_command = trim(params.mailbox_command);
  s.mailbox_command_maps = table::literal_names(params.mailbox_command_maps);
  s.local_command_shell = params.local_command_shell;
  s.command_execution_directory = params.command_execution_directory;
  s.execution_directory_expansion_filter = params.execution_directory_expansion_filter;
  s.command_expansion_filter = params.command_expansion_filter;
  s.time_limit = config::transport_duration(values, s.service, "_time_limit");
  s.environment = agent::command_environment(values.list("export_environment"),
                                             values.text("config_directory"));
  s.queue_directory = values.text("queue_directory");
  s.mailbox_transport = params.mailbox_transport;
  s.mailbox_transport_maps = table::literal_names(params.mailbox_transport_maps);
  s.fallback_transport = params.fallback_transport;
  s.fallback_transport_maps = table::literal_names(params.fallback_transport_maps);
  s.luser_relay = params.luser_relay;
  s.allow_mail_to_commands = params.allow_mail_to_commands;
  s.allow_mail_to_files = params.allow_mail_to_files;
  s.mailbox.limit = static_cast<std::uint64_t>(params.mailbox_size_limit);
  s.mailbox.strict_ownership = params.strict_mailbox_ownership;
  s.mailbox.host = address.myhostname;
  const auto locks =
      agent::parse_mailbox_locks(fmt::format("{}", fmt::join(params.mailbox_delivery_lock, " ")));
  if (locks) s.mailbox.locks = *locks;
  if (!locks) log::error("mailbox_delivery_lock: {}", locks.error().text);
  s.mailbox.locks.attempts = static_cast<unsigned>(params.deliver_lock_attempts);
  s.mailbox.locks.delay = params.deliver_lock_delay;
  s.mailbox.locks.stale_after = params.stale_lock_time;
  return s;
}

MailboxPlace mailbox_place(const Settings& settings, const User& user) {
  if (!settings.home_mailbox.empty()) {
    return {fmt::format("{}/{}", user.home, settings.home_mailbox), false};
  }
  std::string spool = settings.mail_spool_directory;
  const bool is_maildir = spool.ends_with('/');
  while (spool.size() > 1 && spool.ends_with('/')) spool.pop_back();
  return {fmt::format("{}/{}{}", spool, user.name, is_maildir ? "/" : ""), !is_maildir};
}

std::string expand_forward_path(const Settings& settings, std::string_view element,
                                const User& user, std::string_view local_part,
                                std::string_view domain, std::string_view extension) {
  if (extension.empty()) {
    // A condition on the extension is one for a reason; a plain mention asks for one.
    for (const std::string_view mention : {"$extension", "${extension}", "$(extension)"}) {
      if (element.find(mention) != std::string_view::npos) return {};
    }
  }
  const auto filtered = [&](std::string_view value) {
    std::string out(value);
    for (char& c : out) {
      if (settings.forward_expansion_filter.find(c) == std::string::npos) c = '_';
    }
    // `$` of a value begins no name.
    return replace_all(out, "$", "_");
  };
  const auto lookup = [&](std::string_view name) -> std::optional<std::string> {
    if (name == "home") return filtered(user.home);
    if (name == "user") return filtered(user.name);
    if (name == "shell") return filtered(user.shell);
    if (name == "local") return filtered(local_part);
    if (name == "domain") return filtered(domain);
    if (name == "extension") return filtered(extension);
    if (name == "recipient") return filtered(fmt::format("{}@{}", local_part, domain));
    if (name == "recipient_delimiter") return filtered(settings.recipient_delimiter.substr(0, 1));
    return std::nullopt;
  };
  const auto path = config::expand(element, lookup);
  // Only absolute names: the deliverer's directory is nobody's business.
  return path && path->starts_with('/') ? *path : std::string();
}

Agent::Agent(const config::Values& values, std::string service, sys::Account fallback,
             sys::Fd broker)
    : service_(std::move(service)),
      fallback_(std::move(fallback)),
      pool_(kLookupThreads),
      users_(pool_),
      cleanup_("public/" + values.text("cleanup_service_name")),
      deliverers_(std::move(broker)) {
  configure(values);
}

void Agent::configure(const config::Values& values) {
  settings_ = std::make_shared<const Settings>(load_settings(values, service_));
}

loop::Task<void> Agent::deliver(std::shared_ptr<agent::Delivery> delivery) {
  std::deque<Order::Place> places;
  for (const ipc::agent::Recipient& recipient : delivery->recipients()) {
    const std::string local_part = to_lower(mail::split_address(recipient.address).local_part);
    const auto split = mail::split_extension(local_part, settings_->recipient_delimiter,
                                             settings_->owner_request_special);
    places.emplace_back(order_, std::string(split.user));
  }
  const queuefile::Message* message = co_await delivery->open();
  if (message == nullptr) co_return;
  for (std::size_t i = 0; i < delivery->recipients().size(); ++i) {
    Expansion expansion(*this, *delivery, *message, i, places.front());
    co_await expansion.run();
    places.pop_front();
  }
}

}  // namespace postern::local
