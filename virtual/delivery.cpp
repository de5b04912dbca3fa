#include "virtual/delivery.h"

#include <fmt/format.h>

#include "common/config/params/address.h"
#include "common/config/params/local.h"
#include "common/config/params/virtual.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/table/table.h"
#include "virtual/mailbox_lookup.h"

namespace postern::virtual_mailbox {

namespace {

constexpr std::string_view kRelay = "virtual";

// Recipients of one delivery that are delivered to at the same time.
constexpr unsigned kAtOnce = 32;

agent::Verdict verdict(std::string_view status, std::string text) {
  agent::Verdict result;
  result.status = status;
  result.text = std::move(text);
  result.relay = kRelay;
  return result;
}

}  // namespace

Settings load_settings(const config::Values& values) {
  config::Problems problems;
  const auto params = config::load<config::VirtualParams>(values, problems);
  const auto local = config::load<config::LocalParams>(values, problems);
  const auto address = config::load<config::AddressParams>(values, problems);
  Settings s;
  s.virtual_mailbox_base = params.virtual_mailbox_base;
  s.virtual_mailbox_maps = table::literal_names(params.virtual_mailbox_maps);
  s.virtual_uid_maps = table::literal_names(params.virtual_uid_maps);
  s.virtual_gid_maps = table::literal_names(params.virtual_gid_maps);
  s.adds_original_to = values.flag("enable_original_recipient");
  s.virtual_minimum_uid = params.virtual_minimum_uid;
  s.recipient_delimiter = address.recipient_delimiter;
  s.mailbox.limit = static_cast<std::uint64_t>(params.virtual_mailbox_limit);
  s.mailbox.strict_ownership = local.strict_mailbox_ownership;
  s.mailbox.host = address.myhostname;
  const auto locks =
      agent::parse_mailbox_locks(fmt::format("{}", fmt::join(local.virtual_mailbox_lock, " ")));
  if (locks) s.mailbox.locks = *locks;
  if (!locks) log::error("virtual_mailbox_lock: {}", locks.error().text);
  s.mailbox.locks.attempts = static_cast<unsigned>(local.deliver_lock_attempts);
  s.mailbox.locks.delay = local.deliver_lock_delay;
  s.mailbox.locks.stale_after = local.stale_lock_time;
  return s;
}

Agent::Agent(const config::Values& values, sys::Fd broker) : deliverers_(std::move(broker)) {
  configure(values);
}

void Agent::configure(const config::Values& values) {
  settings_ = std::make_shared<const Settings>(load_settings(values));
}

loop::Task<void> Agent::deliver(std::shared_ptr<agent::Delivery> delivery) {
  const queuefile::Message* message = co_await delivery->open();
  if (message == nullptr) co_return;
  // Several at once: their flushes are then one flush.
  const auto progress = std::make_shared<Progress>();
  progress->header = agent::header_of(*delivery, *message);
  for (std::size_t i = 0; i < delivery->recipients().size(); ++i) {
    while (progress->under_way >= kAtOnce) co_await progress->landed.wait(loop::kNever);
    ++progress->under_way;
    loop::spawn(deliver_one(delivery, *message, i, progress));
  }
  while (progress->under_way > 0) co_await progress->landed.wait(loop::kNever);
}

loop::Task<void> Agent::deliver_one(std::shared_ptr<agent::Delivery> delivery,
                                    const queuefile::Message& message, std::size_t index,
                                    std::shared_ptr<Progress> progress) {
  agent::Verdict result = co_await deliver_to(*delivery, message, index, progress->header);
  if (result.status.starts_with('2')) {
    result.action = "delivered";
    delivery->delivered(index, result);
  } else {
    delivery->failed(index, result);
  }
  --progress->under_way;
  progress->landed.notify_all();
}

loop::Task<Result<unsigned>> Agent::find_id(const std::vector<std::string>& maps,
                                            const std::vector<ipc::tables::Key>& keys,
                                            std::int64_t minimum, std::string_view what) {
  std::optional<std::string> found;
  std::optional<std::string_view> value = static_value(maps);
  if (!value) {
    CO_TRY(found, co_await look_up(tables_, maps, keys));
    value = found;
  }
  const std::string& address = keys.front().text;
  if (!value) {
    co_return fail(Error::Kind::kConfig,
                   fmt::format("recipient {}: not found in virtual_{}_maps", address, what));
  }
  const auto id = parse_id(*value, minimum);
  if (!id) {
    co_return fail(Error::Kind::kConfig, fmt::format("recipient {}: bad {} {} in virtual_{}_maps",
                                                     address, what, *value, what));
  }
  co_return *id;
}

loop::Task<agent::Verdict> Agent::deliver_to(const agent::Delivery& delivery,
                                             const queuefile::Message& message, std::size_t index,
                                             const std::string& header) {
  const auto settings = settings_;
  const auto& recipient = delivery.recipients()[index];
  const std::string shown = mail::quote_address(recipient.address);
  if (agent::was_delivered_to(header, shown)) {
    co_return verdict("5.4.6", fmt::format("mail forwarding loop for {}", recipient.address));
  }

  const auto keys = lookup_keys(recipient.address, settings->recipient_delimiter);
  const auto mailbox = co_await look_up(tables_, settings->virtual_mailbox_maps, keys);
  if (!mailbox) {
    log::warning("{}: virtual_mailbox_maps: {}", delivery.queue_id(), mailbox.error().text);
    co_return verdict("4.3.0", "mailbox lookup error");
  }
  if (!*mailbox) {
    co_return verdict("5.1.1", fmt::format("unknown user: \"{}\"", recipient.address));
  }
  const auto path = mailbox_path(settings->virtual_mailbox_base, **mailbox);
  const auto uid =
      co_await find_id(settings->virtual_uid_maps, keys, settings->virtual_minimum_uid, "uid");
  const auto gid = co_await find_id(settings->virtual_gid_maps, keys, 1, "gid");
  if (!path || !uid || !gid) {
    const Error& error = !path ? path.error() : !uid ? uid.error() : gid.error();
    log::warning("{}", error.text);
    if (error.kind == Error::Kind::kTemporary) co_return verdict("4.3.0", "mailbox lookup error");
    co_return verdict("4.3.5", "mail system configuration error");
  }

  if (delivery.request().is_probe) {
    co_return verdict("2.0.0",
                      path->ends_with('/') ? "delivers to maildir" : "delivers to mailbox");
  }
  std::string prepended = agent::mailbox_headers(
      mail::quote_address(delivery.request().sender),
      settings->adds_original_to ? mail::quote_address(recipient.orig_to) : std::string(), shown);
  agent::Job job =
      agent::mailbox_job(delivery, message, *path, std::move(prepended), settings->mailbox);
  if (job.kind == agent::JobKind::kMbox) {
    job.open_failures_defer = true;
    job.failure_prefix = fmt::format("delivery failed to mailbox {}: ", *path);
  }
  const agent::Identity who{*uid, *gid, {}};
  const auto reply = co_await deliverers_.run(who, std::move(job), delivery.fd());
  co_return agent::verdict_of(reply, delivery.queue_id(), kRelay);
}

}  // namespace postern::virtual_mailbox
