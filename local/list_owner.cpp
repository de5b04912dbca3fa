#include "local/list_owner.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <vector>

#include "common/base/text.h"
#include "common/sys/fd.h"

namespace postern::local {

namespace {

constexpr std::size_t kMaxLinks = 40;
constexpr std::size_t kMaxListFile = std::size_t{4} << 20;

// The steps of a path are taken from the end.
void push_steps(std::string_view path, std::vector<std::string>& steps) {
  const auto words = split_words(path, "/");
  for (auto word = words.rbegin(); word != words.rend(); ++word) steps.emplace_back(*word);
}

}  // namespace

Result<ListOwner> find_list_owner(const std::string& path) {
  std::vector<std::string> steps;
  push_steps(path, steps);
  std::vector<uid_t> links;
  sys::Fd at(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct stat status{};
  while (at && !steps.empty()) {
    const std::string step = std::move(steps.back());
    steps.pop_back();
    sys::Fd next(::openat(at.get(), step.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!next || ::fstat(next.get(), &status) < 0) return sys::fail_errno(path);
    if (!S_ISLNK(status.st_mode)) {
      at = std::move(next);
      continue;
    }
    links.push_back(status.st_uid);
    std::array<char, PATH_MAX> target{};
    const ssize_t size = ::readlinkat(next.get(), "", target.data(), target.size());
    if (size < 0) return sys::fail_errno(path);
    if (links.size() > kMaxLinks) return sys::fail_errno(path, ELOOP);
    const std::string_view text(target.data(), static_cast<std::size_t>(size));
    push_steps(text, steps);
    if (text.starts_with('/')) at.reset(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  if (!at) return sys::fail_errno(path);
  ListOwner owner;
  owner.device = status.st_dev;
  owner.inode = status.st_ino;
  const bool is_his =
      std::ranges::all_of(links, [&](uid_t link) { return link == 0 || link == status.st_uid; });
  if (is_his) owner.uid = status.st_uid;
  return owner;
}

Result<std::string> read_list_file(int fd) {
  std::string text;
  std::string buffer(std::size_t{64} << 10, '\0');
  for (;;) {
    const ssize_t n = ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(text.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return sys::fail_errno("read");
    if (n == 0) return text;
    text.append(buffer, 0, static_cast<std::size_t>(n));
    if (text.size() > kMaxListFile) return fail_temporary("file is too large");
  }
}

}  // namespace postern::local
