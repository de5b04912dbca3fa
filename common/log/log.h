// log.h - what the administrator reads.
//
// A line is written to the process's log sink: for a daemon the pipe that leads to postlog (and
// beyond it to maillog_file, syslog, the journal or standard output), for a tool syslog and, if
// that is a terminal, standard error. Writing never waits: what the pipe does not take is dropped,
// counted, and the count is told when there is room again.
//
// A record on the pipe is one line: a letter for its kind and level, then the text.
//
//     record := kind (T text, J JSON)  level (i w e f p)  line "\n"

#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace postern::log {

enum class Level : char {
  kInfo = 'i',
  kWarning = 'w',
  kError = 'e',
  kFatal = 'f',
  kPanic = 'p',
};

struct Setup {
  std::string syslog_name = "postfix";  // with the program: "postfix/smtpd"; may be empty
  std::string program{};
  int pipe = -1;             // to postlog; -1: this is a tool
  bool text = true;          // classic lines
  bool json = false;         // one JSON object an event beside them
  bool to_terminal = false;  // tools: standard error too
  std::string host{};        // for the line; empty: gethostname
};

// Called once at start, and again when the configuration changes.
void open(Setup setup);

// For tools, where maillog_file is set: lines go to the log writer's socket or, where nobody
// listens and this process may, to the end of `file` itself. Where neither can be done they go on
// to syslog. It counts for open() calls that follow, too.
void use_postlog(const std::string& socket, const std::string& file);

// The loop's part: `schedule` is called when the first line of a turn was written, and arranges
// that flush() is called at the end of it. Without it each line leaves at once.
void set_flush_scheduler(std::function<void()> schedule);
void flush();

// Lines dropped since the start of the process.
[[nodiscard]] std::uint64_t dropped_lines();

// One fact with what a machine wants to know of it. The text is the classic line without the
// time stamp and tag; values are for the JSON sink only.
class Event {
 public:
  explicit Event(std::string_view name, std::string_view queue_id = {})
      : name_(name), queue_id_(queue_id) {}
  Event& with(std::string_view key, std::string_view value);
  Event& with(std::string_view key, std::int64_t value);
  Event& with(std::string_view key, double value);
  // False when nobody would read the values: callers may spare themselves the work.
  [[nodiscard]] static bool is_wanted();

 private:
  friend void write(Level level, std::string_view text, const Event* event);
  std::string name_;
  std::string queue_id_;
  std::string fields_;  // ready JSON members, each with a comma in front
};

// Writes one line. Bytes from outside in it have passed clean(); line breaks and control characters
// are made harmless here once more. Longer lines are cut at kMaxLine.
void write(Level level, std::string_view text, const Event* event = nullptr);
inline constexpr std::size_t kMaxLine = 2000;

template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
// Somebody should act; says what to do.
template <typename... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kError, fmt::format(format, std::forward<Args>(args)...));
}
// Writes the line, flushes, and ends the process with status 1.
[[noreturn]] void die(std::string_view text);
template <typename... Args>
[[noreturn]] void fatal(fmt::format_string<Args...> format, Args&&... args) {
  die(fmt::format(format, std::forward<Args>(args)...));
}

// Lines written while it lives carry the name of another program: where one process of ours does
// what log readers know as two. Not to be held across a wait.
class ActingAs {
 public:
  explicit ActingAs(std::string_view program);
  ~ActingAs();
  ActingAs(const ActingAs&) = delete;
  ActingAs& operator=(const ActingAs&) = delete;

 private:
  std::string tag_;  // the process's own
};

// Level of detail: 0 plain, 1 and more with -v.
void set_verbosity(unsigned level);
[[nodiscard]] unsigned verbosity();

}  // namespace postern::log
