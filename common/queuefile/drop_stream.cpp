#include "common/queuefile/drop_stream.h"

#include <unistd.h>

#include <array>
#include <cassert>
#include <cerrno>

#include "common/queuefile/writer.h"
#include "common/sys/fd.h"

namespace postern::queuefile {

namespace {

constexpr std::size_t kLengthSize = 4;

Result<void> read_exactly(int fd, char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t count = ::read(fd, data, size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return sys::fail_errno("read message");
    if (count == 0) return fail(Error::Kind::kDamaged, "message ends early");
    data += count;
    size -= static_cast<std::size_t>(count);
  }
  return {};
}

}  // namespace

Result<void> write_drop_frame(int fd, std::string_view bytes) {
  assert(bytes.size() <= kMaxDropFrame);
  std::string frame;
  for (unsigned i = 0; i < kLengthSize; ++i) {
    frame += static_cast<char>(bytes.size() >> (8 * i) & 0xFF);
  }
  frame += bytes;
  return write_all(fd, frame);
}

Result<std::string> read_drop_frame(int fd) {
  std::array<char, kLengthSize> length{};
  DO(read_exactly(fd, length.data(), length.size()));
  std::uint32_t size = 0;
  for (unsigned i = 0; i < kLengthSize; ++i) {
    size |= static_cast<std::uint32_t>(static_cast<unsigned char>(length[i])) << (8 * i);
  }
  if (size > kMaxDropFrame) return fail(Error::Kind::kDamaged, "frame is too large");
  std::string bytes(size, '\0');
  DO(read_exactly(fd, bytes.data(), bytes.size()));
  return bytes;
}

}  // namespace postern::queuefile
