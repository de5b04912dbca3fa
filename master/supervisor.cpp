#include "master/supervisor.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <set>
#include <thread>
#include <utility>

#include "common/config/params/log.h"
#include "common/config/params/paths.h"
#include "common/config/params/process.h"
#include "common/config/secret_tables.h"
#include "common/ipc/control.h"
#include "common/log/log.h"
#include "common/sys/process.h"
#include "master/listeners.h"
#include "master/notify.h"
#include "postern/check.h"
#include "postern/owners.h"

namespace postern::master {

namespace {

using namespace std::chrono_literals;

constexpr std::chrono::seconds kHousekeeping{10};

// How long deliveries may take to end, those who serve them, and the log writer.
constexpr std::chrono::seconds kStopIntake{4};
constexpr std::chrono::seconds kStopQueue{1};
constexpr std::chrono::seconds kStopLog{1};

constexpr std::string_view kStandardPath = "/usr/bin:/bin:/usr/sbin:/sbin";

// What all processes get: import_environment, and nothing else of ours.
std::vector<std::string> environment_of(const config::Values& values) {
  std::map<std::string, std::string> chosen;
  for (const std::string& word : values.list("import_environment")) {
    if (const auto equals = word.find('='); equals != std::string::npos) {
      chosen[word.substr(0, equals)] = word.substr(equals + 1);
    } else if (const char* const value = ::getenv(word.c_str())) {
      chosen[word] = value;
    }
  }
  chosen["PATH"] = kStandardPath;
  chosen["MAIL_CONFIG"] = values.snapshot().config_directory;
  std::vector<std::string> environment;
  for (const auto& [name, value] : chosen) {
    environment.push_back(fmt::format("{}={}", name, value));
  }
  return environment;
}

bool is_executable(const std::string& path) { return ::access(path.c_str(), X_OK) == 0; }

unsigned processors() { return std::max(1U, std::thread::hardware_concurrency()); }

std::string version_and_directory(const config::Values& values) {
  return fmt::format("version {}, configuration {}", values.text("mail_version"),
                     values.snapshot().config_directory);
}

bool is_intake(const ServiceSpec& spec) {
  return spec.is_internet || spec.is_agent || spec.program == "pickup" || spec.program == "smtpd";
}

bool is_log_writer(const ServiceSpec& spec) { return spec.program == "postlog"; }

}  // namespace

Supervisor::Supervisor(Setup setup, sys::SignalFd signals)
    : setup_(std::move(setup)),
      signals_(std::move(signals)),
      stop_timer_([this] { advance_stop(); }),
      house_timer_([this] { keep_house(); }),
      listener_timer_([this] { retry_listeners(); }) {
  surroundings_.log_read = setup_.log_read.get();
  surroundings_.log_write = setup_.log_write.get();
  surroundings_.keeps_output = setup_.is_foreground;
  for (const auto program : config::programs_with_secrets()) {
    surroundings_.identities.push_back({std::string(program), ipc::make_token()});
  }
  dispatcher_.notice<ipc::control::Ready>(
      [this](ipc::control::Ready&, const ipc::ChannelPtr& channel) {
        Child* const child = child_of(channel);
        if (child != nullptr && child->service != nullptr) child->service->child_ready(*child);
      });
  dispatcher_.notice<ipc::control::Load>(
      [this](ipc::control::Load& load, const ipc::ChannelPtr& channel) {
        Child* const child = child_of(channel);
        if (child == nullptr) return;
        if (child->service != nullptr) {
          child->service->child_load(*child, load.in_use, load.is_busy);
        }
      });
  loop::Loop::current().watch_level(signals_.fd(), *this);
}

Supervisor::~Supervisor() {
  loop::Loop::current().unwatch(signals_.fd(), *this);
  services_.clear();
  children_.clear();
}

Result<void> Supervisor::start(config::Loaded loaded) {
  DO(adopt(std::move(loaded.snapshot)));
  ServiceTable table = make_service_table(snapshot_, processors(), is_executable);
  log_table(table);
  if (table.services.empty()) {
    return fail(Error::Kind::kConfig, fmt::format("{}/master.cf has no service that can be started",
                                                  setup_.config_directory));
  }
  // The log writer first: whatever goes wrong from here on is to be read.
  const ServiceSpec log_writer = table.services.front();
  if (is_log_writer(log_writer)) {
    ServiceTable first;
    first.services.push_back(log_writer);
    open_listeners(first, ListenerSet::Patience::kNone);
    put(std::make_unique<RunningService>(as_host(), log_writer, listeners_.of(log_writer)));
  }
  open_listeners(table, ListenerSet::Patience::kWait);
  const auto is_inet = [](const Endpoint& e) { return e.kind == EndpointKind::kInet; };
  std::size_t inet_wanted = 0;
  for (const ServiceSpec& spec : table.services) {
    inet_wanted += static_cast<std::size_t>(std::ranges::count_if(spec.endpoints, is_inet));
  }
  const auto& missing = listeners_.missing();
  const auto inet_missing = static_cast<std::size_t>(std::ranges::count_if(missing, is_inet));
  if (inet_wanted > 0 && inet_missing >= inet_wanted) {
    const Endpoint& first = *std::ranges::find_if(missing, is_inet);
    const auto again = open_listener(first, owner_);
    return fail_temporary(again ? "no address could be listened on" : again.error().text);
  }
  apply(std::move(table));
  log::info("daemon started -- {}", version_and_directory(config::Values(snapshot_)));
  tell_generation(true);
  tell_init(fmt::format("READY=1\nMAINPID={}\nSTATUS=running", ::getpid()));
  house_timer_.arm(loop::Loop::current().after(kHousekeeping));
  return {};
}

int Supervisor::run() {
  loop::Loop::current().run();
  return 0;
}

Result<void> Supervisor::adopt(std::shared_ptr<config::Snapshot> snapshot) {
  complete_services(*snapshot);
  const config::Values values(snapshot);
  config::Problems problems;
  const auto paths = config::load<config::PathsParams>(values, problems);
  const auto process = config::load<config::ProcessParams>(values, problems);
  const auto log_params = config::load<config::LogParams>(values, problems);
  TRY(sys::Account owner, sys::find_account(paths.mail_owner));
  log::open({.syslog_name = log_params.syslog_name,
             .program = "master",
             .pipe = setup_.log_write.get(),
             .json = log_params.maillog_format == "json"});
  DO(means_.choose(values, process.process_confinement));
  read_certificates(*snapshot);
  TRY(sys::Fd memory, sys::sealed_memory("postern-config", config::serialize(*snapshot)));
  owner_ = std::move(owner);
  snapshot_ = std::move(snapshot);
  snapshot_fd_ = std::move(memory);
  surroundings_.snapshot = snapshot_fd_.get();
  surroundings_.environment = environment_of(values);
  surroundings_.empty_network = means_.empty_network();
  reload_drain_time_ = process.reload_drain_time;
  longest_back_off_ = process.service_throttle_time;
  return {};
}

void Supervisor::log_table(const ServiceTable& table) const {
  for (const std::string& problem : table.problems) log::warning("{}", problem);
  if (!table.unsupported.empty()) {
    log::info("not supported yet, not started: {}", fmt::join(table.unsupported, ", "));
  }
}

void Supervisor::open_listeners(const ServiceTable& table, ListenerSet::Patience patience) {
  listeners_.open(table, owner_, patience);
  if (!listeners_.missing().empty()) {
    listener_timer_.arm(loop::Loop::current().after(listeners_.pause()));
  }
}

void Supervisor::retry_listeners() {
  if (is_stopping()) return;
  if (listeners_.retry(owner_)) {
    std::vector<std::string> changed;
    for (const auto& [key, service] : services_) {
      if (listeners_.of(service->spec()) != service->listeners()) changed.push_back(key);
    }
    for (const std::string& key : changed) {
      auto old = std::move(services_[key]);
      ServiceSpec spec = old->spec();
      retire(std::move(old));
      put(std::make_unique<RunningService>(as_host(), spec, listeners_.of(spec)));
    }
  }
  if (listeners_.missing().empty()) return;
  listener_timer_.arm(loop::Loop::current().after(listeners_.pause()));
}

void Supervisor::put(std::unique_ptr<RunningService> service) {
  RunningService& kept = *service;
  services_[kept.spec().key()] = std::move(service);
  kept.adjust();
}

// At most one generation drains: processes of an earlier one had their time.
void Supervisor::retire(std::unique_ptr<RunningService> service) {
  for (const auto& [pid, child] : children_) {
    if (child->is_draining && child->path == service->spec().path) child->kill(SIGTERM);
  }
  service->drain(reload_drain_time_);
}

void Supervisor::apply(ServiceTable table) {
  std::map<std::string, std::unique_ptr<RunningService>> old = std::move(services_);
  services_.clear();
  std::vector<std::unique_ptr<RunningService>> fresh;
  for (ServiceSpec& spec : table.services) {
    const std::string key = spec.key();
    std::vector<ListenerPtr> listeners = listeners_.of(spec);
    const auto it = old.find(key);
    if (it != old.end() && it->second->can_take_over(spec, listeners)) {
      auto service = std::move(it->second);
      old.erase(it);
      service->update(std::move(spec));
      services_[key] = std::move(service);
    } else {
      fresh.push_back(
          std::make_unique<RunningService>(as_host(), std::move(spec), std::move(listeners)));
    }
  }
  for (auto& [key, service] : old) retire(std::move(service));
  for (auto& service : fresh) put(std::move(service));
}

Child* Supervisor::start(RunningService& service) {
  const auto slot = slots_.take();
  if (!slot) {
    log::warning("service {}: {} processes are running, no more are started", service.spec().key(),
                 SlotPool::kSlots);
    return nullptr;
  }
  std::vector<int> fds;
  for (const ListenerPtr& listener : service.listeners()) fds.push_back(listener->fd.get());
  auto started = start_child(service.spec(), fds, surroundings_, *slot, dispatcher_);
  if (!started) {
    slots_.give_back(*slot);
    log::warning("start {}: {}", service.spec().path, started.error().text);
    return nullptr;
  }
  Child* const child = started->get();
  child->service = &service;
  child_by_channel_[child->control.get()] = child;
  children_[child->pid] = *std::move(started);
  if (service.spec().program == "keyring") give_keys(*child);
  return child;
}

std::chrono::seconds Supervisor::longest_back_off() const { return longest_back_off_; }

Child* Supervisor::child_of(const ipc::ChannelPtr& channel) {
  const auto it = child_by_channel_.find(channel.get());
  return it == child_by_channel_.end() ? nullptr : it->second;
}

void Supervisor::on_events(std::uint32_t /*events*/) {
  for (const int signal : signals_.read()) {
    switch (signal) {
      case SIGCHLD:
        reap();
        break;
      case SIGHUP:
        if (!is_stopping()) reload();
        break;
      case SIGTERM:
      case SIGINT:
        if (is_stopping()) {
          kill_all(SIGTERM);
        } else {
          log::info("terminating on signal {}", signal);
          begin_stop();
        }
        break;
      case SIGQUIT:
        log::info("terminating on signal {}", signal);
        phase_ = Phase::kQueue;
        kill_all(SIGKILL);
        advance_stop();
        break;
      default:
        break;
    }
  }
}

void Supervisor::reap() {
  int status = 0;
  for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) end_of(pid, status);
  if (is_stopping()) advance_stop();
}

void Supervisor::end_of(pid_t pid, int status) {
  if (rebuilds_.has_ended(pid, status)) return;
  const auto it = children_.find(pid);
  if (it == children_.end()) return;  // as process 1: somebody's orphan
  const std::unique_ptr<Child> child = std::move(it->second);
  children_.erase(it);
  child_by_channel_.erase(child->control.get());
  slots_.give_back(child->slot);
  const bool was_asked = child->is_draining;
  const bool is_ours = was_asked && (is_stopping() || WTERMSIG(status) == SIGTERM);
  if (WIFSIGNALED(status) && !is_ours) {
    log::warning("process {} pid {} killed by signal {}", child->path, pid, WTERMSIG(status));
  } else if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
    log::warning("process {} pid {} exit status {}", child->path, pid, WEXITSTATUS(status));
  }
  if (child->service != nullptr) child->service->child_ended(*child, status);
}

void Supervisor::keep_house() {
  for (const auto& [key, service] : services_) service->end_idle_children();
  if (!is_stopping() && have_certificates_changed()) renew_certificates();
  if (!is_stopping()) rebuilds_.begin(snapshot_);
  house_timer_.arm(loop::Loop::current().after(kHousekeeping));
}

void Supervisor::read_certificates(config::Snapshot& snapshot) {
  std::erase_if(snapshot.files, [](const auto& file) {
    return file.first.starts_with("tls:") || file.first.starts_with("dkim:");
  });
  // Only looked at while we are here.
  const std::shared_ptr<const config::Snapshot> shared(std::shared_ptr<void>(), &snapshot);
  tls::Material material = tls::read_material(shared);
  for (auto& file : material.keys) ::explicit_bzero(file.pem.data(), file.pem.size());
  for (const auto& problem : material.problems) log::warning("{}", config::log_text(problem));
  snapshot.files.merge(material.files);
  certificates_ = std::move(material.stamps);
}

bool Supervisor::have_certificates_changed() const {
  return std::ranges::any_of(
      certificates_, [](const auto& file) { return tls::stamp_of(file.first) != file.second; });
}

// What is half written does not fit together; whoever uses it keeps what he has, and the next
// change is noticed, too.
void Supervisor::renew_certificates() {
  for (const auto& [path, stamp] : certificates_) {
    if (tls::stamp_of(path) != stamp) log::info("{} has changed, it is read again", path);
  }
  auto next = std::make_shared<config::Snapshot>(*snapshot_);
  read_certificates(*next);
  auto memory = sys::sealed_memory("postern-config", config::serialize(*next));
  if (!memory) {
    log::warning("{}", memory.error().text);
    return;
  }
  snapshot_fd_ = *std::move(memory);
  snapshot_ = std::move(next);
  surroundings_.snapshot = snapshot_fd_.get();
  const auto tell = [&](const auto& is_meant, const auto& call) {
    for (const auto& [pid, child] : children_) {
      if (child->service != nullptr && !child->is_draining &&
          is_meant(child->service->spec().program)) {
        call(*child);
      }
    }
  };
  tell([](const std::string& program) { return program == "keyring"; },
       [&](Child& child) { give_keys(child); });
  tell(
      [](const std::string& program) {
        return program == "smtpd" || program == "smtp" || program == "lmtp" ||
               program == "mailauth";
      },
      [&](Child& child) { give_snapshot(child); });
}

void Supervisor::give_keys(Child& keyring) {
  tls::Material material = tls::read_material(snapshot_);
  ipc::keyring::Keys keys;
  keys.files = std::move(material.keys);
  keyring.tell(keys);
  for (auto& file : keys.files) ::explicit_bzero(file.pem.data(), file.pem.size());
}

void Supervisor::give_snapshot(Child& child) {
  auto copy = sys::duplicate(snapshot_fd_.get());
  if (!copy) return;
  std::vector<sys::Fd> fds;
  fds.push_back(*std::move(copy));
  child.tell(ipc::control::Reload{}, std::move(fds));
}

void Supervisor::tell_generation(bool is_accepted) {
  if (!setup_.generation) return;
  ++generation_;
  const std::string text =
      fmt::format("{} {:<8}\n", generation_, is_accepted ? "accepted" : "refused");
  if (::pwrite(setup_.generation.get(), text.data(), text.size(), 0) < 0) {
    log::warning("write master.lock: {}", sys::errno_text(errno));
  }
}

void Supervisor::reload() {
  const auto refuse = [&] {
    log::error("reload refused: the running configuration stays");
    tell_generation(false);
    tell_init("READY=1");
  };
  tell_init_reloading();
  auto loaded = config::load_configuration(setup_.config_directory, setup_.paths);
  if (!loaded) {
    log::error("{}", loaded.error().text);
    return refuse();
  }
  const config::Problems problems = control::check_configuration(*loaded);
  if (config::has_error(problems)) {
    for (const auto& problem : problems) {
      if (problem.severity == config::Severity::kError) {
        log::error("{}", config::log_text(problem));
      }
    }
    return refuse();
  }
  const config::Values next(loaded->snapshot);
  const config::Values running(snapshot_);
  for (const std::string_view name : {"queue_directory", "mail_owner", "data_directory"}) {
    if (next.text(name) == running.text(name)) continue;
    log::error("{}: {} has changed; stop and start the mail system for that",
               setup_.config_directory, name);
    return refuse();
  }
  if (const auto adopted = adopt(std::move(loaded->snapshot)); !adopted) {
    log::error("{}", adopted.error().text);
    return refuse();
  }
  log::info("reload -- {}", version_and_directory(config::Values(snapshot_)));
  ServiceTable table = make_service_table(snapshot_, processors(), is_executable);
  log_table(table);
  std::set<pid_t> before;  // later ones have the new snapshot from the start
  for (const auto& [pid, child] : children_) before.insert(pid);
  open_listeners(table, ListenerSet::Patience::kNone);
  apply(std::move(table));
  for (const auto& [key, service] : services_) {
    for (Child* child : std::vector<Child*>(service->children())) {
      if (child->is_draining || !before.contains(child->pid)) continue;
      if (is_log_writer(service->spec())) {
        // Files are opened with rights that it gives up: a new process opens them anew.
        child->drain(kStopLog);
        continue;
      }
      if (service->spec().program == "keyring") give_keys(*child);
      give_snapshot(*child);
    }
  }
  tell_generation(true);
  tell_init("READY=1\nSTATUS=running");
}

void Supervisor::begin_stop() {
  tell_init("STOPPING=1");
  listener_timer_.disarm();
  enter(Phase::kIntake);
  advance_stop();
}

// Asks those of the phase to end. Listeners stay: whoever needs a service that has ended waits
// rather than draws conclusions.
void Supervisor::enter(Phase phase) {
  phase_ = phase;
  std::chrono::seconds limit = kStopIntake;
  if (phase == Phase::kQueue) limit = kStopQueue;
  if (phase == Phase::kLog) limit = kStopLog;
  for (const auto& [key, service] : services_) {
    const ServiceSpec& spec = service->spec();
    const bool is_due = phase == Phase::kIntake  ? is_intake(spec)
                        : phase == Phase::kQueue ? !is_log_writer(spec)
                                                 : true;
    if (is_due) service->drain(limit);
  }
  // Those of earlier generations, too.
  for (const auto& [pid, child] : children_) {
    if (child->service == nullptr) child->drain(limit);
  }
}

void Supervisor::advance_stop() {
  const auto remains = [&](auto belongs) {
    return std::ranges::any_of(children_, [&](const auto& entry) {
      const RunningService* const service = entry.second->service;
      return service == nullptr || belongs(service->spec());
    });
  };
  if (phase_ == Phase::kIntake && !remains(is_intake)) enter(Phase::kQueue);
  if (phase_ == Phase::kQueue &&
      !remains([](const ServiceSpec& spec) { return !is_log_writer(spec); })) {
    listeners_.remove_all(owner_);
    log::flush();
    enter(Phase::kLog);
  }
  if (phase_ == Phase::kLog && children_.empty()) {
    phase_ = Phase::kGone;
    loop::Loop::current().stop();
  }
}

void Supervisor::kill_all(int signal) {
  for (const auto& [pid, child] : children_) {
    // The log writer has its own time, after the last word of the others.
    if (child->service != nullptr && is_log_writer(child->service->spec())) continue;
    child->is_draining = true;
    child->kill(signal);
  }
}

void Supervisor::end_at_once() {
  if (!is_stopping()) begin_stop();
  // Without a child it is over already.
  if (phase_ != Phase::kGone) loop::Loop::current().run();
}

}  // namespace postern::master
