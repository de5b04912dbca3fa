#include "flush/service.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/config/params/process.h"
#include "common/config/params/queue.h"
#include "common/config/params/smtpd.h"
#include "common/ipc/qmgr.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/queuefile/queue_id.h"

namespace postern::flush {

namespace {

constexpr std::string_view kDirectory = "flush";
// Sites whose notes are held; further ones are not kept.
constexpr std::size_t kMaxSites = 10'000;
constexpr std::size_t kMaxSite = 255;
constexpr std::chrono::seconds kTablesTime{100};
constexpr std::chrono::minutes kRefreshCheck{10};

std::int64_t wall_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

bool is_site(std::string_view site) {
  return !site.empty() && site.size() <= kMaxSite && mail::is_valid_domain(site);
}

}  // namespace

Service::Service(daemon::Process& process)
    : process_(process),
      server_(process.take_listener()),
      qmgr_("public/" + process.values().text("queue_service_name")),
      refresh_timer_([this] { refresh(); }) {
  configure();
}

void Service::configure() {
  const auto queue = process_.load<config::QueueParams>();
  const auto parents = process_.load<config::SmtpdParams>().parent_domain_matches_subdomains;
  const bool match_parents =
      std::find(parents.begin(), parents.end(), "fast_flush_domains") != parents.end();
  sites_ = config::SiteList(queue.fast_flush_domains, match_parents, process_.values());
  purge_time_ = queue.fast_flush_purge_time;
  refresh_time_ = queue.fast_flush_refresh_time;
}

void Service::start() {
  if (::mkdir(std::string(kDirectory).c_str(), 0700) < 0 && errno != EEXIST) {
    log::warning("create directory {}: {}", kDirectory, sys::errno_text(errno));
  }
  auto& dispatcher = server_.dispatcher();
  dispatcher.serve<ipc::flush::SendSite>(
      [this](ipc::flush::SendSite request, ipc::ChannelPtr) { return send(std::move(request)); });
  dispatcher.notice<ipc::flush::Waiting>(
      [this](ipc::flush::Waiting& notice, const ipc::ChannelPtr&) {
        loop::spawn(note(std::move(notice)));
      });
  process_.on_reload([this] { configure(); });
  process_.on_wakeup([this](bool) { refresh(); });
  refresh_timer_.arm(loop::Clock::now() + kRefreshCheck);
  server_.only_for(process_.clients());
  server_.start();
}

loop::Task<Result<bool>> Service::is_served(std::string site) {
  using Kind = config::SiteList::Match::Kind;
  auto match = sites_.match(site);
  while (match.kind == Kind::kAskTable) {
    ipc::tables::Lookup question;
    question.tables.emplace_back(match.table);
    for (auto& form : sites_.forms(site)) {
      question.keys.push_back({std::move(form), !question.keys.empty()});
    }
    CO_TRY(const auto found,
           co_await tables_.lookup(std::move(question), loop::Clock::now() + kTablesTime));
    if (found.is_found) co_return match.if_found == Kind::kYes;
    match = sites_.match(site, match.next);
  }
  co_return match.kind == Kind::kYes;
}

Result<SiteLog*> Service::log_of(const std::string& file) {
  const auto known = logs_.find(file);
  if (known != logs_.end()) return &known->second;
  if (logs_.size() >= kMaxSites) {
    std::erase_if(logs_, [](const auto& entry) { return entry.second.empty(); });
    if (logs_.size() >= kMaxSites) return fail_temporary("too many sites wait for mail");
  }
  SiteLog log(std::string(kDirectory) + "/" + file);
  DO(log.load());
  return &logs_.emplace(file, std::move(log)).first->second;
}

loop::Task<void> Service::note(ipc::flush::Waiting notice) {
  if (!is_site(notice.site) || !queuefile::is_valid_queue_id(notice.queue_id)) co_return;
  const auto is_ours = co_await is_served(notice.site);
  if (!is_ours) {
    log::warning("fast_flush_domains: {}", is_ours.error().text);
    co_return;
  }
  if (!*is_ours) co_return;
  const auto log = log_of(file_name_of(notice.site));
  const auto added = log ? (*log)->add(notice.queue_id, wall_seconds())
                         : Result<void>(std::unexpected(log.error()));
  if (!added) log::warning("{}: {}", log::clean(notice.site), added.error().text);
}

bool Service::hand_to_qmgr(SiteLog& log) {
  // Without ids it would be a flush of everything.
  if (log.empty()) return true;
  // The notes stay until there is somebody to hand them to.
  if (qmgr_.channel_now() == nullptr) return false;
  auto ids = log.take();
  if (!ids) {
    log::warning("{}", ids.error().text);
    return false;
  }
  log.set_last_flush(wall_seconds());
  ipc::qmgr::Flush notice;
  notice.queue_ids = *std::move(ids);
  notice.clear_dead = true;
  return qmgr_.notify(notice);
}

loop::Task<Result<ipc::flush::Sent>> Service::send(ipc::flush::SendSite request) {
  using ipc::flush::Status;
  if (!is_site(request.site)) co_return ipc::flush::Sent{Status::kBad};
  const auto is_ours = co_await is_served(request.site);
  if (!is_ours) {
    log::warning("fast_flush_domains: {}", is_ours.error().text);
    co_return ipc::flush::Sent{Status::kBad};
  }
  if (!*is_ours) co_return ipc::flush::Sent{Status::kDenied};
  const auto log = log_of(file_name_of(request.site));
  if (!log) {
    log::warning("{}: {}", log::clean(request.site), log.error().text);
    co_return ipc::flush::Sent{Status::kBad};
  }
  co_return ipc::flush::Sent{hand_to_qmgr(**log) ? Status::kOk : Status::kBad};
}

// Sites that nobody asks for, and notes of messages that are long gone.
void Service::refresh() {
  refresh_timer_.arm(loop::Clock::now() + kRefreshCheck);
  if (DIR* directory = ::opendir(std::string(kDirectory).c_str())) {
    while (const dirent* entry = ::readdir(directory)) {
      const std::string name = entry->d_name;
      if (name.starts_with('.') || name.ends_with(".new")) continue;
      if (name != file_name_of(name)) continue;
      if (const auto log = log_of(name); !log) log::warning("{}: {}", name, log.error().text);
    }
    ::closedir(directory);
  }
  const std::int64_t now = wall_seconds();
  for (auto& [file, log] : logs_) {
    if (const auto purged = log.purge(now - purge_time_.count()); !purged) {
      log::warning("{}", purged.error().text);
    }
    if (now - log.last_flush() >= refresh_time_.count()) (void)hand_to_qmgr(log);
  }
  std::erase_if(logs_, [](const auto& entry) { return entry.second.empty(); });
}

}  // namespace postern::flush
