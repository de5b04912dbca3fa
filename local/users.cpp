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

template <typename Ask>
Result<std::optional<User>> answer_of(const std::string& who, const Ask& ask) {
  std::string buffer(kBuffer, '\0');
  passwd entry{};
  passwd* found = nullptr;
  const int error = ask(&entry, buffer.data(), buffer.size(), &found);
  // Name services say "not found" in several ways.
  if (error != 0 && error != ENOENT && error != ESRCH && error != EBADF && error != EPERM) {
    return sys::fail_errno("look up user " + who, error);
  }
  if (found == nullptr) return std::optional<User>();
  return std::optional<User>(
      User{entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell});
}

}  // namespace

loop::Task<Result<std::optional<User>>> Users::find(std::string name) {
  if (name.empty() || name.size() > kMaxName || name.find('/') != std::string::npos ||
      name.find('\0') != std::string::npos) {
    co_return Answer(std::nullopt);
  }
  const auto ask = [name] {
    return answer_of(name, [&](passwd* entry, char* buffer, std::size_t size, passwd** found) {
      return ::getpwnam_r(name.c_str(), entry, buffer, size, found);
    });
  };
  co_return co_await find_kept(std::move(name), ask);
}

loop::Task<Result<std::optional<User>>> Users::find(uid_t uid) {
  const auto ask = [uid] {
    return answer_of(std::to_string(uid),
                     [&](passwd* entry, char* buffer, std::size_t size, passwd** found) {
                       return ::getpwuid_r(uid, entry, buffer, size, found);
                     });
  };
  // No name has a slash.
  co_return co_await find_kept("/" + std::to_string(uid), ask);
}

loop::Task<Users::Answer> Users::find_kept(std::string key, std::function<Answer()> ask) {
  const auto now = loop::Clock::now();
  const auto kept = kept_.find(key);
  if (kept != kept_.end() && kept->second.until > now) co_return Answer(kept->second.user);
  Answer answer = co_await pool_.run([&ask] { return ask(); });
  if (answer) {
    if (kept_.size() >= kMaxKept) kept_.clear();
    kept_[key] = {*answer, now + kKeepTime};
  }
  co_return answer;
}

}  // namespace postern::local
