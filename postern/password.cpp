#include "postern/password.h"

#include <fmt/format.h>
#include <getopt.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <optional>
#include <string>

#include "common/sasl/password.h"

namespace postern::control {

namespace {

// Nothing that is typed is seen while it lives. What would end the process waits so long: the
// terminal would stay blind.
class Unseen {
 public:
  Unseen() {
    sigset_t held{};
    ::sigemptyset(&held);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGTSTP}) ::sigaddset(&held, signal);
    ::sigprocmask(SIG_BLOCK, &held, &signals_before_);
    if (::tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios unseen = before_;
    unseen.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    is_changed_ = ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &unseen) == 0;
  }
  ~Unseen() {
    if (is_changed_) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
    ::sigprocmask(SIG_SETMASK, &signals_before_, nullptr);
  }
  Unseen(const Unseen&) = delete;
  Unseen& operator=(const Unseen&) = delete;

 private:
  termios before_{};
  sigset_t signals_before_{};
  bool is_changed_ = false;
};

// A line without its end; nothing at the end of the input, or where the line is too long.
std::optional<std::string> read_line() {
  std::string line;
  for (;;) {
    char byte = 0;
    const ssize_t count = ::read(STDIN_FILENO, &byte, 1);
    if (count < 0) return std::nullopt;
    if (count == 0 && line.empty()) return std::nullopt;
    if (count == 0 || byte == '\n') return line;
    line += byte;
    if (line.size() > sasl::kMaxPassword) return std::nullopt;
  }
}

std::optional<std::string> ask(std::string_view prompt) {
  if (::isatty(STDIN_FILENO) == 0) return read_line();
  fmt::print(stderr, "{}", prompt);
  std::fflush(stderr);
  const Unseen unseen;
  auto line = read_line();
  fmt::print(stderr, "\n");
  return line;
}

int complain(std::string_view text) {
  fmt::print(stderr, "postern password: {}\n", text);
  return 1;
}

int check(const std::string& entry) {
  auto password = ask("Password: ");
  if (!password) return complain("no password");
  const auto checked = sasl::check_password(entry, *password);
  sasl::wipe(*password);
  if (!checked) return complain(checked.error().text);
  fmt::print("{}\n", *checked ? "right" : "wrong");
  return *checked ? 0 : 1;
}

}  // namespace

int password_main(int argc, char** argv) {
  std::string scheme(sasl::kDefaultPasswordScheme);
  std::optional<std::string> entry;
  constexpr std::array<option, 3> kOptions = {{{"scheme", required_argument, nullptr, 's'},
                                               {"check", required_argument, nullptr, 'k'},
                                               {nullptr, 0, nullptr, 0}}};
  ::optind = 1;
  for (int c = 0; (c = ::getopt_long(argc, argv, "", kOptions.data(), nullptr)) != -1;) {
    if (c == 's') scheme = ::optarg;
    if (c == 'k') entry = ::optarg;
    if (c == '?') return complain("usage: postern password [--scheme NAME | --check ENTRY] [USER]");
  }
  if (argc - ::optind > 1) {
    return complain("usage: postern password [--scheme NAME | --check ENTRY] [USER]");
  }
  if (entry) return check(*entry);
  auto password = ask("Password: ");
  if (!password) return complain("no password, or one that is too long");
  if (::isatty(STDIN_FILENO) != 0) {
    auto again = ask("The same again: ");
    const bool is_same = again && sasl::equal_secretly(*again, *password);
    if (again) sasl::wipe(*again);
    if (!is_same) return complain("the two are not the same");
  }
  const auto made = sasl::make_password(scheme, *password);
  sasl::wipe(*password);
  if (!made) return complain(made.error().text);
  if (::optind < argc) fmt::print("{} ", argv[::optind]);
  fmt::print("{}\n", *made);
  return 0;
}

}  // namespace postern::control
