// lifetime.cpp - how long mail may wait, and the return of those recipients whose time is over
// while others of the same message still wait (destination_queue_lifetime_maps).

#include <algorithm>
#include <ctime>
#include <map>

#include "common/base/text.h"
#include "common/config/param.h"
#include "common/log/event.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/queuefile/reason_log.h"
#include "qmgr/manager.h"

namespace postern::qmgr {

namespace {

constexpr std::chrono::seconds kTablesTime{100};
constexpr std::chrono::seconds kBounceTime{100};

// The domain itself, then ".parent" for each domain above it.
std::vector<ipc::tables::Key> keys_of(const std::string& domain) {
  std::vector<ipc::tables::Key> keys{{domain, false}};
  for (auto dot = domain.find('.'); dot != std::string::npos; dot = domain.find('.', dot + 1)) {
    keys.push_back({domain.substr(dot), true});
  }
  return keys;
}

}  // namespace

std::chrono::seconds Manager::usual_lifetime(const Message& message) const {
  return message.sender.empty() ? settings_.bounce_queue_lifetime
                                : settings_.maximal_queue_lifetime;
}

void Manager::look_at_clocks() {
  timespec unset{};
  ::clock_gettime(CLOCK_BOOTTIME, &unset);
  leaps_.look(wall_clock_us(), unset.tv_sec * 1'000'000 + unset.tv_nsec / 1000);
}

std::chrono::microseconds Manager::age_of(const Message& message) {
  look_at_clocks();
  return std::chrono::microseconds(leaps_.age_of(message.arrival_us));
}

loop::Task<std::optional<std::chrono::seconds>> Manager::lifetime_for(
    std::string domain, std::chrono::seconds otherwise) {
  ipc::tables::Lookup question;
  question.tables = settings_.destination_queue_lifetime_maps;
  question.keys = keys_of(domain);
  const auto found = co_await tables_.call(std::move(question), loop::Clock::now() + kTablesTime);
  if (!found) {
    log::warning("destination_queue_lifetime_maps: {}", found.error().text);
    co_return std::nullopt;
  }
  if (!found->is_found) co_return otherwise;
  const auto lifetime = config::parse_duration(found->value);
  if (!lifetime) {
    log::warning("destination_queue_lifetime_maps: {}: bad value \"{}\": {}", domain, found->value,
                 lifetime.error().text);
    co_return std::nullopt;
  }
  co_return *lifetime;
}

loop::Task<std::vector<Recipient*>> Manager::find_expired(Message& message) {
  std::vector<Recipient*> expired;
  const auto age = age_of(message);
  const auto usual = usual_lifetime(message);
  std::map<std::string, bool, std::less<>> is_over;
  for (Recipient& recipient : message.recipients) {
    if (recipient.progress == Progress::kDone) continue;
    bool is_expired = message.is_forced_expire || age > usual;
    if (!message.is_forced_expire && !settings_.destination_queue_lifetime_maps.empty()) {
      const std::string domain = to_lower(mail::split_address(recipient.address).domain);
      auto known = is_over.find(domain);
      if (known == is_over.end()) {
        // Where that cannot be known the mail waits: what has bounced cannot be saved.
        const auto lifetime = co_await lifetime_for(domain, usual);
        known = is_over.emplace(domain, lifetime && age > *lifetime).first;
      }
      is_expired = known->second;
    }
    if (is_expired) expired.push_back(&recipient);
  }
  co_return expired;
}

loop::Task<void> Manager::return_expired(Message& message, std::vector<Recipient*> expired) {
  const auto reasons = queuefile::read_reasons(dirs_, queuefile::Queue::kDefer, message.id);
  ipc::bounce::Append returned;
  returned.log = "bounce";
  returned.queue_id = message.id;
  std::vector<std::uint64_t> offsets;
  for (const Recipient* recipient : expired) {
    ipc::agent::RecipientReport report;
    report.state_offset = static_cast<std::int64_t>(recipient->state_offset);
    report.outcome = ipc::agent::Outcome::kBounced;
    report.action = "failed";
    report.status = "4.4.7";
    report.text = "delivery time expired";
    if (reasons) {
      const auto reason =
          std::ranges::find(*reasons, recipient->state_offset, &queuefile::Reason::state_offset);
      if (reason != reasons->end()) {
        report.status = reason->status;
        report.text = reason->text;
        report.remote_mta = reason->remote_mta;
        report.diagnostic_type = reason->diagnostic_type;
        report.diagnostic = reason->diagnostic;
      }
    }
    returned.recipients.push_back(to_agent(*recipient));
    returned.reports.push_back(std::move(report));
    offsets.push_back(recipient->state_offset);
  }
  const auto logged = co_await bounce_.call(std::move(returned), loop::Clock::now() + kBounceTime);
  if (!logged) {
    log::warning("{}: {}; trying again later", message.id, logged.error().text);
    co_return;
  }
  log::expired(message.id, mail::quote_address(message.sender), message.is_forced_expire);
  message.has_bounces = true;
  message.remaining -= expired.size();
  for (Recipient* recipient : expired) recipient->progress = Progress::kDone;
  write_states(message, offsets, queuefile::State::kReturned);
}

}  // namespace postern::qmgr
