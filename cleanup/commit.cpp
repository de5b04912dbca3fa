#include "cleanup/commit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "common/queuefile/reader.h"

namespace postern::cleanup {

Result<void> QueueFile::failed(std::string_view doing, int error) {
  is_disk_full_ = error == ENOSPC || error == EDQUOT;
  discard();
  return sys::fail_errno(doing, error);
}

Result<void> QueueFile::write(std::string_view bytes) {
  if (!exists_) {
    errno = 0;
    auto created = dirs_.create(queue_, id_);
    if (!created) {
      is_disk_full_ = errno == ENOSPC || errno == EDQUOT;
      return std::unexpected(std::move(created).error());
    }
    if (!*created) return fail(Error::Kind::kDamaged, "queue id " + id_ + " is taken");
    fd_ = std::move(**created);
    exists_ = true;
  }
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd_.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failed("write queue file", errno);
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

Result<std::string> QueueFile::read(std::uint64_t offset, std::size_t size) const {
  std::string text(size, '\0');
  ssize_t count = 0;
  do {
    count = ::pread(fd_.get(), text.data(), text.size(), static_cast<off_t>(offset));
  } while (count < 0 && errno == EINTR);
  if (count < 0) return sys::fail_errno("read queue file");
  text.resize(static_cast<std::size_t>(count));
  return text;
}

Result<sys::Fd> QueueFile::open_reader() const {
  TRY(auto opened, dirs_.open_message(queue_, id_));
  if (!opened) return fail_temporary("queue file is gone");
  return *std::move(opened);
}

Result<void> QueueFile::mark(queuefile::StateWrite state) {
  return queuefile::write_state(fd_.get(), state.offset, state.state);
}

Result<void> QueueFile::seal() {
  if (::fchmod(fd_.get(), queuefile::kCommittedMode) < 0) return failed("mark queue file", errno);
  // With its blocks allocated now, the flush of another file of the batch commits this one as well.
  ::sync_file_range(fd_.get(), 0, 0, SYNC_FILE_RANGE_WRITE);
  return {};
}

Result<void> QueueFile::commit() {
  if (::fsync(fd_.get()) < 0) return failed("flush queue file", errno);
  if (const int fd = fd_.release(); ::close(fd) < 0 && errno != EINTR) {
    return failed("close queue file", errno);
  }
  exists_ = false;  // nothing is left to discard
  return {};
}

void QueueFile::discard() {
  if (!exists_) return;
  exists_ = false;
  fd_.reset();
  // Our own file, that nobody was told of.
  [[maybe_unused]] const auto removed = dirs_.remove(queue_, id_);
}

}  // namespace postern::cleanup
