#include "common/queuefile/queue_dir.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/stat.h>

#include <algorithm>
#include <cassert>

#include "common/queuefile/queue_id.h"
#include "common/queuefile/reader.h"

namespace postern::queuefile {

namespace {

constexpr std::array<std::string_view, kQueues> kNames = {
    "maildrop", "hold",  "incoming", "active", "deferred", "corrupt",
    "bounce",   "defer", "trace",    "flush",  "saved"};
constexpr mode_t kDirectoryMode = 0700;
constexpr unsigned kMaxSetAsideTries = 100;

std::size_t index_of(Queue queue) { return static_cast<std::size_t>(queue); }

bool is_hash_name(std::string_view name) {
  const auto is_alnum = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  };
  return name.size() == 1 && (is_alnum(name.front()) || name.front() == '_');
}

unsigned char type_of(int dir, const char* name) {
  struct stat status{};
  if (::fstatat(dir, name, &status, AT_SYMLINK_NOFOLLOW) < 0) return DT_UNKNOWN;
  return static_cast<unsigned char>(IFTODT(status.st_mode));
}

std::string_view type_text(unsigned char type) {
  switch (type) {
    case DT_DIR:
      return "a directory";
    case DT_LNK:
      return "a symbolic link";
    case DT_FIFO:
      return "a FIFO";
    case DT_SOCK:
      return "a socket";
    case DT_BLK:
    case DT_CHR:
      return "a device";
    default:
      return "of unknown type";
  }
}

}  // namespace

std::string_view queue_name(Queue queue) { return kNames[index_of(queue)]; }

std::optional<Queue> find_queue(std::string_view name) {
  for (const Queue queue : kAllQueues) {
    if (queue_name(queue) == name) return queue;
  }
  return std::nullopt;
}

Result<std::optional<QueueEntry>> QueueScan::next() {
  if (top_) DO(enter(*std::exchange(top_, std::nullopt)));
  while (!levels_.empty()) {
    Level& level = levels_.back();
    errno = 0;
    const dirent* entry = ::readdir(level.dir.get());
    if (entry == nullptr) {
      const int error = errno;
      const std::string path = std::move(level.path);
      levels_.pop_back();
      if (error != 0) return sys::fail_errno("read directory " + path, error);
      continue;
    }
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    unsigned char type = entry->d_type;
    if (type == DT_UNKNOWN) type = type_of(::dirfd(level.dir.get()), entry->d_name);
    if (type == DT_UNKNOWN) continue;  // it has gone meanwhile
    std::string path = fmt::format("{}/{}", level.path, name);
    if (type == DT_REG && is_valid_queue_id(name)) {
      return QueueEntry{std::string(name), std::move(path)};
    }
    if (type == DT_DIR && is_hash_name(name) && levels_.size() <= kMaxHashDepth) {
      DO(enter(std::move(path)));
    } else {
      stray(path, type == DT_REG ? "not named as a message" : type_text(type));
    }
  }
  return std::nullopt;
}

Result<void> QueueScan::enter(std::string path) {
  const int fd =
      ::openat(root_, path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT) return {};  // nothing was ever put there
    return sys::fail_errno("open directory " + path);
  }
  DIR* dir = ::fdopendir(fd);
  if (dir == nullptr) {
    const int error = errno;
    ::close(fd);
    return sys::fail_errno("open directory " + path, error);
  }
  levels_.push_back({std::unique_ptr<DIR, CloseDir>(dir), std::move(path)});
  return {};
}

void QueueScan::stray(std::string_view path, std::string_view what) const {
  if (on_stray_) on_stray_(path, what);
}

QueueDirs::QueueDirs(sys::Fd root, const Hashing& hashing)
    : root_(std::move(root)), depth_(std::min(hashing.depth, kMaxHashDepth)) {
  for (const std::string& name : hashing.names) {
    if (const std::optional<Queue> queue = find_queue(name)) hashed_[index_of(*queue)] = true;
  }
}

Result<QueueDirs> QueueDirs::open(const std::string& queue_directory, const Hashing& hashing) {
  sys::Fd root(::open(queue_directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) return sys::fail_errno("open " + queue_directory);
  return QueueDirs(std::move(root), hashing);
}

std::string QueueDirs::path_of(Queue queue, std::string_view id) const {
  assert(is_valid_queue_id(id));
  std::string path(queue_name(queue));
  if (hashed_[index_of(queue)]) {
    const std::string key = hash_key(id);
    for (unsigned level = 0; level < depth_; ++level) {
      path += '/';
      path += level < key.size() ? key[level] : '_';
    }
  }
  path += '/';
  path += id;
  return path;
}

Result<std::optional<sys::Fd>> QueueDirs::create(Queue queue, std::string_view id) const {
  const std::string path = path_of(queue, id);
  constexpr int kFlags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  int fd = ::openat(root(), path.c_str(), kFlags, kUnfinishedMode);
  if (fd < 0 && errno == ENOENT) {
    DO(make_parents(path));
    fd = ::openat(root(), path.c_str(), kFlags, kUnfinishedMode);
  }
  if (fd < 0 && errno == EEXIST) return std::nullopt;
  if (fd < 0) return sys::fail_errno("create " + path);
  return sys::Fd(fd);
}

Result<std::optional<sys::Fd>> QueueDirs::open_message(Queue queue, std::string_view id,
                                                       int flags) const {
  return open_path(path_of(queue, id), flags);
}

Result<std::optional<sys::Fd>> QueueDirs::open_path(const std::string& path, int flags) const {
  const int fd =
      ::openat(root(), path.c_str(), flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (fd < 0 && errno == ENOENT) return std::nullopt;
  if (fd < 0) return sys::fail_errno("open " + path);
  return sys::Fd(fd);
}

std::optional<Queue> QueueDirs::find(std::string_view id, const std::vector<Queue>& queues) const {
  for (const Queue queue : queues) {
    if (::faccessat(root(), path_of(queue, id).c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
      return queue;
    }
  }
  return std::nullopt;
}

Result<bool> QueueDirs::move(Queue from, Queue to, std::string_view id) const {
  return move_path(path_of(from, id), to, id);
}

Result<bool> QueueDirs::move_path(const std::string& path, Queue to, std::string_view id) const {
  const std::string target = path_of(to, id);
  if (target == path) return true;
  return rename_new(path, target);
}

Result<std::optional<std::string>> QueueDirs::set_aside(const QueueEntry& entry) const {
  const std::string wanted = path_of(Queue::kCorrupt, entry.id);
  std::string target = wanted;
  for (unsigned n = 1; n <= kMaxSetAsideTries; ++n) {
    const auto moved = rename_new(entry.path, target);
    if (moved) return *moved ? std::optional(target) : std::nullopt;
    if (::faccessat(root(), target.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) != 0) {
      return std::unexpected(moved.error());
    }
    target = fmt::format("{}.{}", wanted, n);
  }
  return fail_temporary(fmt::format("set {} aside: too many of that name in corrupt", entry.path));
}

Result<bool> QueueDirs::remove(Queue queue, std::string_view id) const {
  const std::string path = path_of(queue, id);
  if (::unlinkat(root(), path.c_str(), 0) == 0) return true;
  if (errno == ENOENT) return false;
  return sys::fail_errno("remove " + path);
}

QueueScan QueueDirs::scan(Queue queue, QueueScan::OnStray on_stray) const {
  return QueueScan(root(), std::string(queue_name(queue)), std::move(on_stray));
}

Result<void> QueueDirs::make_parents(const std::string& path) const {
  // The queue's own directory is made at set-up; only what hangs below it is made here.
  for (std::size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string parent = path.substr(0, slash);
    if (parent.find('/') == std::string::npos) continue;
    if (::mkdirat(root(), parent.c_str(), kDirectoryMode) < 0 && errno != EEXIST) {
      return sys::fail_errno("create directory " + parent);
    }
  }
  return {};
}

Result<bool> QueueDirs::rename_new(const std::string& from, const std::string& to) const {
  const auto rename_once = [&] {
    return ::renameat2(root(), from.c_str(), root(), to.c_str(), RENAME_NOREPLACE);
  };
  if (rename_once() == 0) return true;
  if (errno == ENOENT) {
    // Either the message or the hash directory it should go to is missing; or the whole queue,
    // where somebody has removed it: no reason to take the message for gone.
    const auto is_there = [&] {
      return ::faccessat(root(), from.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    };
    if (!is_there()) return false;
    DO(make_parents(to));
    if (rename_once() == 0) return true;
    if (errno == ENOENT && !is_there()) return false;
    if (errno == ENOENT) return sys::fail_errno(fmt::format("rename {} to {}", from, to), ENOENT);
  }
  if (errno == EINVAL || errno == ENOSYS) {
    // A file system without RENAME_NOREPLACE: the gap between the two calls is ours alone, for
    // only qmgr and the superuser's tools move messages.
    if (::faccessat(root(), to.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
      return sys::fail_errno(fmt::format("rename {} to {}", from, to), EEXIST);
    }
    if (::renameat(root(), from.c_str(), root(), to.c_str()) == 0) return true;
    if (errno == ENOENT) return false;
  }
  return sys::fail_errno(fmt::format("rename {} to {}", from, to));
}

}  // namespace postern::queuefile
