#include "anvil/line_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "common/base/text.h"
#include "common/queuefile/writer.h"

namespace postern::anvil {

Result<std::vector<std::string>> LineFile::read() const {
  std::vector<std::string> lines;
  if (directory_ < 0) return lines;
  const sys::Fd fd(::openat(directory_, name_.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT) return lines;
    return sys::fail_errno("open " + name_);
  }
  struct stat st{};
  if (::fstat(fd.get(), &st) < 0) return sys::fail_errno("stat " + name_);
  if (static_cast<std::size_t>(st.st_size) > kMaxSize) {
    return fail_temporary(name_ + " is too large to be read");
  }
  std::string text;
  text.reserve(static_cast<std::size_t>(st.st_size));
  std::array<char, 65536> piece;
  for (ssize_t count = 0; (count = ::read(fd.get(), piece.data(), piece.size())) != 0;) {
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return sys::fail_errno("read " + name_);
    text.append(piece.data(), static_cast<std::size_t>(count));
    if (text.size() > kMaxSize) return fail_temporary(name_ + " is too large to be read");
  }
  // The last line counts only with its end.
  const auto whole = std::string_view(text).substr(0, text.rfind('\n') + 1);
  for (const auto line : split_words(whole, "\n")) lines.emplace_back(line);
  return lines;
}

Result<void> LineFile::append(std::string_view line) {
  if (directory_ < 0) return {};
  if (!fd_) {
    fd_.reset(::openat(directory_, name_.c_str(),
                       O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd_) return sys::fail_errno("open " + name_);
  }
  ++appended_;
  return queuefile::write_all(fd_.get(), std::string(line) + "\n");
}

Result<void> LineFile::replace(const std::vector<std::string>& lines) {
  appended_ = 0;
  if (directory_ < 0) return {};
  const std::string next = name_ + ".new";
  sys::Fd fd(::openat(directory_, next.c_str(),
                      O_WRONLY | O_TRUNC | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return sys::fail_errno("open " + next);
  std::string text;
  for (const auto& line : lines) {
    text += line;
    text += '\n';
  }
  DO(queuefile::write_all(fd.get(), text));
  if (::renameat(directory_, next.c_str(), directory_, name_.c_str()) < 0) {
    return sys::fail_errno("rename " + next);
  }
  fd_.reset();
  return {};
}

}  // namespace postern::anvil
