#include "common/queuefile/reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cassert>

#include "common/sys/fd.h"

namespace postern::queuefile {

namespace {

constexpr std::size_t kTailRead = 4096;
constexpr std::size_t kFrontRead = std::size_t{16} << 10;
constexpr std::size_t kChunk = std::size_t{256} << 10;

std::unexpected<Refusal> refuse(RefusalKind kind, std::string text) {
  return std::unexpected(Refusal{kind, std::move(text)});
}

std::unexpected<Refusal> damaged(const Error& error) {
  return refuse(RefusalKind::kDamaged, error.text);
}

std::unexpected<Refusal> not_read(const Error& error) {
  return refuse(RefusalKind::kNotRead, error.text);
}

bool is_all_zero(std::string_view bytes) {
  return bytes.find_first_not_of('\0') == std::string_view::npos;
}

std::unexpected<Refusal> nothing_but_zeros() {
  // Some file systems keep the size and lose the bytes when the power goes.
  return refuse(RefusalKind::kUnfinished, "nothing but zeros");
}

// What a file is that does not end as one of ours.
std::unexpected<Refusal> without_trailer(std::string_view beginning) {
  if (is_foreign(beginning)) return refuse(RefusalKind::kForeign, "queue file of Postfix");
  const std::string_view version = kVersionLine.substr(0, beginning.size());
  if (!beginning.starts_with(version)) {
    return refuse(RefusalKind::kDamaged, "not a queue file: no version line");
  }
  return refuse(RefusalKind::kNoTrailer, "no trailer");
}

struct Runs {
  std::string_view head;  // version line and envelope
  std::string_view extra;
};

Opened<Envelope> parse_runs(const Runs& runs, const Layout& layout, Recipients recipients) {
  if (!runs.head.starts_with(kVersionLine)) {
    return refuse(RefusalKind::kDamaged, "bad version line at offset 0");
  }
  auto envelope =
      read_envelope(runs.head.substr(layout.envelope.offset), layout.envelope.offset, recipients);
  if (!envelope) return damaged(envelope.error());
  if (!runs.extra.empty()) {
    if (auto read = read_amendment(runs.extra, layout.extra.offset, *envelope, recipients); !read) {
      return damaged(read.error());
    }
  }
  if (envelope->recipients.size() > kMaxRecipients) {
    return refuse(RefusalKind::kDamaged, "too many recipients");
  }
  envelope->message_size = layout.message_size;
  return *std::move(envelope);
}

// Adds bytes that start at `offset` of the file, with every state byte within at kPending.
void add_neutral(Checksum& checksum, std::string_view bytes, std::uint64_t offset,
                 const Envelope& envelope) {
  constexpr std::string_view kNeutral = ".";
  static_assert(kNeutral.front() == static_cast<char>(State::kPending));
  std::size_t done = 0;
  const auto pass = [&](std::uint64_t state_offset) {
    if (state_offset < offset || state_offset - offset >= bytes.size()) return;
    const std::size_t at = state_offset - offset;
    if (at < done) return;  // out of order: not written by us, so the checksum will not fit
    checksum.add(bytes.substr(done, at - done));
    checksum.add(kNeutral);
    done = at + 1;
  };
  // The warning's record stands before the recipients'; both are in file order.
  if (envelope.delay_warning) pass(envelope.delay_warning->state_offset);
  for (const Recipient& recipient : envelope.recipients) pass(recipient.state_offset);
  checksum.add(bytes.substr(done));
}

std::unexpected<Refusal> wrong_checksum(const Layout& layout, std::uint32_t computed) {
  return refuse(RefusalKind::kDamaged,
                fmt::format("checksum of the file is {:08x}, its trailer says {:08x}", computed,
                            layout.checksum));
}

// The bytes of the trailer that the checksum covers.
std::string_view covered_trailer(std::string_view tail) {
  return tail.substr(tail.size() - kTrailerSize, kCoveredTrailer);
}

Result<void> pread_all(int fd, char* to, std::size_t size, std::uint64_t offset) {
  while (size > 0) {
    const ssize_t n = ::pread(fd, to, size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return sys::fail_errno("read queue file");
    if (n == 0) return fail_temporary("read queue file: it became shorter");
    to += n;
    size -= static_cast<std::size_t>(n);
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<bool> is_all_zero(int fd, std::uint64_t size) {
  std::string chunk(kChunk, '\0');
  for (std::uint64_t at = 0; at < size;) {
    const std::size_t part = std::min<std::uint64_t>(kChunk, size - at);
    DO(pread_all(fd, chunk.data(), part, at));
    if (!is_all_zero(std::string_view(chunk).substr(0, part))) return false;
    at += part;
  }
  return true;
}

Result<std::string> pread_string(int fd, std::uint64_t offset, std::size_t size) {
  std::string bytes(size, '\0');
  DO(pread_all(fd, bytes.data(), size, offset));
  return bytes;
}

// The message without its recipients, where all that stands before them is in the first bytes, and
// nothing behind the content. Nothing where it is not so.
std::optional<Message> open_front(int fd, const Layout& layout) {
  if (layout.envelope.end() <= kFrontRead || layout.extra.length > 0) return std::nullopt;
  const auto front = pread_string(fd, 0, kFrontRead);
  if (!front) return std::nullopt;
  auto envelope = parse_runs({*front, {}}, layout, Recipients::kStopThere);
  if (!envelope) return std::nullopt;
  return Message{.envelope = *std::move(envelope), .layout = layout};
}

Opened<Message> open_large(int fd, std::uint64_t size, const OpenOptions& options) {
  const bool is_verified = options.verify == Verify::kEverything;

  auto tail = pread_string(fd, size - kTailRead, kTailRead);
  if (!tail) return not_read(tail.error());
  if (!has_trailer(*tail)) {
    const auto beginning = pread_string(fd, 0, kTailRead);
    if (!beginning) return not_read(beginning.error());
    if (is_all_zero(*tail)) {
      const auto is_zero = is_all_zero(fd, size);
      if (!is_zero) return not_read(is_zero.error());
      if (*is_zero) return nothing_but_zeros();
    }
    return without_trailer(*beginning);
  }
  auto layout = parse_trailer(*tail, size);
  if (!layout) return damaged(layout.error());

  if (!is_verified && options.recipients != Recipients::kRead) {
    // Of a list with ten thousand members each delivery would read all of them.
    if (auto short_of_them = open_front(fd, *layout)) return *std::move(short_of_them);
  }
  const auto head = pread_string(fd, 0, layout->envelope.end());
  if (!head) return not_read(head.error());
  const std::uint64_t beyond_extra = kTrailerSize + layout->extra.length;
  Result<std::string> extra = beyond_extra <= tail->size()
                                  ? tail->substr(tail->size() - beyond_extra, layout->extra.length)
                                  : pread_string(fd, layout->extra.offset, layout->extra.length);
  if (!extra) return not_read(extra.error());

  // The checksum leaves out the recipients' state bytes: it needs to know where they are.
  auto envelope =
      parse_runs({*head, *extra}, *layout, is_verified ? Recipients::kRead : options.recipients);
  if (!envelope) return std::unexpected(std::move(envelope).error());

  if (is_verified) {
    Checksum checksum;
    add_neutral(checksum, *head, 0, *envelope);
    std::string chunk(kChunk, '\0');
    for (std::uint64_t at = layout->envelope.end(); at < layout->extra.offset;) {
      const std::size_t part = std::min<std::uint64_t>(kChunk, layout->extra.offset - at);
      if (auto read = pread_all(fd, chunk.data(), part, at); !read) return not_read(read.error());
      checksum.add(std::string_view(chunk).substr(0, part));
      at += part;
    }
    add_neutral(checksum, *extra, layout->extra.offset, *envelope);
    checksum.add(covered_trailer(*tail));
    if (checksum.value() != layout->checksum) return wrong_checksum(*layout, checksum.value());
  }
  return Message{.envelope = *std::move(envelope), .layout = *layout};
}

}  // namespace

std::string_view Message::header() const {
  assert(is_in_memory());
  return std::string_view(bytes).substr(layout.header.offset, layout.header.length);
}

std::string_view Message::body() const {
  assert(is_in_memory());
  return std::string_view(bytes).substr(layout.body.offset, layout.body.length);
}

bool is_foreign(std::string_view beginning) {
  // 'C', a length of one byte, then that many digits and spaces: sizes and counts in text. Files
  // still in the maildrop directory begin with a time: 'T', length, digits and spaces.
  if (beginning.size() < 2 || (beginning[0] != 'C' && beginning[0] != 'T')) return false;
  const auto length = static_cast<unsigned char>(beginning[1]);
  if (length < 8 || length >= 0x80 || beginning.size() < 2U + length) return false;
  const std::string_view payload = beginning.substr(2, length);
  return payload.find_first_not_of("0123456789 -") == std::string_view::npos &&
         payload.find_first_of("0123456789") != std::string_view::npos;
}

Opened<Message> parse_message(std::string_view file) {
  if (file.empty()) return refuse(RefusalKind::kUnfinished, "empty");
  if (!has_trailer(file)) {
    if (is_all_zero(file)) return nothing_but_zeros();
    return without_trailer(file.substr(0, kTailRead));
  }
  auto layout = parse_trailer(file, file.size());
  if (!layout) return damaged(layout.error());

  const Runs runs{file.substr(0, layout->envelope.end()),
                  file.substr(layout->extra.offset, layout->extra.length)};
  auto envelope = parse_runs(runs, *layout, Recipients::kRead);
  if (!envelope) return std::unexpected(std::move(envelope).error());

  Checksum checksum;
  add_neutral(checksum, runs.head, 0, *envelope);
  checksum.add(file.substr(runs.head.size(), layout->extra.offset - runs.head.size()));
  add_neutral(checksum, runs.extra, layout->extra.offset, *envelope);
  checksum.add(covered_trailer(file));
  if (checksum.value() != layout->checksum) return wrong_checksum(*layout, checksum.value());
  return Message{.envelope = *std::move(envelope), .layout = *layout};
}

Opened<Message> open_message(int fd, const OpenOptions& options) {
  struct stat status{};
  if (::fstat(fd, &status) < 0) {
    return not_read({.text = "stat queue file: " + sys::errno_text(errno)});
  }
  if (!S_ISREG(status.st_mode)) return refuse(RefusalKind::kNotOurs, "not a regular file");
  if (options.owner && status.st_uid != *options.owner) {
    return refuse(RefusalKind::kNotOurs, fmt::format("owned by uid {}", status.st_uid));
  }
  const mode_t mode = status.st_mode & 07777;
  if (mode == kUnfinishedMode) return refuse(RefusalKind::kUnfinished, "not committed");
  if (options.modes == Modes::kCommitted && (mode & ~kForcedExpireBit) != kCommittedMode) {
    return refuse(RefusalKind::kNotOurs, fmt::format("mode is {:04o}, not 0700", mode));
  }
  if (status.st_size == 0) return refuse(RefusalKind::kUnfinished, "empty");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > kMaxFile) return refuse(RefusalKind::kDamaged, "too large");

  Opened<Message> message = refuse(RefusalKind::kNotRead, "");
  if (size <= kSmallFile) {
    auto bytes = pread_string(fd, 0, size);
    if (!bytes) return not_read(bytes.error());
    message = parse_message(*bytes);
    if (message) message->bytes = *std::move(bytes);
  } else {
    message = open_large(fd, size, options);
  }
  if (!message) return message;
  message->forced_expire = (mode & kForcedExpireBit) != 0;
  if (options.recipients != Recipients::kRead) {
    // Not "= {}", which keeps the memory.
    message->envelope.recipients = std::vector<Recipient>();
  }
  return message;
}

Result<std::string> read_extent(int fd, Extent extent, std::uint64_t limit) {
  if (extent.length > limit) return fail(Error::Kind::kPermanent, "part of the message too large");
  return pread_string(fd, extent.offset, extent.length);
}

}  // namespace postern::queuefile
