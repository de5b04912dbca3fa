#include "anvil/service.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/config/params/smtpd.h"
#include "common/daemon/postmaster_notice.h"
#include "common/log/log.h"

namespace postern::anvil {

namespace {

constexpr std::chrono::seconds kIdleCheck{60};
constexpr std::size_t kEntriesPerPage = 2000;
// What one attack brings comes together.
constexpr std::chrono::seconds kFirstNotice{5};
constexpr std::chrono::minutes kNextNotice{10};

Time wall_now() { return std::chrono::system_clock::now(); }

}  // namespace

Service::Service(daemon::Process& process, int directory)
    : process_(process),
      server_(process.take_listener()),
      counters_(std::chrono::seconds(60)),
      contacts_(LineFile(directory, "first_contact")),
      bans_(LineFile(directory, "bans")),
      greylist_(LineFile(directory, "greylist")),
      quotas_(LineFile(directory, "quotas")),
      status_timer_([this] { log_statistics(); }),
      idle_timer_([this] {
        counters_.forget_idle(wall_now());
        if (bans_.expire(std::chrono::system_clock::to_time_t(wall_now()))) bans_changed();
        const auto now = std::chrono::system_clock::to_time_t(wall_now());
        if (const auto kept = greylist_.clean(now); !kept) log::warning("{}", kept.error().text);
        if (const auto kept = quotas_.clean(now); !kept) log::warning("{}", kept.error().text);
        idle_timer_.arm(loop::Clock::now() + kIdleCheck);
      }) {
  configure();
  if (const auto loaded = contacts_.load(); !loaded) log::warning("{}", loaded.error().text);
  const auto now = std::chrono::system_clock::to_time_t(wall_now());
  if (const auto loaded = bans_.load(now); !loaded) log::warning("{}", loaded.error().text);
  if (const auto loaded = greylist_.load(now); !loaded) log::warning("{}", loaded.error().text);
  if (const auto loaded = quotas_.load(now); !loaded) log::warning("{}", loaded.error().text);
}

void Service::configure() {
  const auto params = process_.load<config::SmtpdParams>();
  counters_.set_unit(params.anvil_rate_time_unit);
  status_update_time_ = params.anvil_status_update_time;
  bans_.set_rules({params.smtpd_client_ban_auth_failures, params.smtpd_client_ban_rejects,
                   params.smtpd_client_ban_window.count(), params.smtpd_client_ban_time.count()});
}

// A channel is one process; its address is unique as long as it is open.
std::uint64_t Service::source_of(const ipc::ChannelPtr& channel) {
  return reinterpret_cast<std::uintptr_t>(channel.get());
}

void Service::start() {
  auto& dispatcher = server_.dispatcher();
  dispatcher.answer<ipc::anvil::Count>(
      [this](ipc::anvil::Count& request,
             const ipc::ChannelPtr& channel) -> Result<ipc::anvil::Counted> {
        return counters_.count(source_of(channel), request, wall_now());
      });
  dispatcher.notice<ipc::anvil::Connections>(
      [this](ipc::anvil::Connections& notice, const ipc::ChannelPtr& channel) {
        counters_.set_connections(source_of(channel), notice, wall_now());
      });
  dispatcher.notice<ipc::anvil::Tally>([this](ipc::anvil::Tally& tally, const ipc::ChannelPtr&) {
    counters_.add(tally, wall_now());
  });
  serve_contacts();
  serve_bans();
  serve_greylist();
  serve_quotas();
  serve_onlookers();
  server_.on_closed([this](const ipc::ChannelPtr& channel) { channel_closed(channel); });
  process_.on_reload([this] { configure(); });
  process_.on_drain([this] { drain(); });
  status_timer_.arm(loop::Clock::now() + status_update_time_);
  idle_timer_.arm(loop::Clock::now() + kIdleCheck);
  server_.only_for(process_.clients());
  server_.start();
}

void Service::serve_contacts() {
  auto& dispatcher = server_.dispatcher();
  dispatcher.answer<ipc::anvil::FindContact>(
      [this](ipc::anvil::FindContact& request,
             const ipc::ChannelPtr&) -> Result<ipc::anvil::Contact> {
        return contacts_.find(request.client);
      });
  dispatcher.notice<ipc::anvil::SaveContact>(
      [this](ipc::anvil::SaveContact& contact, const ipc::ChannelPtr&) {
        if (const auto saved = contacts_.save(contact); !saved) {
          log::warning("{}", saved.error().text);
        }
      });
  dispatcher.answer<ipc::anvil::CleanContacts>(
      [this](ipc::anvil::CleanContacts& request,
             const ipc::ChannelPtr&) -> Result<ipc::anvil::Cleaned> {
        return contacts_.clean(std::chrono::system_clock::to_time_t(wall_now()), request.retention);
      });
}

void Service::serve_bans() {
  const auto now = [] { return std::chrono::system_clock::to_time_t(wall_now()); };
  auto& dispatcher = server_.dispatcher();
  dispatcher.notice<ipc::anvil::Offence>([this, now](ipc::anvil::Offence& offence,
                                                     const ipc::ChannelPtr&) {
    if (!bans_.note(offence, now())) return;
    log::warning("{} is banned for {} s: too many {}", offence.client, bans_.rules().time,
                 offence.kind == ipc::anvil::OffenceKind::kAuthFailure ? "authentication failures"
                                                                       : "rejected commands");
    announce_ban(offence.client, offence.kind == ipc::anvil::OffenceKind::kAuthFailure
                                     ? "logins that failed"
                                     : "commands that were refused");
    bans_changed();
  });
  dispatcher.answer<ipc::anvil::ListBans>(
      [this, now](ipc::anvil::ListBans&, const ipc::ChannelPtr&) -> Result<ipc::anvil::BanList> {
        return bans_.list(now());
      });
  dispatcher.answer<ipc::anvil::ChangeBan>(
      [this, now](ipc::anvil::ChangeBan& request, const ipc::ChannelPtr&) -> Result<ipc::Done> {
        if (request.is_removed) {
          if (!bans_.remove(request.client)) {
            return fail(Error::Kind::kPermanent, request.client + " is not banned");
          }
        } else if (!bans_.add(request.client, now(), request.time > 0 ? now() + request.time : 0)) {
          return fail(Error::Kind::kPermanent, request.client + " is no address");
        }
        bans_changed();
        return ipc::Done{};
      });
  server_.on_connected([this, now](const ipc::ChannelPtr& channel) {
    channel->notify(bans_.list(now()));
    if (!onlookers_.empty()) channel->notify(ipc::anvil::Watched{.is_watched = true});
  });
}

void Service::serve_greylist() {
  const auto now = [] { return std::chrono::system_clock::to_time_t(wall_now()); };
  auto& dispatcher = server_.dispatcher();
  dispatcher.answer<ipc::anvil::Greylist>(
      [this, now](ipc::anvil::Greylist& question,
                  const ipc::ChannelPtr&) -> Result<ipc::anvil::Greylisted> {
        Result<void> kept;
        const auto answer = greylist_.judge(question, now(), kept);
        if (!kept) log::warning("{}", kept.error().text);
        return answer;
      });
  dispatcher.answer<ipc::anvil::ListGreylist>(
      [this, now](ipc::anvil::ListGreylist& request,
                  const ipc::ChannelPtr&) -> Result<ipc::anvil::GreylistPage> {
        return greylist_.list(request.after, kEntriesPerPage, now());
      });
  dispatcher.answer<ipc::anvil::CountGreylist>(
      [this, now](ipc::anvil::CountGreylist&,
                  const ipc::ChannelPtr&) -> Result<ipc::anvil::GreylistStatistics> {
        return greylist_.statistics(now());
      });
  dispatcher.answer<ipc::anvil::ChangeGreylist>([this, now](
                                                    ipc::anvil::ChangeGreylist& request,
                                                    const ipc::ChannelPtr&) -> Result<ipc::Done> {
    const auto network = request.is_removed ? greylist_.disallow(request.client)
                                            : greylist_.allow(request.client, now());
    if (network) return ipc::Done{};
    return fail(Error::Kind::kPermanent,
                request.client +
                    (request.is_removed ? " is not on the list" : " cannot be put on the list"));
  });
}

void Service::serve_quotas() {
  server_.dispatcher().answer<ipc::anvil::Quota>(
      [this](ipc::anvil::Quota& question,
             const ipc::ChannelPtr&) -> Result<ipc::anvil::QuotaAnswer> {
        Result<void> kept;
        const auto now = std::chrono::system_clock::to_time_t(wall_now());
        const auto verdict = quotas_.count(question, now, kept);
        if (!kept) log::warning("{}", kept.error().text);
        return ipc::anvil::QuotaAnswer{verdict};
      });
  server_.dispatcher().answer<ipc::anvil::ListQuotas>(
      [this](ipc::anvil::ListQuotas& request,
             const ipc::ChannelPtr&) -> Result<ipc::anvil::QuotaPage> {
        return quotas_.list(request.after, kEntriesPerPage,
                            std::chrono::system_clock::to_time_t(wall_now()));
      });
  server_.dispatcher().answer<ipc::anvil::ResetQuota>(
      [this](ipc::anvil::ResetQuota& request, const ipc::ChannelPtr&) -> Result<ipc::Done> {
        TRY(const bool is_known, quotas_.reset(request.sender));
        if (!is_known) return fail(Error::Kind::kPermanent, request.sender + " has no counter");
        return ipc::Done{};
      });
}

void Service::serve_onlookers() {
  auto& dispatcher = server_.dispatcher();
  dispatcher.answer<ipc::anvil::WatchSessions>(
      [this](ipc::anvil::WatchSessions&, const ipc::ChannelPtr& channel) -> Result<ipc::Done> {
        const bool is_first = onlookers_.empty();
        DO(onlookers_.add(channel));
        if (is_first) tell_watched();
        return ipc::Done{};
      });
  dispatcher.notice<ipc::anvil::SessionLine>(
      [this](ipc::anvil::SessionLine& line, const ipc::ChannelPtr& channel) {
        // Told to an anvil that was here before this one.
        if (onlookers_.empty()) return channel->notify(ipc::anvil::Watched{});
        onlookers_.show(line);
      });
}

void Service::tell_watched() {
  const ipc::anvil::Watched watched{.is_watched = !onlookers_.empty()};
  for (const auto& channel : server_.channels()) channel->notify(watched);
}

void Service::channel_closed(const ipc::ChannelPtr& channel) {
  counters_.forget_source(source_of(channel));
  if (onlookers_.empty()) return;
  onlookers_.remove(channel);
  if (onlookers_.empty()) tell_watched();
}

// notify_classes = policy. A flood of bans is no flood of mail.
void Service::announce_ban(const std::string& client, std::string_view what) {
  constexpr std::size_t kMaxNamed = 100;
  if (!daemon::wants_notice(process_.values(), "policy")) return;
  if (++announced_ <= kMaxNamed) announcement_ += fmt::format("    {}: {}\n", client, what);
  if (announcement_timer_.is_armed()) return;
  announcement_timer_.arm(std::max(loop::Clock::now() + kFirstNotice, next_announcement_));
}

void Service::send_announcement() {
  next_announcement_ = loop::Clock::now() + kNextNotice;
  std::string text = fmt::format(
      "These clients of the SMTP server of {} are refused for {} seconds\n"
      "(smtpd_client_ban_time), because there were too many of\n\n{}",
      process_.values().text("myhostname"), bans_.rules().time, announcement_);
  const std::size_t named = static_cast<std::size_t>(std::ranges::count(announcement_, '\n'));
  if (announced_ > named) text += fmt::format("\nand {} others.\n", announced_ - named);
  text += "\n`postern ban list` shows them, `postern ban remove ADDRESS` lets one in again.\n";
  const std::string subject = fmt::format("{} clients are refused for a time", announced_);
  loop::spawn(daemon::send_notice(cleanup_, process_.values(), subject, std::move(text)));
  announcement_.clear();
  announced_ = 0;
}

void Service::bans_changed() {
  if (const auto saved = bans_.save(); !saved) log::warning("{}", saved.error().text);
  const auto list = bans_.list(std::chrono::system_clock::to_time_t(wall_now()));
  for (const auto& channel : server_.channels()) channel->notify(list);
}

void Service::log_statistics() {
  for (const auto& line : counters_.take_statistics()) log::info("{}", line);
  status_timer_.arm(loop::Clock::now() + status_update_time_);
}

void Service::drain() {
  log_statistics();
  process_.finish();
}

}  // namespace postern::anvil
