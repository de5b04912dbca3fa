#include "bounce/service.h"

#include <algorithm>
#include <map>
#include <unordered_set>

#include "common/base/encode.h"
#include "common/base/text.h"
#include "common/config/load.h"
#include "common/config/params/address.h"
#include "common/config/params/bounce.h"
#include "common/config/params/paths.h"
#include "common/config/params/queue.h"
#include "common/log/event.h"
#include "common/log/log.h"
#include "common/mail/verp.h"
#include "common/queuefile/queue_id.h"

namespace postern::bounce {

namespace {

// Flushes under way at once: the journal commits them together.
constexpr unsigned kFlushThreads = 8;
constexpr std::chrono::seconds kCleanupTime{280};
// Whatever the limits say: so much of a message is held in memory for its notification.
constexpr std::uint64_t kMaxReturned = std::uint64_t{64} << 20;
constexpr std::uint64_t kMaxHeader = std::uint64_t{1} << 20;

// A line of the defer log that is no recipient's: the sender has had his warning.
constexpr std::string_view kWarned = "warned";
bool is_warning_mark(const queuefile::Reason& reason) { return reason.action == kWarned; }

std::int64_t wall_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::optional<queuefile::Queue> find_log(std::string_view name) {
  if (name == "bounce") return queuefile::Queue::kBounce;
  if (name == "defer") return queuefile::Queue::kDefer;
  if (name == "trace") return queuefile::Queue::kTrace;
  return std::nullopt;
}

NoticeKind kind_of(ipc::bounce::Kind kind) {
  switch (kind) {
    case ipc::bounce::Kind::kDelay:
      return NoticeKind::kDelay;
    case ipc::bounce::Kind::kSuccess:
      return NoticeKind::kSuccess;
    case ipc::bounce::Kind::kDelayCleared:
      return NoticeKind::kDelayCleared;
    case ipc::bounce::Kind::kTrace:
      return NoticeKind::kVerify;
    case ipc::bounce::Kind::kFailure:
      break;
  }
  return NoticeKind::kFailure;
}

bool has_word(const std::vector<std::string>& words, std::string_view word) {
  return std::any_of(words.begin(), words.end(),
                     [&](const std::string& each) { return equal_nocase(each, word); });
}

// A template's text with its values; as it stands where a name in it is wrong.
Template expanded(Template words, const config::Values& values, std::string_view title) {
  const TemplateValues source{
      .text = [&values](std::string_view name) -> std::optional<std::string> {
        if (!values.raw(name)) return std::nullopt;
        return values.text(name);
      },
      .duration = [&values](std::string_view name) -> std::optional<std::chrono::seconds> {
        if (!values.raw(name)) return std::nullopt;
        return values.duration(name);
      },
      .is_lost =
          [title](std::string_view parameter, std::string_view unit) {
            log::warning("{}", lost_time(title, parameter, unit));
          }};
  auto text = expand_template(words.text, source);
  if (text) {
    words.text = *std::move(text);
  } else {
    log::warning("template of notifications: {}", text.error().text);
  }
  return words;
}

// A file that is wrong is no reason to leave senders without a word.
Templates templates_of(const config::Values& values, const std::string& path) {
  if (path.empty()) return built_in_templates();
  const auto text = values.file(path);
  if (!text) {
    log::warning("bounce_template_file {}: cannot be read; the built-in templates are used", path);
    return built_in_templates();
  }
  auto parsed = parse_templates(*text, built_in_templates());
  for (const std::string& problem : parsed.problems) {
    log::warning("{}{}{}", path, problem.starts_with("line ") ? ", " : ": ", problem);
  }
  return std::move(parsed.templates);
}

ReportRecipient for_report(const queuefile::Reason& reason, NoticeKind kind, bool is_expired) {
  ReportRecipient recipient;
  recipient.address = reason.address;
  recipient.orig_to = reason.orig_to;
  recipient.dsn_orcpt = reason.dsn_orcpt;
  recipient.action = reason.action;
  if (kind == NoticeKind::kFailure && is_expired) recipient.action = "failed";
  if (recipient.action.empty()) recipient.action = "failed";
  recipient.status = reason.status;
  recipient.text = reason.text;
  recipient.remote_mta = reason.remote_mta;
  recipient.diagnostic_type = reason.diagnostic_type;
  recipient.diagnostic = reason.diagnostic;
  return recipient;
}

}  // namespace

std::vector<queuefile::Reason> reasons_to_return(const std::vector<queuefile::Reason>& bounced,
                                                 const std::vector<queuefile::Reason>& deferred,
                                                 const queuefile::Envelope* envelope,
                                                 bool is_expired) {
  std::vector<queuefile::Reason> result = bounced;
  if (!is_expired) return result;
  std::unordered_set<std::uint64_t> done;
  for (const auto& reason : bounced) done.insert(reason.state_offset);
  if (envelope == nullptr) {
    // The file cannot be read any more: what the log says is all that is known.
    for (const auto& reason : deferred) {
      if (done.insert(reason.state_offset).second) result.push_back(reason);
    }
    return result;
  }
  for (const auto& recipient : envelope->recipients) {
    if (recipient.state != queuefile::State::kPending) continue;
    if (!done.insert(recipient.state_offset).second) continue;
    const auto known = std::find_if(deferred.begin(), deferred.end(), [&](const auto& reason) {
      return reason.state_offset == recipient.state_offset;
    });
    if (known != deferred.end()) {
      result.push_back(*known);
      continue;
    }
    queuefile::Reason reason;
    reason.address = recipient.address;
    reason.orig_to = recipient.orig_to;
    reason.dsn_orcpt = recipient.dsn_orcpt;
    reason.notify = recipient.notify;
    reason.state_offset = recipient.state_offset;
    reason.action = "failed";
    reason.status = "4.4.7";
    reason.text = "delivery time expired";
    result.push_back(std::move(reason));
  }
  return result;
}

Service::Service(daemon::Process& process, queuefile::QueueDirs dirs)
    : process_(process),
      dirs_(std::move(dirs)),
      cleanup_("public/" + process.values().text("cleanup_service_name")),
      pool_(kFlushThreads),
      server_(process.take_listener()) {
  configure();
}

void Service::configure() {
  const auto bounce = process_.load<config::BounceParams>();
  const auto address = process_.load<config::AddressParams>();
  const auto queue = process_.load<config::QueueParams>();
  const config::Values& values = process_.values();
  Settings& s = settings_;
  s.myhostname = address.myhostname;
  s.mail_name = values.text("mail_name");
  s.double_bounce = bounce.double_bounce_sender + "@" + address.myhostname;
  s.bounce_notice_recipient = bounce.bounce_notice_recipient;
  s.n2bounce_notice_recipient = bounce.n2bounce_notice_recipient;
  s.delay_notice_recipient = bounce.delay_notice_recipient;
  s.copies_bounces = has_word(bounce.notify_classes, "bounce");
  s.copies_2bounces = has_word(bounce.notify_classes, "2bounce");
  s.copies_delays = has_word(bounce.notify_classes, "delay");
  s.disable_verp_bounces = bounce.disable_verp_bounces;
  s.enable_threaded_bounces = bounce.enable_threaded_bounces;
  s.bounce_size_limit = static_cast<std::uint64_t>(bounce.bounce_size_limit);
  s.maximal_queue_lifetime = queue.maximal_queue_lifetime;
  s.templates = templates_of(values, bounce.bounce_template_file);
  s.templates.failure = expanded(s.templates.failure, values, "failure");
  s.templates.delay = expanded(s.templates.delay, values, "delay");
  s.templates.success = expanded(s.templates.success, values, "success");
  s.templates.verify = expanded(s.templates.verify, values, "verify");
}

void Service::start() {
  auto& dispatcher = server_.dispatcher();
  dispatcher.serve<ipc::bounce::Append>(
      [this](ipc::bounce::Append request, ipc::ChannelPtr) { return append(std::move(request)); });
  dispatcher.serve_with_fds<ipc::bounce::Notify>(
      [this](ipc::bounce::Notify request, ipc::ChannelPtr, std::vector<sys::Fd> fds) {
        return notify(std::move(request), fds.empty() ? sys::Fd() : std::move(fds.front()));
      });
  dispatcher.serve<ipc::bounce::Forget>(
      [this](ipc::bounce::Forget request, ipc::ChannelPtr) { return forget(std::move(request)); });
  process_.on_reload([this] { configure(); });
  process_.on_drain([this] {
    server_.stop_accepting();
    if (in_use_ == 0) process_.finish();
  });
  server_.only_for(process_.clients());
  server_.start();
}

void Service::begin() {
  ++in_use_;
  process_.report_load(static_cast<std::int64_t>(in_use_), false);
}

void Service::end() {
  --in_use_;
  process_.report_load(static_cast<std::int64_t>(in_use_), false);
  if (process_.is_draining() && in_use_ == 0) {
    // The answer leaves at the end of this turn.
    loop::Loop::current().post([this] { process_.finish(); });
  }
}

loop::Task<Result<ipc::Done>> Service::append(ipc::bounce::Append request) {
  const auto log = find_log(request.log);
  if (!log || !queuefile::is_valid_queue_id(request.queue_id) ||
      request.recipients.size() != request.reports.size()) {
    co_return fail(Error::Kind::kDamaged, "malformed request");
  }
  begin();
  std::vector<queuefile::Reason> reasons;
  reasons.reserve(request.recipients.size());
  const std::int64_t now = wall_us() / 1'000'000;
  std::map<std::int64_t, std::uint64_t> parts;
  for (std::size_t i = 0; i < request.recipients.size(); ++i) {
    const auto& recipient = request.recipients[i];
    const auto& report = request.reports[i];
    queuefile::Reason& reason = reasons.emplace_back();
    reason.address = report.address.empty() ? recipient.address : report.address;
    reason.orig_to = recipient.orig_to;
    reason.dsn_orcpt = recipient.dsn_orcpt;
    reason.notify = static_cast<std::uint8_t>(recipient.notify);
    reason.state_offset = static_cast<std::uint64_t>(recipient.state_offset);
    reason.time = now;
    reason.action = report.action;
    reason.status = report.status.empty() ? "4.0.0" : report.status;
    reason.text = report.text;
    reason.remote_mta = report.remote_mta;
    reason.diagnostic_type = report.diagnostic_type;
    reason.diagnostic = report.diagnostic;
    if (report.share == ipc::agent::Share::kPart) reason.part = ++parts[recipient.state_offset];
    if (report.owner.empty()) continue;
    // A list has recipients of its own; what the sender asked of the list is not theirs.
    reason.owner = report.owner;
    reason.orig_to.clear();
    reason.dsn_orcpt.clear();
    reason.notify = 0;
  }
  Result<void> done;
  if (*log == queuefile::Queue::kBounce) {
    done = co_await pool_.run([this, &request, &reasons] {
      return queuefile::append_reasons(dirs_, queuefile::Queue::kBounce, request.queue_id, reasons,
                                       queuefile::Durability::kFlushed);
    });
  } else {
    done = queuefile::append_reasons(dirs_, *log, request.queue_id, reasons,
                                     queuefile::Durability::kUnflushed);
  }
  end();
  if (!done) {
    log::warning("{}: {} log: {}", request.queue_id, request.log, done.error().text);
    co_return std::unexpected(done.error());
  }
  co_return ipc::Done{};
}

loop::Task<Result<ipc::Done>> Service::forget(ipc::bounce::Forget request) {
  const auto log = find_log(request.log);
  if (!log || !queuefile::is_valid_queue_id(request.queue_id)) {
    co_return fail(Error::Kind::kDamaged, "malformed request");
  }
  CO_TRY([[maybe_unused]] const bool was_there, dirs_.remove(*log, request.queue_id));
  co_return ipc::Done{};
}

loop::Task<Result<Service::Subject>> Service::read_subject(sys::Fd message) {
  const int fd = message.get();
  const std::uint64_t body_limit = settings_.bounce_size_limit == 0
                                       ? kMaxReturned
                                       : std::min(settings_.bounce_size_limit, kMaxReturned);
  co_return co_await pool_.run([fd, body_limit]() -> Result<Subject> {
    auto opened = queuefile::open_message(fd, {.verify = queuefile::Verify::kStructure});
    if (!opened) return fail_temporary("queue file: " + opened.error().text);
    Subject subject;
    subject.size = opened->layout.message_size;
    TRY(subject.header, queuefile::read_extent(fd, opened->layout.header, kMaxHeader));
    if (opened->layout.body.length <= body_limit) {
      TRY(subject.body, queuefile::read_extent(fd, opened->layout.body, body_limit));
    } else {
      subject.size = std::max(subject.size, opened->layout.body.length);
    }
    subject.envelope = std::move(opened->envelope);
    return subject;
  });
}

loop::Task<Result<std::vector<queuefile::Reason>>> Service::collect(
    ipc::bounce::Notify request, const queuefile::Envelope* envelope) {
  using ipc::bounce::Kind;
  if (request.kind == Kind::kDelay) {
    co_return queuefile::read_reasons(dirs_, queuefile::Queue::kDefer, request.queue_id);
  }
  if (request.kind == Kind::kSuccess || request.kind == Kind::kTrace ||
      request.kind == Kind::kDelayCleared) {
    co_return queuefile::read_reasons(dirs_, queuefile::Queue::kTrace, request.queue_id);
  }
  CO_TRY(const auto bounced,
         queuefile::read_reasons(dirs_, queuefile::Queue::kBounce, request.queue_id));
  if (!request.is_expired) co_return bounced;
  CO_TRY(const auto deferred,
         queuefile::read_reasons(dirs_, queuefile::Queue::kDefer, request.queue_id));
  co_return reasons_to_return(bounced, deferred, envelope, true);
}

// Who is told, and of what: the sender, the postmaster, both or nobody.
std::vector<Service::Notice> Service::plan(const ipc::bounce::Notify& request, std::uint64_t size,
                                           const std::string& sender) const {
  std::vector<Notice> notices;
  const NoticeKind kind = kind_of(request.kind);
  const bool ret_headers = request.dsn_ret == static_cast<char>(queuefile::DsnReturn::kHeaders);
  const Returned returned =
      what_to_return(kind, ret_headers, size, std::min(settings_.bounce_size_limit, kMaxReturned));
  switch (kind) {
    case NoticeKind::kFailure:
      if (equal_nocase(sender, settings_.double_bounce)) {
        log::warning("{}: undeliverable postmaster notification discarded", request.queue_id);
      } else if (sender.empty()) {
        if (settings_.copies_2bounces || settings_.copies_bounces) {
          notices.push_back({kind, Audience::kPostmaster, settings_.double_bounce,
                             settings_.n2bounce_notice_recipient, "postmaster non-delivery",
                             returned});
        }
      } else {
        notices.push_back({kind, Audience::kSender, "", sender, "sender non-delivery", returned});
        if (settings_.copies_bounces) {
          notices.push_back({kind, Audience::kPostmaster, settings_.double_bounce,
                             settings_.bounce_notice_recipient, "postmaster non-delivery",
                             Returned::kHeaders});
        }
      }
      break;
    case NoticeKind::kDelay:
      if (sender.empty() || equal_nocase(sender, settings_.double_bounce)) break;
      notices.push_back({kind, Audience::kSender, "", sender, "sender delay", returned});
      if (settings_.copies_delays) {
        notices.push_back({kind, Audience::kPostmaster, settings_.double_bounce,
                           settings_.delay_notice_recipient, "postmaster delay",
                           Returned::kHeaders});
      }
      break;
    case NoticeKind::kSuccess:
    case NoticeKind::kDelayCleared:
    case NoticeKind::kVerify:
      if (sender.empty() || equal_nocase(sender, settings_.double_bounce)) break;
      notices.push_back({kind, Audience::kSender, "", sender, "sender delivery status", returned});
      break;
  }
  return notices;
}

loop::Task<Result<std::string>> Service::send(Notice notice, const ipc::bounce::Notify& request,
                                              const Subject& subject,
                                              const std::vector<queuefile::Reason>& reasons) {
  Report report;
  report.kind = notice.kind;
  report.audience = notice.audience;
  report.mail_name = settings_.mail_name;
  report.myhostname = settings_.myhostname;
  report.to = notice.to;
  report.queue_id = request.queue_id;
  report.sender = request.sender;
  // It travels as xtext (RFC 3461 4.4), and is shown as it was meant.
  report.dsn_envid = xtext_decode(request.dsn_envid).value_or(request.dsn_envid);
  report.arrival = WallTime(std::chrono::microseconds(request.arrival_us));
  report.now = std::chrono::system_clock::now();
  if (notice.kind == NoticeKind::kDelay) {
    report.retry_until = report.arrival + settings_.maximal_queue_lifetime;
  }
  report.is_threaded = settings_.enable_threaded_bounces;
  report.is_7bit = subject.envelope.encoding == queuefile::ContentEncoding::k7bit;
  report.is_utf8 = (subject.envelope.smtputf8 & queuefile::kUtf8Requested) != 0;
  report.words = notice.kind == NoticeKind::kFailure  ? settings_.templates.failure
                 : notice.kind == NoticeKind::kDelay  ? settings_.templates.delay
                 : notice.kind == NoticeKind::kVerify ? settings_.templates.verify
                                                      : settings_.templates.success;
  for (const auto& reason : reasons) {
    if (notice.audience == Audience::kSender && !is_wanted(notice.kind, reason.notify)) continue;
    report.recipients.push_back(for_report(reason, notice.kind, request.is_expired));
  }
  if (report.recipients.empty()) co_return std::string();
  report.returned = notice.returned;
  report.header = subject.header;
  report.body = subject.body;
  const std::string content = compose_report(report);

  queuefile::Envelope envelope;
  envelope.sender = notice.sender;
  const std::int64_t now = wall_us();
  envelope.arrival = {now / 1'000'000, static_cast<std::int32_t>(now % 1'000'000)};
  envelope.encoding = report.is_7bit && is_all_ascii(content) ? queuefile::ContentEncoding::k7bit
                                                              : queuefile::ContentEncoding::k8bit;
  if (report.is_utf8) envelope.smtputf8 = queuefile::kUtf8Requested;
  envelope.rewrite_context = "local";
  envelope.origin = queuefile::Origin::kNotice;
  envelope.flags = queuefile::kFlagInternal;
  envelope.recipients.push_back({.address = notice.to, .orig_to = notice.to});
  // RFC 8689 5: content that has to stay secret goes back so, or not at all.
  for (const auto& [name, value] : subject.envelope.attributes) {
    if (name == queuefile::kRequireTls && notice.returned == Returned::kFull) {
      envelope.attributes.emplace_back(name, value);
    }
  }
  CO_DO(queuefile::check_bounds(envelope));
  ipc::SubmissionStart start;
  queuefile::append_envelope(start.envelope, envelope);
  start.is_internal = true;
  ipc::Submission submission(cleanup_, std::move(start));
  const auto deadline = loop::Clock::now() + kCleanupTime;
  CO_DO(co_await submission.add(content, deadline));
  CO_TRY(const auto outcome, co_await submission.finish(deadline));
  if (!outcome.is_accepted) {
    co_return fail_temporary(fmt::format("notification was not accepted: {} {} {}",
                                         outcome.reply_code, outcome.status, outcome.text));
  }
  log::notification(request.queue_id, notice.what, outcome.queue_id);
  co_return outcome.queue_id;
}

loop::Task<Result<std::string>> Service::send_all(const ipc::bounce::Notify& request,
                                                  const Subject& subject,
                                                  const std::vector<queuefile::Reason>& reasons,
                                                  const std::string& sender) {
  std::string queue_id;
  const auto notices = plan(request, subject.size, sender);
  for (const Notice& notice : notices) {
    auto sent = co_await send(notice, request, subject, reasons);
    if (sent) {
      if (queue_id.empty()) queue_id = *std::move(sent);
      continue;
    }
    log::warning("{}: {} notification: {}", request.queue_id, notice.what, sent.error().text);
    // A copy for the postmaster that fails is not worth a second notification to the sender.
    if (&notice == &notices.front()) co_return std::unexpected(std::move(sent).error());
  }
  co_return queue_id;
}

void Service::mark_warned(const std::string& queue_id) {
  queuefile::Reason mark;
  mark.address = settings_.double_bounce;
  mark.time = wall_us() / 1'000'000;
  mark.action = kWarned;
  mark.status = "4.0.0";
  mark.text = "the sender was told";
  const auto done = queuefile::append_reasons(dirs_, queuefile::Queue::kDefer, queue_id, {mark},
                                              queuefile::Durability::kUnflushed);
  if (!done) log::warning("{}: defer log: {}", queue_id, done.error().text);
}

bool Service::was_warned(const std::string& queue_id) {
  const auto reasons = queuefile::read_reasons(dirs_, queuefile::Queue::kDefer, queue_id);
  return reasons && std::ranges::any_of(*reasons, is_warning_mark);
}

void Service::remove_logs(const ipc::bounce::Notify& request) {
  const auto remove = [&](queuefile::Queue log) {
    const auto removed = dirs_.remove(log, request.queue_id);
    if (!removed) log::warning("{}: {}", request.queue_id, removed.error().text);
  };
  if (request.kind == ipc::bounce::Kind::kFailure) remove(queuefile::Queue::kBounce);
  if (request.kind == ipc::bounce::Kind::kFailure && request.is_expired) {
    remove(queuefile::Queue::kDefer);
  }
  if (request.kind == ipc::bounce::Kind::kSuccess || request.kind == ipc::bounce::Kind::kTrace ||
      request.kind == ipc::bounce::Kind::kDelayCleared) {
    remove(queuefile::Queue::kTrace);
  }
}

loop::Task<Result<ipc::bounce::Sent>> Service::tell_owners(
    const ipc::bounce::Notify& request, const Subject& subject,
    std::vector<queuefile::Reason>& reasons) {
  ipc::bounce::Sent last;
  for (const queuefile::Reason& reason : reasons) {
    if (reason.owner.empty()) continue;
    CO_TRY(last.queue_id, co_await send_all(request, subject, {reason}, reason.owner));
  }
  std::erase_if(reasons, [](const queuefile::Reason& reason) { return !reason.owner.empty(); });
  co_return last;
}

loop::Task<Result<ipc::bounce::Sent>> Service::notify(ipc::bounce::Notify request,
                                                      sys::Fd message) {
  if (!queuefile::is_valid_queue_id(request.queue_id) || !message) {
    co_return fail(Error::Kind::kDamaged, "malformed request");
  }
  begin();
  Result<Subject> subject = co_await read_subject(std::move(message));
  const bool is_readable = subject.has_value();
  if (!is_readable) {
    log::warning("{}: {}; the notification goes without the message", request.queue_id,
                 subject.error().text);
    subject = Subject{};
  }
  if (request.kind == ipc::bounce::Kind::kDelayCleared && !was_warned(request.queue_id)) {
    // Only who asked for reports of success gets one.
    request.kind = ipc::bounce::Kind::kSuccess;
  }
  auto reasons = co_await collect(request, is_readable ? &subject->envelope : nullptr);
  Result<ipc::bounce::Sent> result = ipc::bounce::Sent{};
  if (reasons && request.kind == ipc::bounce::Kind::kDelay) {
    // The mark stands in the log: what is removed with it is forgotten with it.
    if (std::erase_if(*reasons, is_warning_mark) > 0) {
      end();
      co_return result;
    }
  }
  if (!reasons) {
    result = std::unexpected(reasons.error());
  } else if (request.kind == ipc::bounce::Kind::kFailure && !settings_.disable_verp_bounces &&
             subject->envelope.verp_delims.size() == 2 && !request.sender.empty()) {
    // Each recipient had a sender address of its own, which is to hear of it.
    for (const auto& reason : *reasons) {
      ipc::bounce::Notify of_one = request;
      of_one.sender = mail::verp_sender(request.sender,
                                        reason.orig_to.empty() ? reason.address : reason.orig_to,
                                        subject->envelope.verp_delims);
      const auto sent = co_await send_all(of_one, *subject, {reason}, of_one.sender);
      if (!sent) {
        result = std::unexpected(sent.error());
        break;
      }
      result->queue_id = *sent;
    }
  } else {
    // Owners first: where the sender cannot be told, they hear of it twice, but nobody not at all.
    if (request.kind == ipc::bounce::Kind::kFailure) {
      result = co_await tell_owners(request, *subject, *reasons);
    }
    if (result && !reasons->empty()) {
      const auto sent = co_await send_all(request, *subject, *reasons, request.sender);
      if (sent) {
        result->queue_id = *sent;
      } else {
        result = std::unexpected(sent.error());
      }
    }
  }
  if (result) remove_logs(request);
  if (result && request.kind == ipc::bounce::Kind::kDelay) mark_warned(request.queue_id);
  end();
  co_return result;
}

}  // namespace postern::bounce
