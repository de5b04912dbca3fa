#include "postern/config_edit.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <set>

#include "common/base/text.h"
#include "common/config/load.h"
#include "common/config/main_cf.h"
#include "common/sys/fd.h"

namespace postern::control {

namespace {

Result<void> write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return sys::fail_errno(fmt::format("write {}", path));
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Result<void> write_replacement(const std::string& temporary, const struct stat& like,
                               std::string_view text) {
  ::unlink(temporary.c_str());  // of an editor that died; the lock says that none is at work
  sys::Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return sys::fail_errno(fmt::format("open {}", temporary));
  if (fchown(fd.get(), like.st_uid, like.st_gid) != 0 && geteuid() == 0) {
    return sys::fail_errno(fmt::format("change owner of {}", temporary));
  }
  if (fchmod(fd.get(), like.st_mode & 07777) != 0) {
    return sys::fail_errno(fmt::format("change mode of {}", temporary));
  }
  DO(write_all(fd.get(), text, temporary));
  if (fsync(fd.get()) != 0) return sys::fail_errno(fmt::format("flush {}", temporary));
  return fd.close_checked();
}

void add_once(std::vector<std::string>& names, const std::string& name) {
  if (std::ranges::find(names, name) == names.end()) names.push_back(name);
}

}  // namespace

std::string rewrite_lines(std::string_view text, InnerComments comments,
                          const std::function<Verdict(std::string_view logical)>& judge) {
  const auto logical = config::split_logical_lines(text);
  std::string out;
  std::size_t next = 0;  // of the logical lines
  unsigned number = 0;
  Verdict verdict;
  std::size_t place = 0;  // in `out`, of what replaces the present line
  const auto end_line = [&] {
    if (verdict.change == Verdict::Change::kReplace) out.insert(place, verdict.text + '\n');
    verdict = {};
  };
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++number;

    const std::string_view content = trim(line);
    const bool is_text = !content.empty() && content.front() != '#';
    if (is_text) {
      const bool is_first = next < logical.size() && number == logical[next].first;
      if (is_first) {
        end_line();
        verdict = judge(logical[next].text);
        ++next;
      }
      switch (verdict.change) {
        case Verdict::Change::kKeep:
          break;
        case Verdict::Change::kReplace:
          if (is_first || comments == InnerComments::kBefore) place = out.size();
          continue;
        case Verdict::Change::kRemove:
          continue;
        case Verdict::Change::kComment:
          out += '#';
          break;
      }
    }
    out += line;
    out += '\n';
  }
  end_line();
  return out;
}

std::string edit_main_cf(std::string_view text, const std::vector<MainEdit>& edits,
                         std::vector<std::string>* repeated) {
  std::set<std::string, std::less<>> done;
  std::string out =
      rewrite_lines(text, InnerComments::kBehind, [&](std::string_view line) -> Verdict {
        const auto setting = config::parse_setting(line);
        if (!setting) return {};
        for (const MainEdit& edit : edits) {
          if (edit.name != setting->first) continue;
          const bool is_new = done.insert(edit.name).second;
          if (!is_new && repeated != nullptr) add_once(*repeated, edit.name);
          if (edit.kind == MainEdit::Kind::kComment) return {Verdict::Change::kComment, ""};
          if (edit.kind == MainEdit::Kind::kRemove) return {Verdict::Change::kRemove, ""};
          return {Verdict::Change::kReplace, fmt::format("{} = {}", edit.name, edit.value)};
        }
        return {};
      });
  for (const MainEdit& edit : edits) {
    if (edit.kind == MainEdit::Kind::kSet && done.insert(edit.name).second) {
      out += fmt::format("{} = {}\n", edit.name, edit.value);
    }
  }
  return out;
}

std::string edit_master_cf(std::string_view text,
                           const std::function<Verdict(const config::Service& service)>& judge) {
  return rewrite_lines(text, InnerComments::kBefore, [&](std::string_view line) -> Verdict {
    const auto service = config::parse_service(line, "", 0);
    return service ? judge(*service) : Verdict{};
  });
}

Result<void> edit_file(const std::string& path,
                       const std::function<Result<std::string>(std::string_view text)>& change) {
  char* const resolved = ::realpath(path.c_str(), nullptr);
  if (resolved == nullptr) return sys::fail_errno(fmt::format("open {} for reading", path));
  const std::string real = resolved;
  std::free(resolved);

  const std::string directory = std::string(split_at_last(real, '/').first) + "/";
  const sys::Fd lock(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock) return sys::fail_errno(fmt::format("open {}", directory));
  if (flock(lock.get(), LOCK_EX) != 0) return sys::fail_errno(fmt::format("lock {}", directory));

  struct stat status{};
  if (stat(real.c_str(), &status) != 0) return sys::fail_errno(fmt::format("open {}", real));
  TRY(const std::string before, config::read_file(real, config::kMaxConfigFile));
  TRY(const std::string after, change(before));
  if (after == before) return {};
  const std::string temporary = real + ".tmp";
  if (auto written = write_replacement(temporary, status, after); !written) {
    ::unlink(temporary.c_str());
    return written;
  }
  if (::rename(temporary.c_str(), real.c_str()) != 0) {
    return sys::fail_errno(fmt::format("rename {}", temporary));
  }
  if (fsync(lock.get()) != 0) return sys::fail_errno(fmt::format("flush {}", directory));
  return {};
}

}  // namespace postern::control
