#include "local/users.h"

#include <pwd.h>

#include "common/base/text.h"
#include "common/sys/fd.h"

namespace postern::local {

namespace {

constexpr std::chrono::seconds kKeepTime{5};
constexpr std::size_t kMaxKept = 2000;
constexpr std::size_t kMaxName = 256;
constexpr std::size_t kBuffer = std::size_t{64} << 10;

Result<std::optional<User>> ask(const std::string& name) {
  std::string buffer(kBuffer, '\0');
  passwd entry{};
  passwd* found = nullptr;
  const int error = ::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  // Name services say "not found" in several ways.
  if (error != 0 && error != ENOENT && error != ESRCH && error != EBADF && error != EPERM) {
    return sys::fail_errno("look up user " + name, error);
  }
  if (found == nullptr) return std::optional<User>();
  return std::optional<User>(
      User{entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell});
}

}  // namespace

loop::Task<Result<std::optional<User>>> Users::find(std::string name) {
  using Answer = Result<std::optional<User>>;
  if (name.empty() || name.size() > kMaxName || name.find('/') != std::string::npos ||
      name.find('\0') != std::string::npos) {
    co_return Answer(std::nullopt);
  }
  const auto now = loop::Clock::now();
  const auto kept = kept_.find(name);
  if (kept != kept_.end() && kept->second.until > now) co_return Answer(kept->second.user);
  Answer answer = co_await pool_.run([&name] { return ask(name); });
  if (answer) {
    if (kept_.size() >= kMaxKept) kept_.clear();
    kept_[name] = {*answer, now + kKeepTime};
  }
  co_return answer;
}

}  // namespace postern::local
