#include "common/log/log.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "common/log/clean.h"
#include "common/log/onlooker.h"
#include "common/sys/fd.h"
#include "common/sys/foreign_link.h"
#include "common/sys/socket.h"

namespace postern::log {

namespace {

// A pipe takes up to this much as one piece: lines of several processes never mix.
constexpr std::size_t kAtomicWrite = 4096;

struct State {
  Setup setup;
  std::string tag = "postern";  // "postfix/smtpd"
  std::string host;
  pid_t pid = ::getpid();  // as of open(): who forks and logs opens again
  std::function<void()> schedule;
  std::function<void(std::string_view)> onlooker;
  bool is_shown = false;  // the onlooker has a line just now
  std::string buffer;     // whole records
  bool scheduled = false;
  std::uint64_t dropped = 0;
  std::uint64_t dropped_told = 0;
  unsigned verbosity = 0;
  std::time_t stamp_second = 0;
  std::string stamp;          // "Nov 24 13:53:56"
  sys::Fd tool_sink;          // the log writer's socket, or a file
  bool is_tool_file = false;  // a file takes lines, not records

  [[nodiscard]] int sink() const { return setup.pipe >= 0 ? setup.pipe : tool_sink.get(); }
  [[nodiscard]] bool takes_lines() const { return setup.pipe < 0 && is_tool_file; }
};

State& state() {
  static State the_state;
  return the_state;
}

std::string_view word(Level level) {
  switch (level) {
    case Level::kInfo:
      return "";
    case Level::kWarning:
      return "warning: ";
    case Level::kError:
      return "error: ";
    case Level::kFatal:
      return "fatal: ";
    case Level::kPanic:
      return "panic: ";
  }
  return "";
}

int priority(Level level) {
  switch (level) {
    case Level::kInfo:
      return LOG_INFO;
    case Level::kWarning:
      return LOG_WARNING;
    case Level::kError:
      return LOG_ERR;
    case Level::kFatal:
    case Level::kPanic:
      return LOG_CRIT;
  }
  return LOG_INFO;
}

const std::string& time_stamp(std::time_t now) {
  State& s = state();
  if (now != s.stamp_second || s.stamp.empty()) {
    std::tm local{};
    localtime_r(&now, &local);
    std::array<char, 32> text{};
    const std::size_t size = std::strftime(text.data(), text.size(), "%b %e %H:%M:%S", &local);
    s.stamp.assign(text.data(), size);
    s.stamp_second = now;
  }
  return s.stamp;
}

void append_record(char kind, Level level, std::string_view line) {
  State& s = state();
  if (!s.takes_lines()) {
    s.buffer += kind;
    s.buffer += static_cast<char>(level);
  }
  s.buffer += line;
  s.buffer += '\n';
}

void append_text(Level level, std::string_view text, const timespec& now) {
  const State& s = state();
  append_record('T', level,
                fmt::format("{} {} {}[{}]: {}{}", time_stamp(now.tv_sec), s.host, s.tag, s.pid,
                            word(level), text));
}

void syslog_line(Level level, std::string_view text) {
  const std::string line = fmt::format("{}{}", word(level), text);
  ::syslog(priority(level), "%s", line.c_str());
}

// How much of `records` may go in one write without being torn: whole records only.
std::size_t atomic_part(std::string_view records) {
  if (records.size() <= kAtomicWrite) return records.size();
  const auto end = records.rfind('\n', kAtomicWrite - 1);
  return end == std::string_view::npos ? records.size() : end + 1;
}

std::uint64_t count_lines(std::string_view text) {
  std::uint64_t lines = 0;
  for (const char c : text) lines += c == '\n' ? 1 : 0;
  return lines;
}

}  // namespace

void open(Setup setup) {
  State& s = state();
  flush();
  s.setup = std::move(setup);
  s.pid = ::getpid();
  s.host = s.setup.host;
  if (s.host.empty()) {
    std::array<char, 256> name{};
    if (::gethostname(name.data(), name.size() - 1) == 0) s.host = name.data();
    // As syslog shows it: without the domain.
    s.host.resize(std::min(s.host.find('.'), s.host.size()));
  }
  s.tag =
      s.setup.syslog_name.empty() ? s.setup.program : s.setup.syslog_name + "/" + s.setup.program;
  if (s.sink() < 0) {
    ::closelog();
    ::openlog(s.tag.c_str(), LOG_PID | LOG_NDELAY, LOG_MAIL);
  }
}

void use_postlog(const std::string& socket, const std::string& file) {
  State& s = state();
  flush();
  s.tool_sink.reset();
  s.is_tool_file = false;
  if (const auto address = sys::unix_address(socket)) {
    sys::Fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (fd && ::connect(fd.get(), address->get(), address->length) == 0) {
      s.tool_sink = std::move(fd);
      return;
    }
  }
  if (file.empty()) return;
  auto opened = sys::open_but_foreign_link(file, O_WRONLY | O_APPEND | O_NOCTTY | O_NONBLOCK);
  if (opened) s.tool_sink = *std::move(opened);
  s.is_tool_file = true;
}

void set_onlooker(std::function<void(std::string_view)> onlooker) {
  state().onlooker = std::move(onlooker);
}

void set_flush_scheduler(std::function<void()> schedule) { state().schedule = std::move(schedule); }

void flush() {
  State& s = state();
  s.scheduled = false;
  if (s.sink() < 0 || s.buffer.empty()) return;
  if (s.dropped > s.dropped_told) {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    append_text(Level::kWarning,
                fmt::format("{} log lines were dropped because the log writer did not take them",
                            s.dropped - s.dropped_told),
                now);
  }
  const std::uint64_t telling = s.dropped;
  std::string_view rest = s.buffer;
  while (!rest.empty()) {
    const std::size_t part = atomic_part(rest);
    const ssize_t written = ::write(s.sink(), rest.data(), part);
    if (written < 0 && errno == EINTR) continue;
    if (written != static_cast<ssize_t>(part)) {
      s.dropped += count_lines(rest);
      break;
    }
    rest.remove_prefix(part);
  }
  if (rest.empty()) s.dropped_told = telling;
  s.buffer.clear();
}

std::uint64_t dropped_lines() { return state().dropped; }

bool Event::is_wanted() { return state().setup.json; }

Event& Event::with(std::string_view key, std::string_view value) {
  if (is_wanted()) fields_ += fmt::format(",\"{}\":{}", key, json_quote(value));
  return *this;
}

Event& Event::with(std::string_view key, std::int64_t value) {
  if (is_wanted()) fields_ += fmt::format(",\"{}\":{}", key, value);
  return *this;
}

Event& Event::with(std::string_view key, double value) {
  if (is_wanted()) fields_ += fmt::format(",\"{}\":{:.6g}", key, value);
  return *this;
}

void write(Level level, std::string_view text, const Event* event) {
  State& s = state();
  const std::string line = clean(text, kMaxLine);
  if (s.onlooker && !std::exchange(s.is_shown, true)) {
    s.onlooker(std::string(word(level)) + line);
    s.is_shown = false;
  }
  if (s.setup.pipe < 0 && s.setup.to_terminal) {
    // Commands say their own name there; what Postfix does in a script of its own, the whole of it.
    const bool is_script = s.setup.program == "postfix-script" || s.setup.program.empty();
    const std::string shown =
        fmt::format("{}: {}{}\n", is_script ? s.tag : s.setup.program, word(level), line);
    // Whoever has closed it does not want to hear; fmt::print() would throw.
    [[maybe_unused]] const auto written = std::fwrite(shown.data(), 1, shown.size(), stderr);
  }
  if (s.sink() < 0) return syslog_line(level, line);

  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  if (s.setup.text) append_text(level, line, now);
  if (s.setup.json) {
    std::tm utc{};
    gmtime_r(&now.tv_sec, &utc);
    std::array<char, 32> stamp{};
    const std::size_t size = std::strftime(stamp.data(), stamp.size(), "%Y-%m-%dT%H:%M:%S", &utc);
    std::string object =
        fmt::format(R"({{"time":"{}.{:06}Z","host":{},"program":{},"pid":{},"level":"{}")",
                    std::string_view(stamp.data(), size), now.tv_nsec / 1000, json_quote(s.host),
                    json_quote(s.tag), s.pid,
                    level == Level::kInfo ? "info" : word(level).substr(0, word(level).size() - 2));
    if (event != nullptr) {
      object += fmt::format(R"(,"event":{})", json_quote(event->name_));
      if (!event->queue_id_.empty()) {
        object += fmt::format(R"(,"queue_id":{})", json_quote(event->queue_id_));
      }
      object += event->fields_;
    }
    object += fmt::format(R"(,"text":{}}})", json_quote(line));
    // A reader of JSON lines wants objects, not their first half.
    if (object.size() < kAtomicWrite - 3) append_record('J', level, object);
  }
  if (!s.schedule) return flush();
  if (!s.scheduled) {
    s.scheduled = true;
    s.schedule();
  }
}

ActingAs::ActingAs(std::string_view program) : tag_(std::move(state().tag)) {
  State& s = state();
  s.tag = s.setup.syslog_name.empty() ? std::string(program)
                                      : fmt::format("{}/{}", s.setup.syslog_name, program);
}

ActingAs::~ActingAs() { state().tag = std::move(tag_); }

void die(std::string_view text) {
  write(Level::kFatal, text);
  flush();
  std::exit(1);
}

void set_verbosity(unsigned level) { state().verbosity = level; }
unsigned verbosity() { return state().verbosity; }

}  // namespace postern::log
