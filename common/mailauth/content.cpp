#include "common/mailauth/content.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace postern::mailauth {

namespace {

constexpr std::size_t kPiece = std::size_t{64} << 10;

// Blocks, so it runs in the worker pool. The hashes belong to the job meanwhile.
Result<void> hash_file(int fd, std::uint64_t offset, std::uint64_t length, BodyHashes& hashes) {
  std::string buffer(kPiece, '\0');
  while (length > 0) {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(length, kPiece));
    const ssize_t count = ::pread(fd, buffer.data(), wanted, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return sys::fail_errno("read message");
    if (count == 0) return fail_temporary("read message: it is too short");
    const auto size = static_cast<std::size_t>(count);
    hashes.append(std::string_view(buffer).substr(0, size));
    offset += size;
    length -= size;
  }
  return {};
}

}  // namespace

loop::Task<Result<void>> hash_body(loop::WorkerPool& pool, const ipc::mailauth::Content& content,
                                   sys::Fd file, BodyHashes* hashes) {
  if (!hashes->is_wanted()) co_return Result<void>{};
  if (!content.is_body_in_file) {
    hashes->append(content.body);
    hashes->finish();
    co_return Result<void>{};
  }
  if (!file || content.body_offset < 0 || content.body_length < 0) {
    co_return fail_temporary("no message came with the question");
  }
  const int fd = file.get();
  const auto offset = static_cast<std::uint64_t>(content.body_offset);
  const auto length = static_cast<std::uint64_t>(content.body_length);
  const Result<void> read = co_await pool.run(
      [fd, offset, length, hashes] { return hash_file(fd, offset, length, *hashes); });
  if (!read) co_return read;
  hashes->finish();
  co_return Result<void>{};
}

}  // namespace postern::mailauth
