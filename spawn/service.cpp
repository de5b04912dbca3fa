#include "spawn/service.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "common/config/values.h"
#include "common/daemon/confinement.h"
#include "common/log/log.h"
#include "common/sys/socket.h"

namespace postern::spawn {

namespace {

std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

[[noreturn]] void complain_and_exit(std::string_view what, std::string_view why) {
  const std::string text = fmt::format("{}: {}\n", what, why);
  if (::write(2, text.data(), text.size()) < 0) ::_exit(126);
  ::_exit(127);
}

// In the child.
[[noreturn]] void execute(int client, const sys::Account& account,
                          const std::vector<std::string>& arguments,
                          const std::vector<std::string>& environment) {
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  // The time limit ends whatever the command starts, too.
  ::setsid();
  for (int target = 0; target <= 2; ++target) {
    if (::dup2(client, target) < 0) ::_exit(127);
  }
  sys::close_from(3);
  if (const auto done = sys::become(account, sys::Groups::kNone); !done) {
    complain_and_exit("become " + account.name, done.error().text);
  }
  const auto argv = pointers_to(arguments);
  const auto envp = pointers_to(environment);
  ::execve(argv.front(), argv.data(), envp.data());
  complain_and_exit("execute " + arguments.front(), sys::errno_text(errno));
}

}  // namespace

class Service::Child final : loop::Watched {
 public:
  Child(Service& service, pid_t pid, sys::Fd fd, std::chrono::seconds limit)
      : service_(service), pid_(pid), fd_(std::move(fd)), timer_([this] { kill(); }) {
    loop::Loop::current().watch_level(fd_.get(), *this);
    if (limit.count() > 0) timer_.arm(loop::Clock::now() + limit);
  }
  ~Child() { stop_watching(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  // What goes together with the loop must not wait for anything any more.
  void stop_watching() {
    timer_.disarm();
    if (fd_) loop::Loop::current().unwatch(fd_.get(), *this);
    fd_.reset();
  }

 private:
  void on_events(std::uint32_t /*events*/) override {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) != pid_) return;
    service_.ended(pid_, status);  // `this` is gone
  }
  void kill() {
    log::warning("{} (pid {}): command time limit exceeded; killed",
                 service_.command_.arguments.front(), pid_);
    ::kill(-pid_, SIGKILL);
    ::kill(pid_, SIGKILL);
  }

  Service& service_;
  pid_t pid_;
  sys::Fd fd_;  // of the process
  loop::CallbackTimer timer_;
};

Service::Service(daemon::Process& process)
    : process_(process), listeners_(process.take_listeners()) {
  configure();
}

Service::~Service() { unwatch(); }

void Service::configure() {
  const auto& values = process_.values();
  static const std::vector<std::string> kNone;
  auto command = parse_command(values.service() != nullptr ? values.service()->args : kNone);
  if (!command) log::fatal("service {}: {}", process_.service(), command.error().text);
  command_ = *std::move(command);
  const auto account = sys::find_account(command_.user);
  if (!account) log::fatal("service {}: {}", process_.service(), account.error().text);
  account_ = *account;
  if (!command_.group.empty()) {
    const auto group = sys::find_group(command_.group);
    if (!group) log::fatal("service {}: {}", process_.service(), group.error().text);
    account_.gid = *group;
  }
  // A command that a client talks to gets no rights that it could use against the mail system.
  if (account_.uid == 0) log::fatal("user= of service {} may not be root", process_.service());
  const auto own = daemon::own_users(process_.mail_owner());
  if (std::ranges::find(own, account_.uid) != own.end()) {
    log::fatal("user= of service {} may not be {}, an account of the mail system",
               process_.service(), account_.name);
  }
  if (account_.gid == 0 || daemon::is_own_group(account_.gid, process_.mail_owner())) {
    log::fatal("group of service {} may be neither root's nor mail_owner's", process_.service());
  }
  environment_.clear();
  for (const auto& word : values.list("export_environment")) {
    const auto equals = word.find('=');
    if (equals != std::string::npos) {
      environment_.push_back(word);
    } else if (const char* value = std::getenv(word.c_str()); value != nullptr) {
      environment_.push_back(fmt::format("{}={}", word, value));
    }
  }
  const bool has_path = std::ranges::any_of(
      environment_, [](const std::string& entry) { return entry.starts_with("PATH="); });
  if (!has_path) environment_.emplace_back("PATH=/usr/bin:/usr/sbin:/bin:/sbin");
  time_limit_ = config::transport_duration(values, process_.service(), "_time_limit");
}

void Service::start() {
  process_.on_share([this](std::int64_t limit, bool) {
    limit_ = limit;
    watch();
  });
  process_.on_reload([this] { configure(); });
  process_.on_drain([this] {
    unwatch();
    listeners_.clear();
    if (children_.empty()) process_.finish();
  });
  watch();
}

void Service::watch() {
  if (watching_ || process_.is_draining()) return;
  if (limit_ > 0 && static_cast<std::int64_t>(children_.size()) >= limit_) return;
  for (const auto& listener : listeners_) {
    loop::Loop::current().watch_level(listener.get(), *this);
  }
  watching_ = true;
}

void Service::unwatch() {
  if (!watching_) return;
  for (const auto& listener : listeners_) loop::Loop::current().unwatch(listener.get(), *this);
  watching_ = false;
}

void Service::on_events(std::uint32_t /*events*/) {
  for (const auto& listener : listeners_) {
    for (;;) {
      if (limit_ > 0 && static_cast<std::int64_t>(children_.size()) >= limit_) return unwatch();
      auto accepted = sys::accept_connection(listener.get());
      if (!accepted) {
        log::warning("{}", accepted.error().text);
        break;
      }
      if (!accepted->fd) break;
      run(std::move(accepted->fd));
    }
  }
}

void Service::run(sys::Fd client) {
  // Commands read and write as if nobody else did.
  const int flags = ::fcntl(client.get(), F_GETFL);
  ::fcntl(client.get(), F_SETFL, flags & ~O_NONBLOCK);
  const pid_t pid = ::fork();
  if (pid < 0) {
    log::warning("fork: {}; the connection is closed", sys::errno_text(errno));
    return;
  }
  if (pid == 0) execute(client.get(), account_, command_.arguments, environment_);
  sys::Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process) {
    log::fatal("pidfd_open: {}", sys::errno_text(errno));
  }
  children_.emplace(pid, std::make_unique<Child>(*this, pid, std::move(process), time_limit_));
  process_.report_load(static_cast<std::int64_t>(children_.size()), false);
}

void Service::ended(pid_t pid, int status) {
  if (WIFSIGNALED(status)) {
    log::warning("command {} (pid {}) killed by signal {}", command_.arguments.front(), pid,
                 WTERMSIG(status));
  } else if (WEXITSTATUS(status) != 0) {
    log::warning("command {} (pid {}) exit status {}", command_.arguments.front(), pid,
                 WEXITSTATUS(status));
  }
  // The caller is the child's own object: it goes when its events have been told.
  auto node = children_.extract(pid);
  node.mapped()->stop_watching();
  loop::Loop::current().post(
      [gone = std::make_shared<std::unique_ptr<Child>>(std::move(node.mapped()))] {});
  process_.report_load(static_cast<std::int64_t>(children_.size()), false);
  if (process_.is_draining()) {
    if (children_.empty()) process_.finish();
  } else {
    watch();
  }
}

}  // namespace postern::spawn
