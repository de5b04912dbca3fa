#include "verify/service.h"

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/config/params/address.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/policy/probe_sender.h"
#include "common/queuefile/envelope.h"
#include "common/sys/act_as.h"

namespace postern::verify {

namespace {

constexpr std::chrono::seconds kSubmitTime{100};
// Whoever waits longer asks again.
constexpr std::chrono::seconds kLongestWait{100};
constexpr std::size_t kCleanAtOnce = 500;

std::int64_t now_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// The domain in lower case: it is the same in any.
std::string key_of(std::string_view address) {
  const auto parts = mail::split_address(address);
  if (!parts.has_domain) return std::string(address);
  return fmt::format("{}@{}", parts.local_part, to_lower(parts.domain));
}

}  // namespace

table::Kept open_store(daemon::Process& process) {
  const auto params = process.load<config::VerifyParams>();
  if (params.address_verify_map.empty()) return {};
  std::string path = params.address_verify_map;
  // Whatever type it names: ours is LMDB, beside a file that Postfix has left.
  if (const auto slash = path.find(":/"); slash != std::string::npos) path.erase(0, slash + 1);
  if (!path.starts_with('/')) {
    log::warning("address_verify_map = {}: no file; results are kept in memory",
                 params.address_verify_map);
    return {};
  }
  if (!path.ends_with(".lmdb")) path += ".lmdb";
  const sys::ActAs as_owner(process.mail_owner());
  auto store = table::Kept::open(path);
  if (store) return *std::move(store);
  log::warning("{}; results are kept in memory", store.error().text);
  return {};
}

Service::Service(daemon::Process& process, table::Kept store)
    : process_(process),
      store_(std::move(store)),
      server_(process.take_listener()),
      cleanup_("public/" + process.values().text("cleanup_service_name")),
      clean_timer_([this] { loop::spawn(clean()); }) {
  configure();
}

void Service::configure() {
  params_ = process_.load<config::VerifyParams>();
  myorigin_ = process_.load<config::AddressParams>().myorigin;
  rules_.positive_expire = params_.address_verify_positive_expire_time;
  rules_.positive_refresh = params_.address_verify_positive_refresh_time;
  rules_.negative_expire = params_.address_verify_negative_expire_time;
  rules_.negative_refresh = params_.address_verify_negative_refresh_time;
  rules_.keeps_negative = params_.address_verify_negative_cache;
  if (params_.address_verify_cache_cleanup_interval.count() > 0) {
    clean_timer_.arm(loop::Clock::now() + params_.address_verify_cache_cleanup_interval);
  }
}

void Service::start() {
  auto& dispatcher = server_.dispatcher();
  dispatcher.serve<ipc::verify::Ask>(
      [this](ipc::verify::Ask request, ipc::ChannelPtr) { return ask(std::move(request)); });
  dispatcher.notice<ipc::verify::Outcome>(
      [this](ipc::verify::Outcome& notice, const ipc::ChannelPtr&) { take(notice); });
  process_.on_reload([this] { configure(); });
  process_.on_drain([this] {
    server_.stop_accepting();
    process_.finish();
  });
  server_.only_for(process_.clients());
  server_.start();
}

Record Service::find(const std::string& key) const {
  const auto kept = store_.find(key);
  if (!kept) return {};
  return parse_record(*kept).value_or(Record{});
}

loop::Task<Result<ipc::verify::Answer>> Service::ask(ipc::verify::Ask request) {
  const std::string key = key_of(request.address);
  const std::int64_t now = now_seconds();
  Record record = find(key);
  if (!is_valid(record, rules_, now)) {
    record.status = Status::kUnknown;
    record.text.clear();
  }
  if (is_probe_due(record, rules_, now) &&
      (params_.address_verify_pending_request_limit <= 0 ||
       under_way_ < params_.address_verify_pending_request_limit)) {
    record.probed = now;
    store_.put(key, print_record(record));
    loop::spawn(send_probe(request.address));
  }
  ipc::verify::Answer answer;
  if (record.status == Status::kUnknown && request.wait.count() > 0) {
    auto& place = waiting_[key];
    if (place == nullptr) place = std::make_shared<Waiting>();
    const std::shared_ptr<Waiting> waiting = place;
    ++waiting->waiters;
    const auto wait =
        std::min(request.wait, std::chrono::duration_cast<std::chrono::milliseconds>(kLongestWait));
    (void)co_await waiting->ended.wait(loop::Clock::now() + wait);
    if (--waiting->waiters == 0) {
      const auto here = waiting_.find(key);
      if (here != waiting_.end() && here->second == waiting) waiting_.erase(here);
    }
    record = find(key);
    if (!is_valid(record, rules_, now_seconds())) record.status = Status::kUnknown;
  }
  answer.status = record.status;
  answer.text = record.text;
  // Without a negative cache the next question starts anew.
  const bool is_bad = record.status == Status::kBad || record.status == Status::kUnsure;
  if (is_bad && !rules_.keeps_negative) store_.remove(key);
  co_return answer;
}

void Service::take(const ipc::verify::Outcome& outcome) {
  const std::string key = key_of(outcome.address);
  const Record record = updated(find(key), outcome.status, outcome.text, rules_, now_seconds());
  store_.put(key, print_record(record));
  const auto found = waiting_.find(key);
  if (found != waiting_.end()) found->second->ended.notify_all();
}

loop::Task<void> Service::send_probe(std::string address) {
  ++under_way_;
  queuefile::Envelope envelope;
  envelope.sender = policy::probe_sender(params_.address_verify_sender,
                                         params_.address_verify_sender_ttl, now_seconds());
  if (!envelope.sender.empty() && envelope.sender.find('@') == std::string::npos) {
    envelope.sender += "@" + myorigin_;
  }
  envelope.origin = queuefile::Origin::kProbe;
  envelope.rewrite_context = "local";
  envelope.flags = queuefile::kFlagInternal | queuefile::kFlagNoFilter | queuefile::kFlagNoMilter;
  queuefile::Recipient recipient;
  recipient.address = address;
  recipient.orig_to = address;
  envelope.recipients.push_back(std::move(recipient));
  ipc::SubmissionStart start;
  queuefile::append_envelope(start.envelope, envelope);
  start.is_internal = true;
  ipc::Submission submission(cleanup_, std::move(start));
  const loop::Deadline deadline = loop::Clock::now() + kSubmitTime;
  const std::string content =
      fmt::format("From: <{}>\nTo: <{}>\nSubject: probe\n\n", mail::quote_address(envelope.sender),
                  mail::quote_address(address));
  const auto added = co_await submission.add(content, deadline);
  Result<ipc::cleanup::Outcome> outcome = fail_temporary("not sent");
  if (added) outcome = co_await submission.finish(deadline);
  --under_way_;
  if (!outcome || !outcome->is_accepted) {
    log::warning("{}: address verification probe: {}", mail::quote_address(address),
                 outcome ? outcome->text : outcome.error().text);
    // Nothing is known, and the next question may try again at once.
    const std::string key = key_of(address);
    Record record = find(key);
    record.probed = 0;
    store_.put(key, print_record(record));
  }
}

loop::Task<void> Service::clean() {
  const std::int64_t now = now_seconds();
  const auto is_old = [this, now](std::string_view value) {
    const auto record = parse_record(value);
    if (!record) return true;
    const bool is_probing = record->probed != 0 && now - record->probed < kProbeTime.count();
    return !is_probing && !is_valid(*record, rules_, now);
  };
  std::string after;
  for (;;) {
    auto last = store_.clean(after, kCleanAtOnce, is_old);
    if (!last) break;
    after = *std::move(last);
    co_await loop::Yield();
  }
  clean_timer_.arm(loop::Clock::now() + params_.address_verify_cache_cleanup_interval);
}

}  // namespace postern::verify
