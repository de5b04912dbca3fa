#include "common/mailauth/content.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/sys/fd.h"

namespace postern::mailauth {

namespace {

constexpr std::size_t kPiece = std::size_t{64} << 10;

// Up to kPiece of the `length` bytes at `offset`; the file must have them. Blocks, so it runs in
// the worker pool.
Result<std::string_view> read_piece(int fd, std::uint64_t offset, std::uint64_t length,
                                    std::string& buffer) {
  buffer.resize(kPiece);
  const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(length, kPiece));
  ssize_t count = 0;
  do {
    count = ::pread(fd, buffer.data(), wanted, static_cast<off_t>(offset));
  } while (count < 0 && errno == EINTR);
  if (count < 0) return sys::fail_errno("read message");
  if (count == 0) return fail_temporary("read message: it is too short");
  return std::string_view(buffer).substr(0, static_cast<std::size_t>(count));
}

// The hashes belong to the job meanwhile.
Result<void> hash_file(int fd, std::uint64_t offset, std::uint64_t length, BodyHashes& hashes) {
  std::string buffer;
  while (length > 0) {
    TRY(const auto piece, read_piece(fd, offset, length, buffer));
    hashes.append(piece);
    offset += piece.size();
    length -= piece.size();
  }
  return {};
}

Result<void> check_file(const ipc::mailauth::Content& content, int file) {
  if (file >= 0 && content.body_offset >= 0 && content.body_length >= 0) return {};
  return fail_temporary("no message came with the question");
}

}  // namespace

loop::Task<Result<void>> hash_body(loop::WorkerPool& pool, const ipc::mailauth::Content& content,
                                   int file, BodyHashes* hashes) {
  if (!hashes->is_wanted()) co_return Result<void>{};
  if (!content.is_body_in_file) {
    hashes->append(content.body);
    hashes->finish();
    co_return Result<void>{};
  }
  CO_DO(check_file(content, file));
  const auto offset = static_cast<std::uint64_t>(content.body_offset);
  const auto length = static_cast<std::uint64_t>(content.body_length);
  const Result<void> read = co_await pool.run(
      [file, offset, length, hashes] { return hash_file(file, offset, length, *hashes); });
  if (!read) co_return read;
  hashes->finish();
  co_return Result<void>{};
}

loop::Task<Result<std::string>> BodyReader::next() {
  if (!content_.is_body_in_file) {
    const auto piece =
        std::string_view(content_.body).substr(std::min(done_, content_.body.size()));
    done_ = content_.body.size();
    co_return std::string(piece);
  }
  CO_DO(check_file(content_, file_));
  const auto offset = static_cast<std::uint64_t>(content_.body_offset) + done_;
  const auto length = static_cast<std::uint64_t>(content_.body_length) - done_;
  if (length == 0) co_return std::string();
  const int file = file_;
  Result<std::string> piece = co_await pool_.run([file, offset, length]() -> Result<std::string> {
    std::string buffer;
    TRY(const auto read, read_piece(file, offset, length, buffer));
    buffer.resize(read.size());
    return buffer;
  });
  if (piece) done_ += piece->size();
  co_return piece;
}

}  // namespace postern::mailauth
