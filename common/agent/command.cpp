#include "common/agent/command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "common/base/text.h"
#include "common/sys/fd.h"

namespace postern::agent {

namespace {

constexpr std::size_t kChunk = std::size_t{64} << 10;
constexpr std::size_t kMaxOutput = 4096;
constexpr std::string_view kFrom = "From ";
constexpr std::string_view kPath = "/usr/bin:/bin";
constexpr const char* kShell = "/bin/sh";
// Nothing in these that a shell would treat in its own way.
constexpr std::string_view kPlain =
    "1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \t\r\n";

struct ExitMeaning {
  int code;
  std::string_view status;
  std::string_view text;
};

constexpr ExitMeaning kExitMeanings[] = {
    {EX_USAGE, "5.3.0", "command line usage error"},
    {EX_DATAERR, "5.6.0", "data format error"},
    {EX_NOINPUT, "5.3.0", "cannot open input"},
    {EX_NOUSER, "5.1.1", "user unknown"},
    {EX_NOHOST, "5.1.2", "host name unknown"},
    {EX_UNAVAILABLE, "5.3.0", "service unavailable"},
    {EX_SOFTWARE, "5.3.0", "internal software error"},
    {EX_OSERR, "4.3.0", "system resource problem"},
    {EX_OSFILE, "5.3.0", "critical OS file missing"},
    {EX_CANTCREAT, "5.2.0", "can't create user output file"},
    {EX_IOERR, "5.3.0", "input/output error"},
    {EX_TEMPFAIL, "4.3.0", "temporary failure"},
    {EX_PROTOCOL, "5.5.0", "remote error in protocol"},
    {EX_NOPERM, "5.7.0", "permission denied"},
    {EX_CONFIG, "5.3.5", "local configuration error"},
};

// "5.7.1 text": the length of the status, or 0.
std::size_t status_length(std::string_view text) {
  if (text.size() < 5 || (text[0] != '4' && text[0] != '5') || text[1] != '.') return 0;
  std::size_t at = 2;
  for (const bool is_last : {false, true}) {
    const std::size_t begin = at;
    while (at < text.size() && at - begin < 3 && is_digit(text[at])) ++at;
    if (at == begin) return 0;
    if (!is_last && (at == text.size() || text[at++] != '.')) return 0;
  }
  return at == text.size() || is_space(text[at]) ? at : 0;
}

std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// The files that a command name may mean, in the order of PATH.
std::vector<std::string> candidates(const std::string& name,
                                    const std::vector<std::string>& environment) {
  if (name.find('/') != std::string::npos) return {name};
  std::string_view path = kPath;
  for (const std::string& entry : environment) {
    if (entry.starts_with("PATH=")) path = std::string_view(entry).substr(5);
  }
  std::vector<std::string> result;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find(':'), path.size());
    if (end > 0) result.push_back(fmt::format("{}/{}", path.substr(0, end), name));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return result;
}

// Everything that the child needs, made before the fork: this process has threads, and between
// fork and exec nothing may be called that takes a lock.
struct Image {
  std::vector<std::string> arguments;
  std::vector<std::string> files;
  std::vector<std::string> shell_arguments;  // when none of the files is there
  std::vector<char*> argv;
  std::vector<char*> shell_argv;
  std::vector<char*> envp;
  const char* directory = nullptr;
  bool must_have_directory = false;
  std::uint64_t file_limit = 0;
  std::string failure;  // what is printed before the error's number
};

Image image_of(const CommandRequest& request) {
  Image image;
  if (!request.arguments.empty()) {
    image.arguments = request.arguments;
  } else if (!request.shell.empty()) {
    for (const auto word : split_words(request.shell)) image.arguments.emplace_back(word);
    image.arguments.push_back(request.line);
  } else {
    image.shell_arguments = {"sh", "-c", request.line};
    image.arguments = plain_words(request.line);
    if (image.arguments.empty()) image.arguments = image.shell_arguments;
  }
  image.files = candidates(image.arguments.front(), request.environment);
  image.argv = pointers_to(image.arguments);
  if (!image.shell_arguments.empty()) image.shell_argv = pointers_to(image.shell_arguments);
  image.envp = pointers_to(request.environment);
  if (!request.directory.empty()) image.directory = request.directory.c_str();
  image.must_have_directory = request.must_have_directory;
  image.file_limit = request.file_limit;
  image.failure =
      request.arguments.empty()
          ? fmt::format("local: fatal: execvp {}: ", image.arguments.front())
          : fmt::format("pipe: fatal: pipe_command: execvp {}: ", image.arguments.front());
  return image;
}

void print(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(2, text.data(), text.size());
    if (n <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

void print_error(int error) {
  const char* text = ::strerrordesc_np(error);
  print(text == nullptr ? std::string_view("unknown error") : std::string_view(text));
}

// In the child: only what is safe there.
[[noreturn]] void execute(const Image& image, int input, int output) {
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::setsid();
  if (image.file_limit > 0) {
    const rlimit limit{image.file_limit, image.file_limit};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  // Both are above 2: the deliverer's own 0 to 2 are open.
  if (::dup2(input, 0) < 0 || ::dup2(output, 1) < 0 || ::dup2(output, 2) < 0) ::_exit(EX_TEMPFAIL);
  ::close_range(3, ~0U, 0);
  if (image.directory != nullptr && ::chdir(image.directory) < 0 && image.must_have_directory) {
    const int error = errno;
    print("4.3.0 cannot change directory to ");
    print(image.directory);
    print(": ");
    print_error(error);
    ::_exit(EX_TEMPFAIL);
  }
  int error = ENOENT;
  for (const std::string& file : image.files) {
    ::execve(file.c_str(), image.argv.data(), image.envp.data());
    // As a search of PATH goes: the first that is there counts.
    if (errno != ENOENT && errno != ENOTDIR) error = errno;
    if (error != ENOENT) break;
  }
  // No program of that name may be something that the shell has built in; a path is a path. A
  // script that does not say what reads it is the shell's, too.
  const bool is_path = image.arguments.front().find('/') != std::string::npos;
  if (!image.shell_argv.empty() && ((error == ENOENT && !is_path) || error == ENOEXEC)) {
    ::execve(kShell, image.shell_argv.data(), image.envp.data());
    error = errno;
  }
  print(image.failure);
  print_error(error);
  print("\n");
  ::_exit(EX_TEMPFAIL);
}

// The message as the command gets it, piece by piece.
class Content {
 public:
  Content(const MailboxMessage& message, const CommandFormat& format)
      : message_(message), formatter_(format), runs_{message.header, message.body} {}

  // Appends more to `out`; nothing more: is_over(). An errno value where the file is damaged.
  [[nodiscard]] int read(std::string& out) {
    if (!has_begun_) {
      has_begun_ = true;
      formatter_.add(message_.prepended, out);
    }
    queuefile::Extent& run = runs_[at_];
    if (run.length > 0) {
      buffer_.resize(std::min<std::uint64_t>(run.length, kChunk));
      const ssize_t n =
          ::pread(message_.fd, buffer_.data(), buffer_.size(), static_cast<off_t>(run.offset));
      if (n < 0 && errno == EINTR) return 0;
      if (n <= 0) return ENODATA;
      formatter_.add(std::string_view(buffer_).substr(0, static_cast<std::size_t>(n)), out);
      run.offset += static_cast<std::uint64_t>(n);
      run.length -= static_cast<std::uint64_t>(n);
      return 0;
    }
    if (at_ == 0) {
      formatter_.add("\n", out);
      at_ = 1;
    } else {
      formatter_.finish(out);
      is_over_ = true;
    }
    return 0;
  }
  [[nodiscard]] bool is_over() const { return is_over_; }

 private:
  const MailboxMessage& message_;
  CommandFormatter formatter_;
  std::array<queuefile::Extent, 2> runs_;
  std::size_t at_ = 0;
  bool has_begun_ = false;
  bool is_over_ = false;
  std::string buffer_;
};

using Clock = std::chrono::steady_clock;

// One command under way: feeds it, listens to it, waits for it.
class Running {
 public:
  Running(pid_t pid, sys::Fd input, sys::Fd output, Clock::time_point deadline)
      : pid_(pid),
        input_(std::move(input)),
        output_(std::move(output)),
        process_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))),
        deadline_(deadline) {
    for (const int fd : {input_.get(), output_.get()}) {
      ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
    }
  }

  // Until the command has closed its output and ended, or is out of time: then it is ended.
  void run(Content& content) {
    while (output_ && !is_out_of_time_) {
      fill(content);
      std::array<pollfd, 2> waits = {pollfd{output_.get(), POLLIN, 0},
                                     pollfd{input_ ? input_.get() : -1, POLLOUT, 0}};
      if (!wait(waits)) continue;
      if (waits[0].revents != 0) listen();
      if (waits[1].revents != 0) feed();
    }
    input_.reset();
    while (!is_out_of_time_ && process_) {
      std::array<pollfd, 1> waits = {pollfd{process_.get(), POLLIN, 0}};
      if (wait(waits)) break;
    }
    if (is_out_of_time_) {
      ::kill(-pid_, SIGKILL);
      ::kill(pid_, SIGKILL);
    }
    while (::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
    }
  }

  [[nodiscard]] int status() const { return status_; }
  [[nodiscard]] int content_error() const { return content_error_; }
  [[nodiscard]] bool is_out_of_time() const { return is_out_of_time_; }
  [[nodiscard]] const std::string& said() const { return said_; }

 private:
  template <std::size_t kCount>
  bool wait(std::array<pollfd, kCount>& waits) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
    if (left <= 0) {
      is_out_of_time_ = true;
      return false;
    }
    return ::poll(waits.data(), waits.size(), static_cast<int>(std::min<long>(left, 60'000))) > 0;
  }

  void fill(Content& content) {
    while (input_ && pending_.empty()) {
      if (content.is_over()) return input_.reset();
      content_error_ = content.read(pending_);
      if (content_error_ == 0) continue;
      // Half a message is none: the command must not take it for whole.
      is_out_of_time_ = true;
      return;
    }
  }

  void feed() {
    const ssize_t n = ::write(input_.get(), pending_.data(), pending_.size());
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    // A command that does not read all of it may have what it wants: its status tells.
    if (n <= 0) return input_.reset();
    pending_.erase(0, static_cast<std::size_t>(n));
  }

  void listen() {
    std::array<char, 4096> buffer{};
    const ssize_t n = ::read(output_.get(), buffer.data(), buffer.size());
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (n <= 0) return output_.reset();
    const std::size_t room = kMaxOutput - std::min(kMaxOutput, said_.size());
    said_.append(buffer.data(), std::min(static_cast<std::size_t>(n), room));
  }

  const pid_t pid_;
  sys::Fd input_;
  sys::Fd output_;
  sys::Fd process_;
  const Clock::time_point deadline_;
  int status_ = 0;
  int content_error_ = 0;
  bool is_out_of_time_ = false;
  std::string pending_;
  std::string said_;
};

CommandResult not_run(std::string_view what, int error) {
  CommandResult result;
  result.status = "4.3.0";
  result.text = fmt::format("{}: {}", what, sys::errno_text(error));
  return result;
}

std::string shown_command(const CommandRequest& request) {
  return request.arguments.empty() ? request.line : request.arguments.front();
}

}  // namespace

void CommandFormatter::add(std::string_view bytes, std::string& out) {
  while (!bytes.empty()) {
    if (at_start_) {
      const char c = bytes.front();
      if (format_.quote_from && start_.size() < kFrom.size() && c == kFrom[start_.size()]) {
        start_ += c;
        bytes.remove_prefix(1);
        continue;
      }
      if (format_.stuff_dots && start_.empty() && c == '.') out += '.';
      end_start(out);
    }
    const std::size_t end = bytes.find('\n');
    out += bytes.substr(0, end);
    if (end == std::string_view::npos) return;
    out += format_.eol;
    at_start_ = true;
    bytes.remove_prefix(end + 1);
  }
}

void CommandFormatter::end_start(std::string& out) {
  if (start_ == kFrom) out += '>';
  out += start_;
  start_.clear();
  at_start_ = false;
}

void CommandFormatter::finish(std::string& out) {
  if (at_start_ && !start_.empty()) end_start(out);
  if (!at_start_) out += format_.eol;
  at_start_ = true;
  if (format_.end_blank) out += format_.eol;
}

std::vector<std::string> plain_words(std::string_view line) {
  std::vector<std::string> words;
  if (line.find_first_not_of(kPlain) != std::string_view::npos) return words;
  for (const auto word : split_words(line)) words.emplace_back(word);
  // NAME=value in front is the shell's.
  if (!words.empty() && words.front().find('=') != std::string::npos) words.clear();
  return words;
}

CommandResult judge_command(int wait_status, bool is_out_of_time, std::string_view command,
                            std::string_view output) {
  CommandResult result;
  result.output = output;
  std::ranges::replace(result.output, '\n', ' ');
  const std::string said =
      result.output.empty() ? std::string() : ". Command output: " + result.output;
  const auto set = [&](MailboxOutcome outcome, std::string_view status, std::string text) {
    result.outcome = outcome;
    result.status = status;
    result.text = std::move(text);
    if (result.diagnostic.empty()) {
      result.diagnostic = result.output.empty() ? "internal software error" : result.output;
    }
  };
  if (is_out_of_time) {
    set(MailboxOutcome::kBounced, "5.3.0",
        fmt::format("Command time limit exceeded: \"{}\"{}", command, said));
    return result;
  }
  if (WIFSIGNALED(wait_status)) {
    set(MailboxOutcome::kDeferred, "4.3.0",
        fmt::format("Command died with signal {}: \"{}\"{}", WTERMSIG(wait_status), command, said));
    return result;
  }
  const int code = WEXITSTATUS(wait_status);
  if (code == 0) {
    result.outcome = MailboxOutcome::kDelivered;
    result.status = "2.0.0";
    return result;
  }
  if (const std::size_t length = status_length(result.output); length > 0) {
    std::string text(trim_left(std::string_view(result.output).substr(length)));
    result.diagnostic = text;
    const std::string status = result.output.substr(0, length);
    set(status.front() == '4' ? MailboxOutcome::kDeferred : MailboxOutcome::kBounced, status,
        std::move(text));
    return result;
  }
  const auto* const meaning = std::ranges::find(kExitMeanings, code, &ExitMeaning::code);
  if (meaning == std::end(kExitMeanings)) {
    if (result.output.empty()) result.diagnostic = "unknown mail system error";
    set(MailboxOutcome::kBounced, "5.3.0",
        fmt::format("Command died with status {}: \"{}\"{}", code, command, said));
    return result;
  }
  if (result.output.empty()) result.diagnostic = meaning->text;
  set(meaning->status.front() == '4' ? MailboxOutcome::kDeferred : MailboxOutcome::kBounced,
      meaning->status, fmt::format("{}{}", meaning->text, said));
  return result;
}

CommandResult run_command(const MailboxMessage& message, const CommandRequest& request) {
  const std::string shown = shown_command(request);
  if (shown.find_first_not_of(" \t") == std::string::npos) {
    return not_run("empty command", EINVAL);
  }
  const Image image = image_of(request);
  int input[2] = {-1, -1};
  int output[2] = {-1, -1};
  if (::pipe2(input, O_CLOEXEC) < 0) return not_run("pipe", errno);
  sys::Fd input_read(input[0]);
  sys::Fd input_write(input[1]);
  if (::pipe2(output, O_CLOEXEC) < 0) return not_run("pipe", errno);
  sys::Fd output_read(output[0]);
  sys::Fd output_write(output[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return not_run("fork", errno);
  if (pid == 0) execute(image, input_read.get(), output_write.get());
  input_read.reset();
  output_write.reset();

  Content content(message, request.format);
  Running running(pid, std::move(input_write), std::move(output_read),
                  Clock::now() + request.time_limit);
  running.run(content);
  if (running.content_error() != 0) {
    return not_run("cannot read the message", running.content_error());
  }
  return judge_command(running.status(), running.is_out_of_time(), shown, running.said());
}

}  // namespace postern::agent
