// postdrop - writes one message into maildrop/, with the rights of the group postdrop and no
// others.
//
// Whoever calls it chooses nothing but the message: the configuration is the default one or one
// that the default one lists, paths come from it, the file's name is made here. A partial message
// keeps mode 0600 and is never picked up.
//
//     postdrop [-c DIR] [-r] [-v]     -r prints the queue file's name on standard output

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>

#include "common/base/text.h"
#include "common/config/authorized_user.h"
#include "common/config/login_senders.h"
#include "common/config/params/cleanup.h"
#include "common/config/params/misc.h"
#include "common/config/params/paths.h"
#include "common/config/tool.h"
#include "common/ipc/channel.h"
#include "common/ipc/control.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/queuefile/drop_stream.h"
#include "common/queuefile/queue_id.h"
#include "common/queuefile/writer.h"
#include "common/sys/output.h"
#include "common/sys/privilege.h"
#include "common/sys/process.h"
#include "common/sys/socket.h"

namespace {

using namespace postern;

// Readable for pickup, who owns the directory; the directory keeps all others out.
constexpr mode_t kDropMode = 0744;

[[noreturn]] void give_up(int status, std::string_view text) {
  log::write(log::Level::kFatal, text);
  std::exit(status);
}

std::int64_t wall_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

bool is_clean(std::string_view address) {
  return address.size() <= queuefile::kMaxAddress &&
         address.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
}

// What a user may say of his message, and nothing else of what an envelope can hold.
queuefile::Envelope checked(const queuefile::Envelope& given) {
  queuefile::Envelope envelope;
  envelope.sender = given.sender;
  if (!is_clean(envelope.sender)) give_up(EX_DATAERR, "bad sender address");
  const auto now = wall_us();
  envelope.arrival = {now / 1'000'000, static_cast<std::int32_t>(now % 1'000'000)};
  envelope.encoding = given.encoding;
  envelope.smtputf8 = given.smtputf8;
  envelope.dsn_ret = given.dsn_ret;
  envelope.dsn_envid = given.dsn_envid;
  envelope.verp_delims = given.verp_delims;
  envelope.origin = queuefile::Origin::kLocal;
  // sendmail -G: less is done to the message, never more.
  envelope.rewrite_context = given.rewrite_context == "remote" ? "remote" : "local";
  envelope.flags = given.flags & (queuefile::kFlagTrace | queuefile::kFlagProbe);
  envelope.attributes.emplace_back("uid", std::to_string(::getuid()));
  for (const auto& [name, value] : given.attributes) {
    if (name == "full_name" && is_clean(value)) envelope.attributes.emplace_back(name, value);
  }
  for (const auto& recipient : given.recipients) {
    if (!is_clean(recipient.address)) give_up(EX_DATAERR, "bad recipient address");
    auto& to = envelope.recipients.emplace_back();
    to.address = recipient.address;
    to.orig_to = recipient.address;
    to.dsn_orcpt = recipient.dsn_orcpt;
    to.notify = recipient.notify;
  }
  if (envelope.recipients.empty()) give_up(EX_DATAERR, "no recipients");
  if (const auto good = queuefile::check_bounds(envelope); !good) {
    give_up(EX_DATAERR, good.error().text);
  }
  return envelope;
}

class DropFile {
 public:
  DropFile() {
    queuefile::QueueIdSource ids(static_cast<unsigned>(::getpid()) % queuefile::kIdSlots);
    constexpr int kTries = 100;
    for (int i = 0; i < kTries; ++i) {
      id_ = ids.next(wall_us(), queuefile::IdForm::kShort);
      path_ = "maildrop/" + id_;
      fd_.reset(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
      if (fd_ || errno != EEXIST) break;
    }
    if (!fd_) fail("create");
  }

  void write(std::string_view bytes) {
    if (const auto written = queuefile::write_all(fd_.get(), bytes); !written) {
      ::unlink(path_.c_str());
      give_up(EX_TEMPFAIL, written.error().text);
    }
  }

  void commit() {
    if (::fchmod(fd_.get(), kDropMode) < 0) fail("chmod");
    if (::fsync(fd_.get()) < 0) fail("flush");
    if (const auto closed = fd_.close_checked(); !closed) fail("close");
  }

  void discard() { ::unlink(path_.c_str()); }
  [[nodiscard]] const std::string& id() const { return id_; }

 private:
  [[noreturn]] void fail(std::string_view what) {
    const int error = errno;
    if (fd_) ::unlink(path_.c_str());
    give_up(error == EACCES ? EX_NOPERM : EX_TEMPFAIL,
            fmt::format("{} {}: {}", what, path_, sys::errno_text(error)));
  }

  std::string id_;
  std::string path_;
  sys::Fd fd_;
};

// Signals that would end us in the middle. They wait until there is nothing to be read, or until
// the message is there: a file that nobody finishes would stay for a day.
class HeldSignals {
 public:
  HeldSignals() {
    ::sigemptyset(&held_);
    for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGALRM, SIGVTALRM, SIGPROF, SIGUSR1,
                             SIGUSR2, SIGXCPU, SIGIO, SIGPWR, SIGSTKFLT}) {
      struct sigaction now{};
      // One that our caller ignores (nohup) would be seen all the same.
      if (::sigaction(signal, nullptr, &now) == 0 && now.sa_handler != SIG_IGN) {
        ::sigaddset(&held_, signal);
      }
    }
    ::sigprocmask(SIG_BLOCK, &held_, nullptr);
    told_.reset(::signalfd(-1, &held_, SFD_CLOEXEC | SFD_NONBLOCK));
  }

  // Until there is something to be read from `input`; the number of the signal that came first, or
  // 0.
  [[nodiscard]] int wait(int input) const {
    std::array<pollfd, 2> waits = {pollfd{told_.get(), POLLIN, 0}, pollfd{input, POLLIN, 0}};
    while (::poll(waits.data(), waits.size(), -1) < 0 && errno == EINTR) {
    }
    signalfd_siginfo signal{};
    if ((waits[0].revents & POLLIN) == 0) return 0;
    return ::read(told_.get(), &signal, sizeof signal) == sizeof signal
               ? static_cast<int>(signal.ssi_signo)
               : 0;
  }

  // Does what the signal would have done.
  [[noreturn]] void obey(int signal) const {
    ::signal(signal, SIG_DFL);
    ::raise(signal);
    ::sigprocmask(SIG_UNBLOCK, &held_, nullptr);
    ::_exit(EX_TEMPFAIL);
  }

 private:
  sigset_t held_{};
  sys::Fd told_;
};

// Nobody waits for pickup: it looks by itself, too.
void wake_pickup(const config::Values& values) {
  const std::string name = "public/" + values.text("pickup_service_name");
  auto fd = sys::connect_unix(name);
  if (!fd) {
    log::warning("unable to look up {}: {}", name, sys::errno_text(errno));
    return;
  }
  loop::Loop loop;
  const ipc::Dispatcher dispatcher;
  const auto channel = std::make_shared<ipc::Channel>(*std::move(fd), dispatcher);
  channel->start();
  channel->notify(ipc::control::Wakeup{});
  channel->flush_now();
  channel->close();
}

std::string drop(const config::Values& values) {
  config::Problems problems;
  const auto cleanup = config::load<config::CleanupParams>(values, problems);
  const auto limit = static_cast<std::uint64_t>(cleanup.message_size_limit);
  const auto first = queuefile::read_drop_frame(STDIN_FILENO);
  if (!first) give_up(EX_DATAERR, first.error().text);
  const auto given = queuefile::read_envelope(*first);
  if (!given) give_up(EX_DATAERR, given.error().text);
  queuefile::Envelope envelope = checked(*given);
  const auto may_send = config::may_send_as(values, envelope.sender);
  if (!may_send) give_up(EX_TEMPFAIL, may_send.error().text);
  if (!*may_send) {
    give_up(EX_NOPERM,
            fmt::format("uid={} is not allowed to send as <{}> (local_login_sender_maps)",
                        ::getuid(), log::clean(envelope.sender)));
  }

  queuefile::Writer writer(envelope);
  const HeldSignals signals;
  DropFile file;
  for (;;) {
    if (const int signal = signals.wait(STDIN_FILENO); signal != 0) {
      file.discard();
      signals.obey(signal);
    }
    const auto frame = queuefile::read_drop_frame(STDIN_FILENO);
    if (!frame) {
      file.discard();
      give_up(EX_DATAERR, frame.error().text);
    }
    if (frame->empty()) break;
    writer.append_body(*frame);
    if (limit > 0 && writer.body_size() > limit) {
      file.discard();
      log::warning("uid={}: File too large", ::getuid());
      std::exit(EX_UNAVAILABLE);
    }
    if (writer.is_due()) file.write(writer.take());
  }
  writer.finish({}, writer.body_size());
  file.write(writer.take());
  file.commit();
  return file.id();
}

}  // namespace

int main(int argc, char** argv) {
  if (!sys::fill_standard_descriptors()) return EX_OSERR;
  sys::close_from(3);
  ::umask(077);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);
  log::open({.program = "postdrop", .to_terminal = true});
  sys::guard_standard_output("postdrop");

  std::string directory;
  bool print_id = false;
  for (int c = 0; (c = ::getopt(argc, argv, "c:rv")) != -1;) {
    if (c == 'c') directory = ::optarg;
    if (c == 'r') print_id = true;
    if (c == '?') give_up(1, "usage: postdrop [-c config_dir] [-v]");
  }
  const auto tool = config::open_tool(directory);
  if (!tool) give_up(EXIT_FAILURE, tool.error().text);
  const auto refused = config::find_refused_user(tool->values, "authorized_submit_users");
  if (!refused) give_up(EX_TEMPFAIL, refused.error().text);
  if (*refused) {
    give_up(EX_NOPERM, fmt::format("User {}({}) is not allowed to submit mail", (*refused)->name,
                                   (*refused)->uid));
  }
  config::Problems problems;
  const auto paths = config::load<config::PathsParams>(tool->values, problems);
  if (::chdir(paths.queue_directory.c_str()) < 0) {
    give_up(EX_TEMPFAIL,
            fmt::format("chdir {}: {}", paths.queue_directory, sys::errno_text(errno)));
  }
  const std::string id = drop(tool->values);
  if (print_id) fmt::print("{}\n", id);
  wake_pickup(tool->values);
  return 0;
}
