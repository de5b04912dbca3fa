#include "auth/token.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <nlohmann/json.hpp>

#include "common/base/text.h"
#include "common/sys/process.h"

namespace postern::auth {

namespace {

using ipc::auth::StepKind;

constexpr std::size_t kMaxToken = 8192;
constexpr std::size_t kMaxFile = 32768;
// A delivery takes a while.
constexpr std::int64_t kMargin = 60;

bool is_token(std::string_view text) {
  return !text.empty() && text.size() <= kMaxToken && std::ranges::all_of(text, [](char c) {
    return is_alnum(c) || std::string_view("-._~+/=:|!").find(c) != std::string_view::npos;
  });
}

Result<std::string> read_file(const std::string& path) {
  const sys::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd) return sys::fail_errno(fmt::format("open {}", path));
  struct stat status{};
  if (::fstat(fd.get(), &status) < 0 || !S_ISREG(status.st_mode)) {
    return fail_temporary(fmt::format("{} is no file", path));
  }
  std::string out(kMaxFile, '\0');
  const ssize_t count = ::read(fd.get(), out.data(), out.size());
  if (count < 0) return sys::fail_errno(fmt::format("read {}", path));
  out.resize(static_cast<std::size_t>(count));
  return out;
}

Result<TokenFile> read_token(const std::string& path) {
  TRY(const std::string text, read_file(path));
  auto file = parse_token_file(text);
  if (!file) return fail_temporary(fmt::format("{} holds no token", path));
  return *std::move(file);
}

Result<void> run_command(const Job& job) {
  sys::Launch launch;
  for (const auto word : split_words(job.entry)) launch.arguments.emplace_back(word);
  if (launch.arguments.empty() || !launch.arguments.front().starts_with('/')) {
    return fail(Error::Kind::kConfig,
                "smtp_sasl_token_command must begin with the path of a program");
  }
  launch.path = launch.arguments.front();
  launch.arguments.push_back(job.path);
  launch.environment = {"PATH=/usr/bin:/bin", "LANG=C"};
  TRY(const pid_t pid, sys::launch(launch));
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return sys::fail_errno("waitpid");
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return fail_temporary(fmt::format("{}: {} {}", launch.path,
                                    WIFEXITED(status) ? "exit status" : "killed by signal",
                                    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status)));
}

}  // namespace

std::optional<TokenFile> parse_token_file(std::string_view text) {
  text = trim(text);
  TokenFile out;
  if (!text.starts_with('{')) {
    out.token = text;
  } else {
    const auto json = nlohmann::json::parse(text, nullptr, false);
    if (!json.is_object()) return std::nullopt;
    const auto token = json.find("access_token");
    if (token == json.end() || !token->is_string()) return std::nullopt;
    out.token = token->get<std::string>();
    const auto expiry = json.find("expiry");
    if (expiry != json.end()) {
      if (expiry->is_number_integer()) out.expiry = expiry->get<std::int64_t>();
      if (expiry->is_string()) {
        out.expiry = std::strtoll(expiry->get<std::string>().c_str(), nullptr, 10);
      }
    }
  }
  if (!is_token(out.token)) return std::nullopt;
  return out;
}

bool is_fresh(const TokenFile& file, std::int64_t now) {
  return file.expiry <= 0 || file.expiry > now + kMargin;
}

bool is_below(std::string_view path, std::string_view directory) {
  while (directory.ends_with('/')) directory.remove_suffix(1);
  if (directory.empty() || path.size() <= directory.size() + 1) return false;
  if (!path.starts_with(directory) || path[directory.size()] != '/') return false;
  if (path.find('\0') != std::string_view::npos) return false;
  const auto parts = split_fields(path.substr(directory.size() + 1), '/');
  return std::ranges::none_of(
      parts, [](std::string_view part) { return part.empty() || part == "." || part == ".."; });
}

JobReply find_token(const Job& job) {
  JobReply reply;
  const auto now = static_cast<std::int64_t>(::time(nullptr));
  auto file = read_token(job.path);
  const bool is_good = file && is_fresh(*file, now) && !job.is_refused;
  if (!is_good && !job.entry.empty()) {
    const auto done = run_command(job);
    if (!done) {
      reply.text = done.error().text;
      reply.warnings.push_back(reply.text);
      return reply;
    }
    file = read_token(job.path);
  }
  if (!file) {
    reply.text = file.error().text;
    reply.warnings.push_back(reply.text);
    return reply;
  }
  // One that is past its time may still be taken: the server judges that.
  reply.kind = StepKind::kDone;
  reply.text = std::move(file->token);
  return reply;
}

}  // namespace postern::auth
