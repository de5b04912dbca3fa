#include "cleanup/service.h"

#include <sys/statvfs.h>

#include <algorithm>

#include "common/base/escape.h"
#include "common/base/text.h"
#include "common/config/params/address.h"
#include "common/config/params/cleanup.h"
#include "common/config/params/mailauth.h"
#include "common/config/params/misc.h"
#include "common/config/params/paths.h"
#include "common/config/params/process.h"
#include "common/config/params/queue.h"
#include "common/ipc/qmgr.h"
#include "common/log/log.h"

namespace postern::cleanup {

namespace {

// Threads for pieces of large messages, which may wait for the disk.
constexpr unsigned kWriteThreads = 8;
// Batches of commits under way at once: while one waits for the disk, the next gathers.
constexpr unsigned kCommitThreads = 2;

// How often the queue's file system is looked at while messages arrive.
constexpr std::chrono::seconds kDiskPeriod{1};
constexpr std::chrono::seconds kIntakeTime{5};
constexpr std::chrono::seconds kLeaveTime{2};

// Content of one transaction that waits for the disk; the client's window is smaller.
constexpr std::size_t kMaxWaiting = 2 * ipc::cleanup::kContentWindow + ipc::kMaxPayload;

// A message that finds no slot for so long is not taken.
constexpr std::chrono::seconds kSlotTime{100};

Origin origin_of(bool is_internal) { return is_internal ? Origin::kInternal : Origin::kClient; }

ipc::cleanup::Outcome too_busy(std::string queue_id) {
  ipc::cleanup::Outcome outcome;
  outcome.queue_id = std::move(queue_id);
  outcome.reply_code = 451;
  outcome.status = "4.3.2";
  outcome.text = "Error: too many messages at once";
  return outcome;
}

std::int64_t wall_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Service::Service(daemon::Process& process, queuefile::QueueDirs dirs)
    : process_(process),
      room_{.settings = {},
            .dirs = std::move(dirs),
            .ids = queuefile::QueueIdSource(process.slot()),
            .tables = ipc::TablesClient(),
            .qmgr = ipc::Client("public/qmgr"),
            .broker = ipc::Client("private/broker"),
            .pool = loop::WorkerPool(kWriteThreads),
            .commits = loop::BatchPool(kCommitThreads)},
      server_(process.take_listener()),
      disk_timer_([this] { check_disk(); }),
      leave_timer_([this] { finish_if_idle(); }) {
  configure();
}

void Service::configure() {
  const auto cleanup = process_.load<config::CleanupParams>();
  const auto address = process_.load<config::AddressParams>();
  const auto queue = process_.load<config::QueueParams>();
  Settings& s = room_.settings;
  s.header.rewrite.append_at_myorigin = address.append_at_myorigin;
  s.header.rewrite.append_dot_mydomain = address.append_dot_mydomain;
  s.header.rewrite.swap_bangpath = address.swap_bangpath;
  s.header.rewrite.allow_percent_hack = address.allow_percent_hack;
  s.header.rewrite.myorigin = address.myorigin;
  s.header.rewrite.mydomain = address.mydomain;
  s.header.rewrite.remote_header_rewrite_domain = address.remote_header_rewrite_domain;
  s.header.message_drop_headers.clear();
  for (const auto& name : cleanup.message_drop_headers) {
    s.header.message_drop_headers.push_back(to_lower(name));
  }
  s.header.undisclosed_recipients_header = cleanup.undisclosed_recipients_header;
  s.header.myhostname = address.myhostname;
  s.header.header_address_token_limit =
      static_cast<std::size_t>(cleanup.header_address_token_limit);
  s.header.always_add_missing_headers = cleanup.always_add_missing_headers;
  s.header.full_name_encoding_charset = process_.values().text("full_name_encoding_charset");
  s.header.header_from_format = cleanup.header_from_format;
  s.message_size_limit = static_cast<std::uint64_t>(cleanup.message_size_limit);
  s.queue_minfree = static_cast<std::uint64_t>(queue.queue_minfree);
  s.replaces_stray_cr = cleanup.cleanup_replace_stray_cr_lf;
  s.non_empty_end_of_header_action = cleanup.non_empty_end_of_header_action;
  s.duplicate_filter_limit = static_cast<std::size_t>(cleanup.duplicate_filter_limit);
  s.hopcount_limit = static_cast<unsigned>(cleanup.hopcount_limit);
  s.enable_original_recipient = cleanup.enable_original_recipient;
  s.enable_long_queue_ids = queue.enable_long_queue_ids;
  s.has_header_maps = !address.canonical_maps.empty() || !address.sender_canonical_maps.empty() ||
                      !address.recipient_canonical_maps.empty() ||
                      !address.masquerade_domains.empty();
  s.has_sender_maps = s.has_header_maps || !cleanup.sender_bcc_maps.empty();
  s.always_bcc = cleanup.always_bcc;
  config::Problems problems;
  s.non_smtpd_milters = milter::read_list(process_.values(), "non_smtpd_milters", problems);
  for (const auto& problem : problems) log::warning("{}", config::log_text(problem));
  CheckSettings& checks = s.checks;
  checks.header_checks = cleanup.header_checks;
  checks.mime_header_checks = cleanup.mime_header_checks;
  checks.nested_header_checks = cleanup.nested_header_checks;
  checks.body_checks = cleanup.body_checks;
  checks.milter_header_checks = process_.values().list("milter_header_checks");
  checks.body_checks_size_limit = static_cast<std::uint64_t>(cleanup.body_checks_size_limit);
  checks.mime.is_enabled = !cleanup.disable_mime_input_processing;
  checks.mime.downgrade = cleanup.force_mime_input_conversion && checks.mime.is_enabled;
  checks.mime.header_size_limit = static_cast<std::size_t>(cleanup.header_size_limit);
  checks.mime.line_length_limit = static_cast<std::size_t>(cleanup.line_length_limit);
  checks.mime.mime_nesting_limit = static_cast<std::size_t>(cleanup.mime_nesting_limit);
  checks.mime.mime_boundary_length_limit =
      static_cast<std::size_t>(cleanup.mime_boundary_length_limit);
  checks.strict_7bit_headers = cleanup.strict_7bit_headers || cleanup.strict_8bitmime;
  checks.strict_8bitmime_body = cleanup.strict_8bitmime_body || cleanup.strict_8bitmime;
  checks.strict_mime_encoding_domain = cleanup.strict_mime_encoding_domain;
  checks.message_reject_characters = unescape_characters(cleanup.message_reject_characters);
  checks.message_strip_characters = unescape_characters(cleanup.message_strip_characters);
  const auto mailauth = process_.load<config::MailauthParams>();
  s.batv_domains = mailauth.batv_enable ? mailauth.batv_domains : std::vector<std::string>();
  s.srs_domain = mailauth.srs_enable ? mailauth.srs_domain : std::string();
  s.authentication.authserv_id = mailauth.mailauth_authserv_id;
  s.authentication.defers_without = mailauth.mailauth_default_action == "tempfail";
  s.authentication.time_limit = mailauth.mailauth_time_limit;
  const auto& signed_clients = mailauth.dkim_sign_clients;
  s.authentication.signs_local =
      mailauth.dkim_sign_enable &&
      std::find(signed_clients.begin(), signed_clients.end(), "local") != signed_clients.end();
  const auto& classes = cleanup.internal_mail_filter_classes;
  s.filters_bounces = std::find(classes.begin(), classes.end(), "bounce") != classes.end();
  s.detects_8bit = process_.values().flag("detect_8bit_encoding_header");
  s.tls_required_enable = process_.values().flag("tls_required_enable");
  s.requiretls_esmtp_header = process_.values().flag("requiretls_enable") &&
                              process_.values().flag("requiretls_esmtp_header");
  s.smtputf8_autodetect_classes.clear();
  if (cleanup.smtputf8_enable) s.smtputf8_autodetect_classes = cleanup.smtputf8_autodetect_classes;
  const auto* line = process_.values().service();
  s.service = line != nullptr && !line->overrides.empty() ? line->name : std::string();
  s.mail_name = process_.values().text("mail_name");
  const auto reserve = process_.load<config::ProcessParams>().cleanup_internal_reserve;
  slots_.configure(limit_, static_cast<std::size_t>(reserve));
}

void Service::start() {
  auto& dispatcher = server_.dispatcher();
  dispatcher.serve_with_fds<ipc::cleanup::Submit>(
      [this](ipc::cleanup::Submit request, ipc::ChannelPtr, std::vector<sys::Fd> fds) {
        return submit(std::move(request), std::move(fds));
      });
  dispatcher.answer<ipc::cleanup::NewId>(
      [this](ipc::cleanup::NewId&, const ipc::ChannelPtr&) -> Result<ipc::cleanup::Opened> {
        return ipc::cleanup::Opened{id_for({})};
      });
  dispatcher.serve_with_fds<ipc::cleanup::Open>(
      [this](ipc::cleanup::Open request, ipc::ChannelPtr channel, std::vector<sys::Fd> fds) {
        return open(std::move(request), std::move(channel), std::move(fds));
      });
  dispatcher.raw(
      ipc::cleanup::kContentType,
      [this](const ipc::ChannelPtr& channel, ipc::Frame& frame) { content(channel, frame); });
  dispatcher.serve<ipc::cleanup::Finish>(
      [this](ipc::cleanup::Finish request, ipc::ChannelPtr channel) {
        return finish(std::move(request), std::move(channel));
      });
  dispatcher.notice<ipc::cleanup::Abort>(
      [this](ipc::cleanup::Abort& notice, const ipc::ChannelPtr& channel) {
        // A piece that is being written keeps the transaction until it is done.
        if (peer(channel).transactions.erase(notice.transaction) > 0) end();
      });
  server_.on_connected([this](const ipc::ChannelPtr& channel) {
    channel->context = std::make_shared<Peer>();
    channel->notify(pressure_);
  });
  server_.on_closed([this](const ipc::ChannelPtr& channel) {
    for ([[maybe_unused]] const auto& entry : peer(channel).transactions) end();
    peer(channel).transactions.clear();
  });
  process_.on_reload([this] { configure(); });
  process_.on_share([this](std::int64_t limit, bool) {
    limit_ = static_cast<std::size_t>(limit);
    configure();
  });
  process_.on_drain([this] {
    server_.leave();
    // What clients had sent before they heard of it is on its way.
    if (process_.patience().count() > 0) {
      may_finish_ = false;
      leave_timer_.arm(loop::Clock::now() + kLeaveTime);
    } else if (in_use_ == 0) {
      process_.finish();
    }
  });
  process_.on_hurry([this] { finish_if_idle(); });
  check_disk();
  server_.only_for(process_.clients());
  server_.start();
}

void Service::finish_if_idle() {
  may_finish_ = true;
  if (in_use_ == 0) process_.finish();
}

Service::Peer& Service::peer(const ipc::ChannelPtr& channel) {
  return *static_cast<Peer*>(channel->context.get());
}

void Service::begin() {
  ++in_use_;
  if (!disk_timer_.is_armed()) disk_timer_.arm(loop::Clock::now() + kDiskPeriod);
  process_.report_load(static_cast<std::int64_t>(in_use_), process_.loop().busy_percent() > 90);
}

void Service::end() {
  --in_use_;
  process_.report_load(static_cast<std::int64_t>(in_use_), process_.loop().busy_percent() > 90);
  if (in_use_ == 0 && process_.is_draining() && may_finish_) process_.finish();
}

std::string Service::id_for(const std::string& wanted) {
  if (queuefile::is_valid_queue_id(wanted)) return wanted;
  return room_.ids.next(wall_us(), room_.settings.enable_long_queue_ids
                                       ? queuefile::IdForm::kLong
                                       : queuefile::IdForm::kShort);
}

loop::Task<Result<ipc::cleanup::Outcome>> Service::submit(ipc::cleanup::Submit request,
                                                          std::vector<sys::Fd> fds) {
  begin();
  const Origin origin = origin_of(request.is_internal);
  Slots::Slot slot;
  if (slots_.has_room(origin)) {
    slot = slots_.take();
  } else {
    slot = co_await slots_.wait(origin, loop::Clock::now() + kSlotTime);
    if (!slot) {
      end();
      co_return too_busy(std::move(request.queue_id));
    }
  }
  Intake intake(room_, id_for(request.queue_id));
  intake.prepend(std::move(request.prepend));
  intake.override_with(request.overrides);
  intake.adopt(std::move(request.milters), std::move(fds));
  co_await intake.open(std::move(request.envelope));
  co_await intake.add(std::move(request.content));
  ipc::cleanup::Outcome outcome = co_await intake.finish(request.is_hold, std::move(request.end));
  end();
  co_return outcome;
}

loop::Task<Result<ipc::cleanup::Opened>> Service::open(ipc::cleanup::Open request,
                                                       ipc::ChannelPtr channel,
                                                       std::vector<sys::Fd> fds) {
  auto transaction = std::make_shared<Transaction>(room_, id_for(request.queue_id));
  const auto [place, is_new] = peer(channel).transactions.emplace(request.transaction, transaction);
  if (!is_new) co_return fail_temporary("transaction number is in use");
  begin();
  transaction->intake.prepend(std::move(request.prepend));
  transaction->intake.override_with(request.overrides);
  transaction->intake.adopt(std::move(request.milters), std::move(fds));
  loop::spawn(begin_work(transaction, request.transaction, channel, std::move(request.envelope),
                         origin_of(request.is_internal)));
  co_return ipc::cleanup::Opened{transaction->intake.queue_id()};
}

// The envelope, as soon as there is a slot; content may have come meanwhile.
loop::Task<void> Service::begin_work(TransactionPtr transaction, std::uint32_t number,
                                     ipc::ChannelPtr channel, std::string envelope, Origin origin) {
  transaction->is_working = true;
  if (slots_.has_room(origin)) {
    transaction->slot = slots_.take();
  } else {
    transaction->slot = co_await slots_.wait(origin, loop::Clock::now() + kSlotTime);
  }
  transaction->is_turned_away = !transaction->slot;
  if (!transaction->is_turned_away) co_await transaction->intake.open(std::move(envelope));
  co_await work(transaction, number, channel);
}

// One piece after the other, as they have come.
loop::Task<void> Service::work(TransactionPtr transaction, std::uint32_t number,
                               ipc::ChannelPtr channel) {
  transaction->is_working = true;
  while (!transaction->waiting.empty()) {
    std::string piece = std::exchange(transaction->waiting, {});
    transaction->taken += static_cast<std::int64_t>(piece.size());
    if (!transaction->is_turned_away) co_await transaction->intake.add(std::move(piece));
    ipc::cleanup::Taken taken;
    taken.transaction = number;
    taken.bytes = transaction->taken;
    channel->notify(taken);
  }
  transaction->is_working = false;
  transaction->idle.notify_all();
}

void Service::content(const ipc::ChannelPtr& channel, ipc::Frame& frame) {
  const auto found = peer(channel).transactions.find(frame.id);
  if (found == peer(channel).transactions.end()) return;
  const TransactionPtr transaction = found->second;
  if (transaction->waiting.size() + frame.payload.size() > kMaxWaiting) return channel->close();
  transaction->waiting += frame.payload;
  if (!transaction->is_working) loop::spawn(work(transaction, frame.id, channel));
}

loop::Task<Result<ipc::cleanup::Outcome>> Service::finish(ipc::cleanup::Finish request,
                                                          ipc::ChannelPtr channel) {
  const auto found = peer(channel).transactions.find(request.transaction);
  if (found == peer(channel).transactions.end()) co_return fail_temporary("no such transaction");
  const TransactionPtr transaction = found->second;
  while (transaction->is_working) co_await transaction->idle.wait(loop::kNever);
  ipc::cleanup::Outcome outcome;
  if (transaction->is_turned_away) {
    outcome = too_busy(transaction->intake.queue_id());
  } else {
    outcome = co_await transaction->intake.finish(request.is_hold, std::move(request.end));
  }
  if (channel->is_open() && peer(channel).transactions.erase(request.transaction) > 0) end();
  co_return outcome;
}

// 452 before the disk is full, and alone again when it no longer is (postconf(5) queue_minfree:
// room for one and a half of the largest message in any case).
void Service::check_disk() {
  struct statvfs fs{};
  if (::fstatvfs(room_.dirs.root(), &fs) == 0) {
    ipc::cleanup::Pressure now;
    const std::uint64_t free = static_cast<std::uint64_t>(fs.f_bavail) * fs.f_frsize;
    const std::uint64_t wanted =
        std::max(room_.settings.queue_minfree, room_.settings.message_size_limit * 3 / 2);
    const bool has_inodes = fs.f_files == 0 || fs.f_favail > 0;
    now.is_disk_full = free < wanted || !has_inodes;
    now.free_bytes = static_cast<std::int64_t>(free);
    if (now.is_disk_full != pressure_.is_disk_full) {
      if (now.is_disk_full) {
        log::warning(
            "not enough room in the queue's file system: {} bytes free, {} wanted{}; new "
            "mail is refused until there is",
            free, wanted, has_inodes ? "" : ", no inode left");
      } else {
        log::info("the queue's file system has room again");
      }
      pressure_.is_disk_full = now.is_disk_full;
      pressure_.free_bytes = now.free_bytes;
      tell_pressure();
    }
  }
  if (!is_asking_) loop::spawn(check_intake());
  if (in_use_ > 0 || pressure_.is_disk_full || pressure_.is_intake_slow)
    disk_timer_.arm(loop::Clock::now() + kDiskPeriod);
}

// Mail that comes in faster than qmgr takes it over makes clients wait a little (in_flow_delay).
loop::Task<void> Service::check_intake() {
  is_asking_ = true;
  const auto state =
      co_await room_.qmgr.call(ipc::qmgr::AskIntake{}, loop::Clock::now() + kIntakeTime);
  is_asking_ = false;
  // A queue manager that does not answer is being restarted: its scan will find what came in.
  const bool is_slow = state && state->is_slow;
  if (is_slow == pressure_.is_intake_slow) co_return;
  pressure_.is_intake_slow = is_slow;
  tell_pressure();
}

void Service::tell_pressure() {
  for (const auto& channel : server_.channels()) channel->notify(pressure_);
}

}  // namespace postern::cleanup
