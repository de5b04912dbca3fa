// queue_dir.h - the directories of the queue: where a message is, how it moves, who else is there.
//
// Everything goes through one descriptor of queue_directory, relative and never following a link,
// so it works behind a chroot and cannot be led astray by what lies about in a directory.
//
// hash_queue_names names the queues whose messages are spread over subdirectories of one character
// each, hash_queue_depth deep: deferred/3/3A15C... A scan finds messages at any depth, so that
// both may be changed with mail in the queue; a message found at another place than its own is
// moved like any other, by the path it was found at.

#pragma once

#include <dirent.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/sys/fd.h"

namespace postern::queuefile {

enum class Queue : unsigned char {
  kMaildrop,
  kHold,
  kIncoming,
  kActive,
  kDeferred,
  kCorrupt,
  kBounce,
  kDefer,
  kTrace,
  kFlush,
  kSaved,
};
inline constexpr std::size_t kQueues = 11;
inline constexpr std::array<Queue, kQueues> kAllQueues = {
    Queue::kMaildrop, Queue::kHold,    Queue::kIncoming, Queue::kActive,
    Queue::kDeferred, Queue::kCorrupt, Queue::kBounce,   Queue::kDefer,
    Queue::kTrace,    Queue::kFlush,   Queue::kSaved};

inline constexpr unsigned kMaxHashDepth = 5;

[[nodiscard]] std::string_view queue_name(Queue queue);
[[nodiscard]] std::optional<Queue> find_queue(std::string_view name);

struct QueueEntry {
  std::string id;
  std::string path;  // below queue_directory

  friend bool operator==(const QueueEntry&, const QueueEntry&) = default;
};

// Walks one queue, a few directory entries at a time; messages that come and go meanwhile may or
// may not be seen. Only regular files with the name of a queue id are given.
class QueueScan {
 public:
  // Told of each thing that is no message: its path and what it is. May be empty.
  using OnStray = std::function<void(std::string_view path, std::string_view what)>;

  // The next message, nothing at the end. An error is about one directory; the next call goes on
  // with the one after it.
  [[nodiscard]] Result<std::optional<QueueEntry>> next();

 private:
  friend class QueueDirs;
  struct CloseDir {
    void operator()(DIR* dir) const { ::closedir(dir); }
  };
  struct Level {
    std::unique_ptr<DIR, CloseDir> dir;
    std::string path;
  };

  QueueScan(int root, std::string path, OnStray on_stray)
      : root_(root), top_(std::move(path)), on_stray_(std::move(on_stray)) {}
  [[nodiscard]] Result<void> enter(std::string path);
  void stray(std::string_view path, std::string_view what) const;

  int root_;
  std::optional<std::string> top_;  // not yet entered
  OnStray on_stray_;
  std::vector<Level> levels_;  // at most kMaxHashDepth + 1
};

class QueueDirs {
 public:
  struct Hashing {
    std::vector<std::string> names = {"deferred", "defer"};
    unsigned depth = 1;
  };

  [[nodiscard]] static Result<QueueDirs> open(const std::string& queue_directory,
                                              const Hashing& hashing);
  QueueDirs(sys::Fd root, const Hashing& hashing);

  [[nodiscard]] int root() const { return root_.get(); }

  // The place of a message, below queue_directory. Precondition of this and of all below: the id
  // is a valid one.
  [[nodiscard]] std::string path_of(Queue queue, std::string_view id) const;

  // A new file of mode 0600 to write to, for O_EXCL. Makes a missing hash directory (mode 0700).
  // Nothing is given if the name is taken.
  [[nodiscard]] Result<std::optional<sys::Fd>> create(Queue queue, std::string_view id) const;

  // A message for reading, or nothing if it is not there. Never waits on a FIFO.
  [[nodiscard]] Result<std::optional<sys::Fd>> open_message(Queue queue, std::string_view id,
                                                            int flags = 0) const;
  // The same, where a scan has found it.
  [[nodiscard]] Result<std::optional<sys::Fd>> open_path(const std::string& path,
                                                         int flags = 0) const;

  // The queue that holds the message, of those listed, in their order.
  [[nodiscard]] std::optional<Queue> find(std::string_view id,
                                          const std::vector<Queue>& queues) const;

  // Moves a message. false: it is not there any more. An existing message of that name in the
  // target is never replaced, that is an error. Not durable.
  [[nodiscard]] Result<bool> move(Queue from, Queue to, std::string_view id) const;
  [[nodiscard]] Result<bool> move_path(const std::string& path, Queue to,
                                       std::string_view id) const;

  // Sets a damaged message aside in corrupt/, under another name if that one is taken there.
  // Gives the path it has now; nothing if it is not there.
  [[nodiscard]] Result<std::optional<std::string>> set_aside(const QueueEntry& entry) const;

  // false: it was not there.
  [[nodiscard]] Result<bool> remove(Queue queue, std::string_view id) const;

  // The scan uses this object's descriptor and must not outlive it.
  [[nodiscard]] QueueScan scan(Queue queue, QueueScan::OnStray on_stray = {}) const;

 private:
  [[nodiscard]] Result<void> make_parents(const std::string& path) const;
  [[nodiscard]] Result<bool> rename_new(const std::string& from, const std::string& to) const;

  sys::Fd root_;
  std::array<bool, kQueues> hashed_{};
  unsigned depth_ = 0;
};

}  // namespace postern::queuefile
