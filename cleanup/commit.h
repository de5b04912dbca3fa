// commit.h - the moment mail becomes ours.
//
// The order that survives a power cut (measured on ext4 with and without journal, and XFS): the
// file is created under its final name with mode 0600, everything is written, fchmod to 0700 makes
// it a message, fsync makes it durable, close is checked. Only then is it answered. No rename
// follows. After a failed write or flush the file is removed and never flushed again: the kernel
// may have dropped the dirty pages and would report success.
//
// A file with mode 0600, or without trailer, was never acknowledged to anybody.

#pragma once

#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/queuefile/queue_dir.h"
#include "common/queuefile/writer.h"

namespace postern::cleanup {

// One queue file in the making. Blocks: all of it runs in the worker pool.
class QueueFile {
 public:
  // `dirs` outlives this.
  QueueFile(const queuefile::QueueDirs& dirs, queuefile::Queue queue, std::string id)
      : dirs_(dirs), queue_(queue), id_(std::move(id)) {}
  ~QueueFile() { discard(); }
  QueueFile(const QueueFile&) = delete;
  QueueFile& operator=(const QueueFile&) = delete;

  // Creates the file if this is the first piece. kDamaged error: the name is taken.
  [[nodiscard]] Result<void> write(std::string_view bytes);
  // Up to `size` bytes of what was written.
  [[nodiscard]] Result<std::string> read(std::uint64_t offset, std::size_t size) const;
  // A descriptor of what was written, for somebody else to read.
  [[nodiscard]] Result<sys::Fd> open_reader() const;
  // A state byte over what was written.
  [[nodiscard]] Result<void> mark(queuefile::StateWrite state);
  // All is written: marks the file as a message, and lets the disk begin.
  [[nodiscard]] Result<void> seal();
  // Durable when it returns without error. Precondition: seal().
  [[nodiscard]] Result<void> commit();
  // Removes what was not committed.
  void discard();

  // ENOSPC, EDQUOT or no inode left: 452 rather than 451.
  [[nodiscard]] bool is_disk_full() const { return is_disk_full_; }

 private:
  [[nodiscard]] Result<void> failed(std::string_view doing, int error);

  const queuefile::QueueDirs& dirs_;
  queuefile::Queue queue_;
  std::string id_;
  sys::Fd fd_;
  bool exists_ = false;
  bool is_disk_full_ = false;
};

}  // namespace postern::cleanup
