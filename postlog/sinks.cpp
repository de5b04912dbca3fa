#include "postlog/sinks.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <array>

#include "common/base/number.h"
#include "common/config/tool_log.h"
#include "common/sys/foreign_link.h"
#include "common/sys/socket.h"

namespace postern::postlog {

namespace {

constexpr unsigned kDefaultMode = 0600;
constexpr std::string_view kStandardOutput = "/dev/stdout";

// /dev/log leads to the journal where there is one; the other name is there without the link.
constexpr std::array<const char*, 2> kSyslogSockets = {"/dev/log", "/run/systemd/journal/dev-log"};

struct Facility {
  std::string_view name;
  int value;
};
constexpr std::array kFacilities = {
    Facility{"auth", LOG_AUTH},     Facility{"authpriv", LOG_AUTHPRIV},
    Facility{"cron", LOG_CRON},     Facility{"daemon", LOG_DAEMON},
    Facility{"ftp", LOG_FTP},       Facility{"kern", LOG_KERN},
    Facility{"lpr", LOG_LPR},       Facility{"mail", LOG_MAIL},
    Facility{"news", LOG_NEWS},     Facility{"syslog", LOG_SYSLOG},
    Facility{"user", LOG_USER},     Facility{"uucp", LOG_UUCP},
    Facility{"local0", LOG_LOCAL0}, Facility{"local1", LOG_LOCAL1},
    Facility{"local2", LOG_LOCAL2}, Facility{"local3", LOG_LOCAL3},
    Facility{"local4", LOG_LOCAL4}, Facility{"local5", LOG_LOCAL5},
    Facility{"local6", LOG_LOCAL6}, Facility{"local7", LOG_LOCAL7}};

int priority_of(log::Level level) {
  switch (level) {
    case log::Level::kInfo:
      return LOG_INFO;
    case log::Level::kWarning:
      return LOG_WARNING;
    case log::Level::kError:
      return LOG_ERR;
    default:
      return LOG_CRIT;
  }
}

std::unique_ptr<Sink> open_syslog(int facility) {
  for (const char* const path : kSyslogSockets) {
    if (::access(path, F_OK) != 0) continue;
    auto sink = std::make_unique<SyslogSink>(path, facility);
    if (sink->is_open()) return sink;
  }
  return nullptr;
}

}  // namespace

int syslog_facility(std::string_view name) {
  for (const Facility& facility : kFacilities) {
    if (facility.name == name) return facility.value;
  }
  return LOG_MAIL;
}

void FileSink::put(const Record& record) {
  batch_ += record.line;
  batch_ += '\n';
}

void FileSink::flush() {
  if (batch_.empty()) return;
  std::string_view rest = batch_;
  while (!rest.empty()) {
    const ssize_t written = ::write(fd_.get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) break;
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  if (!rest.empty()) {
    for (const char c : rest) dropped_ += c == '\n' ? 1 : 0;
  }
  batch_.clear();
}

void SyslogSink::connect() {
  fd_.reset();
  const auto address = sys::unix_address(path_);
  if (!address) return;
  sys::Fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd && ::connect(fd.get(), address->get(), address->length) == 0) fd_ = std::move(fd);
}

void SyslogSink::put(const Record& record) {
  const auto line = parse_classic_line(record.line);
  if (!line) return;
  // A local syslogd adds the name of the host by itself.
  const std::string datagram =
      fmt::format("<{}>{} {}", facility_ | priority_of(record.level), line->time, line->rest);
  if (!fd_) connect();
  if (fd_ && ::send(fd_.get(), datagram.data(), datagram.size(), MSG_NOSIGNAL) >= 0) return;
  if (errno != EAGAIN && errno != ENOBUFS) {
    connect();  // syslogd was started again
    if (fd_ && ::send(fd_.get(), datagram.data(), datagram.size(), MSG_NOSIGNAL) >= 0) return;
  }
  ++dropped_;
}

Result<sys::Fd> open_log_file(const std::string& path, unsigned mode) {
  // A fifo or a terminal that nobody reads must not hold us.
  constexpr int kFlags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  auto opened = sys::open_but_foreign_link(path, kFlags);
  if (opened || errno != ENOENT) return opened;
  sys::Fd fd(::open(path.c_str(), kFlags | O_CREAT | O_EXCL, 0600));
  if (!fd) return sys::fail_errno(fmt::format("open {}", path));
  // Not left to the umask.
  if (::fchmod(fd.get(), mode) != 0) return sys::fail_errno(fmt::format("chmod {}", path));
  return fd;
}

Sinks open_sinks(const config::LogParams& params) {
  Sinks opened;
  const bool is_json = params.maillog_format == "json";
  const bool is_split = is_json && !params.maillog_json_file.empty();
  const unsigned mode =
      parse_integer<unsigned>(params.maillog_file_permissions, 0U, 0777U, 8).value_or(kDefaultMode);
  const auto add_file = [&](const std::string& path, RecordKind kind) {
    if (!config::is_allowed_log_file(path, params.maillog_file_prefixes)) {
      opened.problems.push_back(
          fmt::format("{} is not below one of maillog_file_prefixes and is not written to", path));
      return;
    }
    auto fd = path == kStandardOutput ? sys::duplicate(STDOUT_FILENO) : open_log_file(path, mode);
    if (!fd) {
      opened.problems.push_back(fd.error().text);
      return;
    }
    opened.sinks.push_back(std::make_unique<FileSink>(*std::move(fd), kind));
  };
  if (!params.maillog_file.empty()) {
    add_file(params.maillog_file, is_json && !is_split ? RecordKind::kJson : RecordKind::kText);
  }
  // Also where the file cannot be used: better in another place than nowhere.
  if (opened.sinks.empty()) {
    if (auto sink = open_syslog(syslog_facility(params.syslog_facility))) {
      opened.sinks.push_back(std::move(sink));
    }
  }
  if (is_split) add_file(params.maillog_json_file, RecordKind::kJson);
  return opened;
}

}  // namespace postern::postlog
