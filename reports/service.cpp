#include "reports/service.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/mailauth/dmarc.h"
#include "common/sys/act_as.h"
#include "reports/dmarc_reports.h"
#include "reports/tls_reports.h"

namespace postern::reports {

namespace {

using ipc::reports::Kind;

constexpr std::size_t kMaxHistory = 500;
constexpr std::chrono::seconds kWriteAfter{2};
constexpr std::chrono::seconds kLookPeriod{60};
constexpr std::chrono::seconds kFirstLook{5};
constexpr std::chrono::seconds kLookupTime{100};
constexpr std::int64_t kTryAgain = 3600;
constexpr std::int64_t kGiveUp = kDaySeconds;
constexpr std::string_view kHistoryKey = "history";

std::int64_t now_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string domain_of(std::string_view address) {
  return std::string(split_at_last(address, '@').second);
}

}  // namespace

Surroundings open_surroundings(daemon::Process& process) {
  const auto list = process.values().text("dmarc_public_suffix_list");
  auto suffixes = mailauth::PublicSuffixes::open(list);
  Surroundings out{{}, suffixes ? *std::move(suffixes) : mailauth::PublicSuffixes::built_in()};
  const sys::ActAs as_owner(process.mail_owner());
  auto store = table::Kept::open(process.values().text("data_directory") + "/reports.lmdb");
  if (store) {
    out.store = *std::move(store);
  } else {
    log::warning("{}; what is collected is forgotten at the end of the process",
                 store.error().text);
  }
  return out;
}

Service::Service(daemon::Process& process, Surroundings surroundings)
    : process_(process),
      surroundings_(std::move(surroundings)),
      server_(process.take_listener()),
      tls_("tls", surroundings_.store),
      dmarc_("dmarc", surroundings_.store) {
  configure();
  tls_.load();
  dmarc_.load();
  if (const auto text = surroundings_.store.find(kHistoryKey)) {
    if (auto read = ipc::decode<ipc::reports::Listing>(*text)) history_ = std::move(read->sent);
  }
}

void Service::configure() {
  params_ = process_.load<config::ReportParams>();
  const config::Values& values = process_.values();
  Delivery::Settings settings;
  settings.submitter = {.organization = params_.report_organization,
                        .contact = params_.report_contact,
                        .sender = params_.report_sender,
                        .domain = domain_of(params_.report_sender),
                        .host = values.text("myhostname")};
  settings.envelope_sender = values.text("double_bounce_sender");
  if (settings.envelope_sender.find('@') == std::string::npos) {
    settings.envelope_sender += "@" + values.text("myorigin");
  }
  settings.is_signed = values.flag("dkim_sign_enable");
  delivery_.configure(std::move(settings));
}

void Service::start() {
  auto& dispatcher = server_.dispatcher();
  dispatcher.notice<ipc::reports::TlsResult>(
      [this](ipc::reports::TlsResult& result, const ipc::ChannelPtr&) { note(result); });
  dispatcher.notice<ipc::reports::DmarcResult>(
      [this](ipc::reports::DmarcResult& result, const ipc::ChannelPtr&) {
        note(std::move(result));
      });
  dispatcher.answer<ipc::reports::List>(
      [this](ipc::reports::List& question, const ipc::ChannelPtr&) { return list(question.kind); });
  dispatcher.serve<ipc::reports::Send>(
      [this](ipc::reports::Send request, ipc::ChannelPtr) { return send_all(request.kind); });
  process_.on_reload([this] { configure(); });
  process_.on_drain([this] {
    server_.stop_accepting();
    write();
    process_.finish();
  });
  due_timer_.arm(loop::Clock::now() + kFirstLook);
  server_.only_for(process_.clients());
  server_.start();
}

void Service::note(const ipc::reports::TlsResult& result) {
  const std::string domain = to_lower(result.domain);
  if (!mail::is_valid_hostname(domain)) return;
  if (TlsDay* const record = tls_.change({day_of(now_seconds()), domain})) {
    record->add(result);
  } else if (!std::exchange(has_warned_, true)) {
    log::warning("TLS results of {} and more domains are not collected: too many", domain);
  }
  write_later();
}

void Service::note(ipc::reports::DmarcResult result) {
  const std::string domain = to_lower(result.domain);
  if (!mail::is_valid_hostname(domain)) return;
  if (DmarcDay* const record = dmarc_.change({day_of(now_seconds()), domain})) {
    record->add(std::move(result));
  } else if (!std::exchange(has_warned_, true)) {
    log::warning("DMARC results of {} and more domains are not collected: too many", domain);
  }
  write_later();
}

void Service::write_later() {
  if (!write_timer_.is_armed()) write_timer_.arm(loop::Clock::now() + kWriteAfter);
}

void Service::write() {
  tls_.write();
  dmarc_.write();
}

std::vector<Service::Task> Service::all(Kind kind) const {
  std::vector<Task> tasks;
  const auto collect = [&](const auto& days) {
    for (const auto& [key, record] : days.all()) tasks.push_back({kind, key.day, key.domain});
  };
  kind == Kind::kTls ? collect(tls_) : collect(dmarc_);
  return tasks;
}

std::vector<Service::Task> Service::due(std::int64_t now) const {
  std::vector<Task> tasks;
  for (const Kind kind : {Kind::kTls, Kind::kDmarc}) {
    for (auto& task : all(kind)) {
      const auto again = next_try_.find(task);
      const std::int64_t time = again != next_try_.end()
                                    ? again->second
                                    : due_time(task.day, task.domain, params_.report_time_spread);
      if (time <= now) tasks.push_back(std::move(task));
    }
  }
  return tasks;
}

void Service::look_for_due() {
  due_timer_.arm(loop::Clock::now() + kLookPeriod);
  if (!is_sending_ && !due(now_seconds()).empty()) loop::spawn(send_due());
}

// One after the other: nothing is urgent, and a burst would be felt by real mail.
loop::Task<void> Service::send_due() {
  is_sending_ = true;
  has_warned_ = false;
  const std::vector<Task> tasks = due(now_seconds());
  for (const Task& task : tasks) {
    const std::int64_t first = due_time(task.day, task.domain, params_.report_time_spread);
    auto line = co_await send(task, now_seconds() > first + kGiveUp);
    if (line) remember(*std::move(line));
  }
  is_sending_ = false;
  sent_.notify_all();
}

loop::Task<Result<ipc::reports::Listing>> Service::send_all(Kind kind) {
  while (is_sending_) co_await sent_.wait(loop::kNever);
  is_sending_ = true;
  ipc::reports::Listing listing;
  const std::vector<Task> tasks = all(kind);
  for (const Task& task : tasks) {
    auto line = co_await send(task, false);
    if (!line) continue;
    listing.sent.push_back(*line);
    remember(*std::move(line));
  }
  is_sending_ = false;
  sent_.notify_all();
  co_return listing;
}

loop::Task<std::optional<ipc::reports::Line>> Service::send(Task task, bool is_last_try) {
  const auto addresses = co_await addresses_of(task);
  ipc::reports::Line line;
  line.kind = task.kind;
  line.day = task.day;
  line.domain = task.domain;
  if (addresses && addresses->empty()) {
    forget(task);
    co_return std::nullopt;
  }
  bool is_done = false;
  bool may_succeed = !addresses;
  if (!addresses) line.remarks.push_back(addresses.error().text);
  const auto report = make(task);
  if (!report) {
    log::warning("report about {}: {}", task.domain, report.error().text);
    forget(task);
    co_return std::nullopt;
  }
  line.good = report->good;
  line.bad = report->bad;
  for (std::size_t i = 0; addresses && i < addresses->size(); ++i) {
    Handed handed = co_await delivery_.hand_over(*report, (*addresses)[i]);
    log::info("{} report about {}, {}: {}", task.kind == Kind::kTls ? "TLS" : "DMARC", task.domain,
              task.day, handed.remark);
    is_done |= handed.is_accepted;
    may_succeed |= !handed.is_accepted && !handed.is_final;
    line.remarks.push_back(std::move(handed.remark));
  }
  if (!is_done && may_succeed && !is_last_try) {
    next_try_[task] = now_seconds() + kTryAgain;
    log::info("report about {}, {} is tried again: {}", task.domain, task.day,
              join(line.remarks, "; "));
    co_return std::nullopt;
  }
  forget(task);
  co_return line;
}

// Whoever is named by a stranger's record and is not of that stranger has to agree.
loop::Task<Result<std::vector<mail::ReportAddress>>> Service::addresses_of(Task task) {
  if (task.kind == Kind::kTls) {
    ipc::resolver::Query question;
    question.name = "_smtp._tls." + task.domain;
    question.type = "TXT";
    CO_TRY(const auto answer, co_await resolver_.call(question, loop::Clock::now() + kLookupTime));
    if (answer.status == ipc::resolver::Status::kTemporary) co_return fail_temporary(answer.error);
    std::vector<std::string> texts;
    for (const auto& record : answer.records) texts.push_back(record.data);
    co_return mail::find_tlsrpt_addresses(texts);
  }
  std::vector<mail::ReportAddress> welcome;
  const DmarcDay* const record = dmarc_.find({task.day, task.domain});
  if (record == nullptr) co_return welcome;
  const auto wanted = mail::parse_report_addresses(join(record->published.addresses, ","));
  for (const auto& address : wanted) {
    if (address.kind != mail::ReportAddress::Kind::kMail) continue;
    CO_TRY(const bool agrees, co_await is_welcome(task.domain, address.host));
    if (agrees) {
      welcome.push_back(address);
    } else {
      log::info("DMARC report about {}: {} does not want reports about others", task.domain,
                address.host);
    }
  }
  co_return welcome;
}

// RFC 7489 7.1
loop::Task<Result<bool>> Service::is_welcome(std::string domain, std::string host) {
  const auto& suffixes = surroundings_.suffixes;
  if (suffixes.organizational_domain(domain) == suffixes.organizational_domain(host)) {
    co_return true;
  }
  ipc::resolver::Query question;
  question.name = fmt::format("{}._report._dmarc.{}", domain, host);
  question.type = "TXT";
  CO_TRY(const auto answer, co_await resolver_.call(question, loop::Clock::now() + kLookupTime));
  if (answer.status == ipc::resolver::Status::kTemporary) co_return fail_temporary(answer.error);
  co_return std::ranges::any_of(answer.records, [](const ipc::resolver::Record& record) {
    return is_dmarc_version(record.data);
  });
}

Result<Report> Service::make(const Task& task) const {
  if (task.kind == Kind::kTls) {
    const TlsDay* const record = tls_.find({task.day, task.domain});
    if (record == nullptr) return fail_temporary("nothing was collected");
    return make_tls_report(*record, task.day, task.domain, delivery_.submitter());
  }
  const DmarcDay* const record = dmarc_.find({task.day, task.domain});
  if (record == nullptr) return fail_temporary("nothing was collected");
  return make_dmarc_report(*record, task.day, task.domain, delivery_.submitter());
}

void Service::forget(const Task& task) {
  next_try_.erase(task);
  if (task.kind == Kind::kTls) {
    tls_.remove({task.day, task.domain});
  } else {
    dmarc_.remove({task.day, task.domain});
  }
}

void Service::remember(ipc::reports::Line line) {
  history_.push_back(std::move(line));
  if (history_.size() > kMaxHistory) history_.erase(history_.begin());
  ipc::reports::Listing kept;
  kept.sent = history_;
  surroundings_.store.put(kHistoryKey, ipc::encode(kept));
}

ipc::reports::Listing Service::list(Kind kind) const {
  ipc::reports::Listing listing;
  const auto collect = [&](const auto& days) {
    for (const auto& [key, record] : days.all()) {
      listing.collected.push_back(
          {kind, key.day, key.domain, record.good(), record.bad(), record.remarks()});
    }
  };
  kind == Kind::kTls ? collect(tls_) : collect(dmarc_);
  for (const auto& line : history_) {
    if (line.kind == kind) listing.sent.push_back(line);
  }
  return listing;
}

}  // namespace postern::reports
