#include "smtpd/client_limits.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/log/log.h"
#include "common/log/onlooker.h"

namespace postern::smtpd {

namespace {

using ipc::anvil::Event;

constexpr std::chrono::seconds kAnvilTime{10};
constexpr std::chrono::seconds kTellEvery{10};
constexpr std::chrono::minutes kComplainEvery{1};
constexpr std::size_t kClientsPerNotice = 500;

// The address without the bits beyond the prefix.
std::string client_of(config::IpAddress address, std::int64_t prefix) {
  const auto bits = static_cast<std::int64_t>(address.bits());
  for (std::int64_t bit = std::clamp<std::int64_t>(prefix, 0, bits); bit < bits; ++bit) {
    auto& byte = address.bytes[static_cast<std::size_t>(bit / 8)];
    byte = static_cast<unsigned char>(byte & ~(0x80U >> static_cast<unsigned>(bit % 8)));
  }
  return config::to_string(address);
}

}  // namespace

ClientLimits::ClientLimits(std::string service, std::int64_t workers)
    : service_(std::move(service)),
      workers_(std::max<std::int64_t>(workers, 1)),
      tell_timer_([this] { tell(); }) {
  anvil_.dispatcher().notice<ipc::anvil::BanList>(
      [this](ipc::anvil::BanList& list, const ipc::ChannelPtr&) {
        bans_.clear();
        for (auto& ban : list.bans) bans_.insert_or_assign(std::move(ban.client), ban.until);
      });
  anvil_.dispatcher().notice<ipc::anvil::Watched>(
      [this](ipc::anvil::Watched& watched, const ipc::ChannelPtr&) {
        show_lines(watched.is_watched);
      });
}

// postern trace --live: what is written of clients anyway is shown to who looks on, too.
void ClientLimits::show_lines(bool is_watched) {
  if (!is_watched) return log::set_onlooker({});
  log::set_onlooker([this](std::string_view line) {
    ipc::anvil::SessionLine shown;
    shown.service = service_;
    shown.text = line;
    anvil_.notify(shown);
  });
}

bool ClientLimits::is_banned(const ClientEntry& entry) const {
  const auto found = bans_.find(entry.client);
  if (found == bans_.end()) return false;
  const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  return found->second > now;
}

void ClientLimits::report(const ClientEntry& entry, ipc::anvil::OffenceKind kind) {
  ipc::anvil::Offence offence;
  offence.client = entry.client;
  offence.kind = kind;
  anvil_.notify(offence);
}

ClientEntry& ClientLimits::entry_of(const config::IpAddress& address, const Settings& settings) {
  const std::string client =
      client_of(address, address.is_v6 ? settings.smtpd.smtpd_client_ipv6_prefix_length
                                       : settings.smtpd.smtpd_client_ipv4_prefix_length);
  ClientEntry& entry = entries_[client];
  if (entry.client.empty()) entry.client = client;
  return entry;
}

loop::Task<ClientLimits::Verdict> ClientLimits::connected(ClientEntry& entry,
                                                          const Settings& settings) {
  Verdict verdict;
  ++entry.connections;
  entry.peak = std::max<std::int64_t>(entry.peak, entry.connections);
  const auto count_limit = settings.smtpd.smtpd_client_connection_count_limit;
  const auto rate_limit = settings.smtpd.smtpd_client_connection_rate_limit;
  // With one process its own number is the whole; with more, each may have a share unasked.
  const bool is_above_share =
      count_limit > 0 && workers_ > 1 && entry.connections * workers_ > count_limit;
  verdict.connections = entry.connections;
  if (rate_limit > 0 || is_above_share) {
    ipc::anvil::Count question;
    question.service = service_;
    question.client = entry.client;
    question.event = Event::kConnection;
    question.connections = entry.connections;
    entry.is_shared = true;
    const auto counted = co_await anvil_.call(std::move(question), loop::Clock::now() + kAnvilTime);
    if (counted) {
      verdict.connections = std::max<std::int64_t>(verdict.connections, counted->connections);
      verdict.rate = counted->rate;
    } else {
      complain(counted.error());
    }
  } else {
    note(entry, Event::kConnection);
  }
  verdict.too_many = count_limit > 0 && verdict.connections > count_limit;
  verdict.too_fast = rate_limit > 0 && verdict.rate > rate_limit;
  co_return verdict;
}

void ClientLimits::disconnected(ClientEntry& entry) {
  if (entry.connections > 0) --entry.connections;
  if (entry.is_shared) {
    ipc::anvil::Connections notice;
    notice.service = service_;
    notice.client = entry.client;
    notice.connections = entry.connections;
    anvil_.notify(notice);
    if (entry.connections == 0) entry.is_shared = false;
  }
  const bool has_news = std::any_of(entry.events.begin(), entry.events.end(),
                                    [](std::int64_t count) { return count > 0; });
  if (entry.connections == 0 && !has_news) entries_.erase(std::string(entry.client));
}

loop::Task<std::int64_t> ClientLimits::count(ClientEntry& entry, Event event, std::int64_t limit) {
  if (limit <= 0) {
    note(entry, event);
    co_return 0;
  }
  ipc::anvil::Count question;
  question.service = service_;
  question.client = entry.client;
  question.event = event;
  const auto counted = co_await anvil_.call(std::move(question), loop::Clock::now() + kAnvilTime);
  if (!counted) {
    complain(counted.error());
    co_return 0;
  }
  co_return counted->rate > limit ? counted->rate : 0;
}

loop::Task<ipc::anvil::QuotaVerdict> ClientLimits::count_quota(ipc::anvil::Quota question) {
  const auto counted = co_await anvil_.call(std::move(question), loop::Clock::now() + kAnvilTime);
  if (counted) co_return counted->verdict;
  complain(counted.error());
  co_return ipc::anvil::QuotaVerdict::kWithin;
}

void ClientLimits::note(ClientEntry& entry, Event event) {
  ++entry.events[static_cast<std::size_t>(event)];
  if (is_telling_) return;
  is_telling_ = true;
  tell_timer_.arm(loop::Clock::now() + kTellEvery);
}

// Statistics: what cannot be told is forgotten.
void ClientLimits::tell() {
  is_telling_ = false;
  ipc::anvil::Tally tally;
  tally.service = service_;
  for (auto& [client, entry] : entries_) {
    const bool has_news = std::any_of(entry.events.begin(), entry.events.end(),
                                      [](std::int64_t count) { return count > 0; });
    if (!has_news) continue;
    auto& told = tally.clients.emplace_back();
    told.client = client;
    told.peak = entry.peak;
    told.events.assign(entry.events.begin(), entry.events.end());
    entry.events = {};
    entry.peak = entry.connections;
    if (tally.clients.size() == kClientsPerNotice) {
      anvil_.notify(tally);
      tally.clients.clear();
    }
  }
  if (!tally.clients.empty()) anvil_.notify(tally);
  std::erase_if(entries_, [](const auto& pair) { return pair.second.connections == 0; });
}

// Limits that cannot be judged do not stop mail, as in Postfix; the administrator is told.
void ClientLimits::complain(const Error& error) {
  const auto now = loop::Clock::now();
  if (complained_ != loop::TimePoint{} && now - complained_ < kComplainEvery) return;
  complained_ = now;
  log::warning("client limits are not applied: {}", error.text);
}

}  // namespace postern::smtpd
