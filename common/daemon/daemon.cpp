#include "common/daemon/daemon.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <cstdlib>

#include "common/config/master_cf.h"
#include "common/config/params/log.h"
#include "common/config/params/paths.h"
#include "common/config/params/process.h"
#include "common/config/snapshot.h"
#include "common/daemon/confinement.h"
#include "common/ipc/control.h"
#include "common/ipc/identity.h"
#include "common/ipc/keyring.h"
#include "common/log/log.h"
#include "common/sys/memory.h"

namespace postern::daemon {

namespace {

// Larger than any configuration we saw by three orders of magnitude.
constexpr std::size_t kMaxSnapshot = std::size_t{64} << 20;

// How long what is under way may take once master is gone.
constexpr std::chrono::seconds kOrphanLimit{300};

// What is told to end within that time is not replaced: all end.
constexpr std::chrono::seconds kLongestStop{10};

// How often master hears of a changed load.
constexpr std::chrono::seconds kLoadPeriod{1};

unsigned number_of(const char* text) {
  unsigned value = 0;
  const std::string_view view(text);
  std::from_chars(view.data(), view.data() + view.size(), value);
  return value;
}

Result<std::string> read_all(int fd) {
  struct stat st{};
  if (::fstat(fd, &st) < 0) return sys::fail_errno("fstat");
  const auto size = static_cast<std::size_t>(st.st_size);
  if (size > kMaxSnapshot) return fail_temporary("snapshot is too large");
  std::string text(size, '\0');
  const ssize_t count = ::pread(fd, text.data(), size, 0);
  if (count != static_cast<ssize_t>(size)) return sys::fail_errno("read");
  return text;
}

void set_close_on_exec(int fd) { ::fcntl(fd, F_SETFD, FD_CLOEXEC); }

}  // namespace

// Log lines leave at the end of each turn, before the frames do.
class Process::LogFlush final : public loop::TurnEnd {
 public:
  explicit LogFlush(loop::Loop& loop) {
    log::set_flush_scheduler([this, &loop] { loop.schedule(*this, loop::Loop::Order::kLog); });
  }

 private:
  void on_turn_end() override { log::flush(); }
};

Process::Process(int argc, char** argv, std::string_view program)
    : program_(program), drain_timer_([this] { finish(); }), load_timer_([this] { tell_load(); }) {
  if (argc > 0) {
    daemon_ = argv[0];
    daemon_.erase(0, daemon_.rfind('/') + 1);
  }
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  log::open({.program = program_, .pipe = kLogFd});
  ipc::take_identities();
  parse_arguments(argc, argv);
  sys::close_from(kFirstListenerFd + static_cast<int>(listener_count_));
  loop_.emplace();
  if (const auto read = read_snapshot(kSnapshotFd); !read) {
    log::fatal("configuration snapshot: {}", read.error().text);
  }
  open_log();
  const auto owner = sys::find_account(load<config::PathsParams>().mail_owner);
  if (!owner) log::fatal("mail_owner: {}", owner.error().text);
  mail_owner_ = *owner;
  account_ = account_of(daemon_, *values_, mail_owner_);
  clients_ = clients_of(daemon_, *values_, mail_owner_);
  for (unsigned i = 0; i < listener_count_; ++i) {
    const int fd = kFirstListenerFd + static_cast<int>(i);
    set_close_on_exec(fd);
    listeners_.emplace_back(fd);
  }
  for (const int fd : {kControlFd, kSnapshotFd, kLogFd}) set_close_on_exec(fd);
  log_flush_ = std::make_unique<LogFlush>(*loop_);
}

Process::~Process() {
  log::flush();
  log::set_flush_scheduler({});
}

void Process::parse_arguments(int argc, char** argv) {
  ::optind = 1;
  for (int c = 0; (c = ::getopt(argc, argv, "n:t:cuvs:z:l")) != -1;) {
    switch (c) {
      case 'n':
        service_ = ::optarg;
        break;
      case 't':
        type_ = ::optarg;
        break;
      case 'c':
        wants_chroot_ = true;
        break;
      case 'u':
        wants_owner_ = true;
        break;
      case 'v':
        ++verbosity_;
        break;
      case 's':
        listener_count_ = number_of(::optarg);
        break;
      case 'z':
        slot_ = number_of(::optarg);
        break;
      case 'l':
        break;  // one process at most: for those who look at ps
      default:
        log::fatal("{} is started by master, not by hand", program_);
    }
  }
  log::set_verbosity(verbosity_);
}

Result<void> Process::read_snapshot(int fd) {
  TRY(const std::string bytes, read_all(fd));
  TRY(auto parsed, config::parse_snapshot(bytes));
  // Certificates of all authorities are large, and of use to few.
  if (program_ != "smtpd" && program_ != "smtp" && program_ != "lmtp") {
    std::erase_if(parsed.files, [](const auto& file) { return file.first.starts_with("tls:"); });
  }
  if (program_ != "mailauth") {
    std::erase_if(parsed.files, [](const auto& file) { return file.first.starts_with("dkim:"); });
  }
  auto snapshot = std::make_shared<const config::Snapshot>(std::move(parsed));
  const auto type = config::parse_service_type(type_);
  const auto* entry = type ? snapshot->find_service(service_, *type) : nullptr;
  if (entry == nullptr) {
    return fail(Error::Kind::kConfig, fmt::format("no service {} of type {}", service_, type_));
  }
  values_ = std::make_unique<config::Values>(snapshot, *entry);
  return {};
}

void Process::open_log() {
  const auto params = load<config::LogParams>();
  log::open({.syslog_name = params.syslog_name,
             .program = program_,
             .pipe = kLogFd,
             .json = params.maillog_format == "json"});
}

void Process::report(const config::Problems& problems) {
  for (const auto& problem : problems) {
    if (problem.severity == config::Severity::kError) {
      log::error("{}", config::log_text(problem));
    } else if (log::verbosity() > 0) {
      log::warning("{}", config::log_text(problem));
    }
  }
}

std::optional<sys::Sandbox> Process::prepare_sandbox() const {
  const std::string mode = load<config::ProcessParams>().process_confinement;
  if (mode == "none") return std::nullopt;
  const auto spec = confinement_of(daemon_, *values_);
  if (!spec) return std::nullopt;
  auto sandbox = sys::Sandbox::prepare(*spec);
  if (!sandbox) log::fatal("{}", sandbox.error().text);
  return *std::move(sandbox);
}

void Process::forbid_system_changes() const {
  const std::string mode = load<config::ProcessParams>().process_confinement;
  if (mode == "none") return;
  const auto done = sys::forbid_system_changes();
  // A container may have no right to it.
  if (!done && mode == "strict") log::fatal("{}", done.error().text);
}

void Process::drop_rights(Groups groups, Root root) {
  if (root == Root::kNever) wants_owner_ = true;
  const auto sandbox = prepare_sandbox();
  if (groups == Groups::kSupplementary && sys::is_root()) {
    if (const auto found = sys::find_groups(mail_owner_); !found) {
      log::fatal("{}", found.error().text);
    }
  }
  if (sys::is_root()) {
    if (wants_chroot_) {
      ::tzset();  // the zone file is outside
      if (const auto done = sys::change_root("."); !done) log::fatal("{}", done.error().text);
    }
    if (wants_owner_) {
      const sys::Account& who = groups == Groups::kSupplementary ? mail_owner_ : account_;
      if (const auto done = sys::become(who, sys::Groups::kSupplementary); !done) {
        log::fatal("become {}: {}", who.name, done.error().text);
      }
    }
  }
  if (wants_owner_ || !sys::is_root()) {
    if (const auto done = sys::refuse_new_privileges(); !done) {
      log::fatal("{}", done.error().text);
    }
    if (sandbox) {
      if (const auto done = sandbox->enforce(); !done) log::fatal("{}", done.error().text);
    }
  }
  connect_control();
}

sys::Fd Process::take_listener() {
  if (listeners_.empty()) log::fatal("service {}: no listener", service_);
  sys::Fd first = std::move(listeners_.front());
  listeners_.erase(listeners_.begin());
  return first;
}

void Process::connect_control() {
  control_dispatcher_.notice_with_fds<ipc::control::Reload>(
      [this](ipc::control::Reload&, const ipc::ChannelPtr&, std::vector<sys::Fd> fds) {
        reload(std::move(fds));
      });
  control_dispatcher_.notice<ipc::control::Drain>(
      [this](ipc::control::Drain& notice, const ipc::ChannelPtr&) {
        const std::chrono::seconds limit(notice.seconds);
        patience_ = std::max(limit, kLongestStop) - kLongestStop;
        if (draining_ && patience_.count() == 0 && on_hurry_) on_hurry_();
        drain(limit);
      });
  control_dispatcher_.notice<ipc::control::Wakeup>(
      [this](ipc::control::Wakeup& notice, const ipc::ChannelPtr&) {
        if (on_wakeup_) on_wakeup_(notice.is_flush);
      });
  control_dispatcher_.notice<ipc::control::Share>(
      [this](ipc::control::Share& notice, const ipc::ChannelPtr&) {
        if (on_share_) on_share_(notice.limit, notice.is_stress);
      });
  control_dispatcher_.notice<ipc::keyring::Keys>(
      [this](ipc::keyring::Keys& keys, const ipc::ChannelPtr&) {
        if (on_keys_) {
          on_keys_(keys);
        } else {
          early_keys_ = std::make_shared<ipc::keyring::Keys>(std::move(keys));
        }
      });
  control_ = std::make_shared<ipc::Channel>(sys::Fd(kControlFd), control_dispatcher_);
  // master died: what is under way is finished, nothing new begins.
  control_->start([this](const ipc::ChannelPtr&) { drain(kOrphanLimit); });
}

void Process::on_keys(std::function<void(ipc::keyring::Keys& keys)> call) {
  on_keys_ = std::move(call);
  if (const auto early = std::exchange(early_keys_, nullptr)) on_keys_(*early);
}

void Process::reload(std::vector<sys::Fd> fds) {
  if (fds.empty()) return;
  if (const auto read = read_snapshot(fds.front().get()); !read) {
    log::error("reload: {}; the running configuration stays", read.error().text);
    return;
  }
  open_log();
  if (on_reload_) on_reload_();
}

void Process::drain(std::chrono::seconds limit) {
  if (draining_) return;
  draining_ = true;
  drain_timer_.arm(loop::Clock::now() + limit);
  if (on_drain_) {
    on_drain_();
  } else {
    finish();
  }
}

void Process::report_load(std::int64_t in_use, bool is_busy) {
  in_use_ = in_use;
  const bool is_news = is_busy != is_busy_;
  is_busy_ = is_busy;
  // master must hear at once that help is wanted; of the rest, now and then, or each short session
  // would wake it twice.
  if (is_news) {
    tell_load();
  } else if (!load_timer_.is_armed()) {
    load_timer_.arm(loop::Clock::now() + kLoadPeriod);
  }
}

void Process::tell_load() {
  if (control_ == nullptr || (in_use_ == told_in_use_ && is_busy_ == told_busy_)) return;
  told_in_use_ = in_use_;
  told_busy_ = is_busy_;
  ipc::control::Load load;
  load.in_use = in_use_;
  load.is_busy = is_busy_;
  control_->notify(load);
}

int Process::serve() {
  sys::release_after_start();
  control_->notify(ipc::control::Ready{});
  loop_->run();
  log::flush();
  return 0;
}

}  // namespace postern::daemon
