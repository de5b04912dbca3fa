// postlog - writes the log lines of all others: to maillog_file, standard output or syslog.
//
// master hands it two descriptors: the socket public/postlog, where tools send records, and the
// reading end of the log pipe. It ends when master says so, and outlives a master that was killed
// until the last process has closed the pipe.

#include <fcntl.h>
#include <unistd.h>

#include "common/config/params/log.h"
#include "common/daemon/daemon.h"
#include "common/log/log.h"
#include "postlog/writer.h"

namespace {

using namespace postern;

// Its own log lines take a pipe of its own: as a writer of the common one it would wait for its own
// end.
sys::Fd take_own_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) log::fatal("pipe: {}", sys::errno_text(errno));
  const sys::Fd write(fds[1]);
  ::dup3(write.get(), daemon::kLogFd, O_CLOEXEC);
  ::dup2(write.get(), STDERR_FILENO);
  return sys::Fd(fds[0]);
}

}  // namespace

int main(int argc, char** argv) {
  const pid_t master = ::getppid();
  daemon::Process process(argc, argv, "postlogd");
  const auto params = process.load<config::LogParams>();
  postlog::Sinks sinks = postlog::open_sinks(params);
  process.drop_rights();

  postlog::Writer writer(std::move(sinks), params.syslog_name + "/postlogd");
  writer.add_source(process.take_listener(), postlog::Writer::SourceKind::kDatagram);
  writer.add_source(process.take_listener(), postlog::Writer::SourceKind::kStream);
  writer.add_source(take_own_pipe(), postlog::Writer::SourceKind::kStream);
  writer.on_end([&] { process.finish(); });
  process.on_drain([&] {
    writer.sweep();
    if (::getppid() == master) process.finish();
  });
  return process.serve();
}
