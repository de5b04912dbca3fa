#include "common/agent/mailbox.h"

#include <fmt/format.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <optional>
#include <span>

#include "common/base/text.h"
#include "common/sys/fd.h"

namespace postern::agent {

namespace {

constexpr std::size_t kChunk = std::size_t{128} << 10;
constexpr std::string_view kFrom = "From ";

std::string one_line(std::string_view text) {
  std::string line(text);
  std::ranges::replace_if(
      line, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return line;
}

// Collects what is written, so that a small message is one write.
class Output {
 public:
  Output(int fd, std::uint64_t limit) : fd_(fd), limit_(limit) {}

  [[nodiscard]] int add(std::string_view bytes) {
    if (const int error = count(bytes.size()); error != 0) return error;
    pending_ += bytes;
    return pending_.size() < kChunk ? 0 : flush();
  }

  [[nodiscard]] int flush() {
    const int error = write_bytes(fd_, pending_);
    pending_.clear();
    return error;
  }

  // The kernel copies; ENOTSUP where it cannot, with nothing copied.
  [[nodiscard]] int copy(int from, queuefile::Extent extent) {
    if (const int error = count(extent.length); error != 0) return error;
    if (const int error = flush(); error != 0) return error;
    auto offset = static_cast<off_t>(extent.offset);
    for (std::uint64_t left = extent.length; left > 0;) {
      const ssize_t n = ::copy_file_range(from, &offset, fd_, nullptr, left, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        if (left < extent.length) return n == 0 ? ENODATA : errno;
        total_ -= extent.length;
        return ENOTSUP;  // EXDEV, EINVAL, ...; an error that is real comes again
      }
      left -= static_cast<std::uint64_t>(n);
    }
    return 0;
  }

 private:
  [[nodiscard]] int count(std::uint64_t size) {
    if (limit_ != 0 && (size > limit_ || total_ > limit_ - size)) return EFBIG;
    total_ += size;
    return 0;
  }

  int fd_;
  std::uint64_t limit_;
  std::uint64_t total_ = 0;
  std::string pending_;
};

// Puts '>' before lines that begin with "From ", wherever chunks are cut.
class LineFilter {
 public:
  LineFilter(Output& out, FromQuoting quoting) : out_(out), quoting_(quoting) {}

  [[nodiscard]] int add(std::string_view bytes) {
    if (quoting_ == FromQuoting::kNone) return out_.add(bytes);
    while (!bytes.empty()) {
      if (matched_ < kFrom.size()) {
        // At the start of a line: hold back what may become "From ".
        while (!bytes.empty() && matched_ < kFrom.size() && bytes.front() == kFrom[matched_]) {
          ++matched_;
          bytes.remove_prefix(1);
        }
        if (matched_ < kFrom.size() && bytes.empty()) return 0;
        if (const int error = release(); error != 0) return error;
      }
      const std::size_t line_end = bytes.find('\n');
      const std::size_t part = line_end == std::string_view::npos ? bytes.size() : line_end + 1;
      // Whole runs of lines that do not begin with 'F' go out together.
      std::size_t run = part;
      while (run < bytes.size() && bytes[run] != kFrom.front()) {
        const std::size_t next = bytes.find('\n', run);
        run = next == std::string_view::npos ? bytes.size() : next + 1;
      }
      if (const int error = out_.add(bytes.substr(0, run)); error != 0) return error;
      if (run > 0 && bytes[run - 1] == '\n') matched_ = 0;
      bytes.remove_prefix(run);
    }
    return 0;
  }

  // At the end of the message: what is held back was no "From ".
  [[nodiscard]] int finish() { return matched_ < kFrom.size() ? release() : 0; }

 private:
  [[nodiscard]] int release() {
    const std::size_t held = matched_;
    matched_ = kMidLine;
    if (held == kFrom.size()) {
      if (const int error = out_.add(">"); error != 0) return error;
    }
    return out_.add(kFrom.substr(0, held));
  }

  static constexpr std::size_t kMidLine = std::string_view::npos;

  Output& out_;
  FromQuoting quoting_;
  std::size_t matched_ = 0;  // of "From ", at the start of a line
};

// All of it, or an errno value; ENODATA where the file is shorter.
int read_extent(int from, queuefile::Extent extent, std::string& bytes) {
  bytes.resize(extent.length);
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::pread(from, bytes.data() + done, bytes.size() - done,
                              static_cast<off_t>(extent.offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return ENODATA;
    done += static_cast<std::size_t>(n);
  }
  return 0;
}

// The message's two runs, as one piece of the file that holds both; nothing when they lie apart or
// are too long to be held.
std::optional<queuefile::Extent> small_whole(const MailboxMessage& message) {
  if (message.header.length > kChunk || message.body.length > kChunk) return std::nullopt;
  const std::uint64_t begin = std::min(message.header.offset, message.body.offset);
  const std::uint64_t length = message.header.length + message.body.length;
  const bool is_adjoining = message.header.offset == message.body.offset + message.body.length ||
                            message.body.offset == message.header.offset + message.header.length;
  if (!is_adjoining || length > kChunk) return std::nullopt;
  return queuefile::Extent{begin, length};
}

int copy_extent(int from, queuefile::Extent extent, std::string& buffer, LineFilter& filter) {
  while (extent.length > 0) {
    const std::size_t part = std::min<std::uint64_t>(extent.length, kChunk);
    buffer.resize(part);
    const ssize_t n = ::pread(from, buffer.data(), part, static_cast<off_t>(extent.offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return ENODATA;
    const auto size = static_cast<std::size_t>(n);
    if (const int error = filter.add(std::string_view(buffer).substr(0, size)); error != 0) {
      return error;
    }
    extent.offset += size;
    extent.length -= size;
  }
  return 0;
}

// The pieces of a small message: its own header lines, header, empty line, body.
struct Pieces {
  std::string bytes;  // what the views point into, unless it was loaded
  std::string_view header;
  std::string_view body;
};

int read_small(const MailboxMessage& message, queuefile::Extent whole, Pieces& pieces) {
  std::string_view view = message.loaded;
  if (view.size() != whole.length) {
    if (const int error = read_extent(message.fd, whole, pieces.bytes); error != 0) return error;
    view = pieces.bytes;
  }
  pieces.header = view.substr(message.header.offset - whole.offset, message.header.length);
  pieces.body = view.substr(message.body.offset - whole.offset, message.body.length);
  return 0;
}

int copy_small(const MailboxMessage& message, queuefile::Extent whole, LineFilter& filter) {
  Pieces pieces;
  if (const int error = read_small(message, whole, pieces); error != 0) return error;
  if (const int error = filter.add(pieces.header); error != 0) return error;
  if (const int error = filter.add("\n"); error != 0) return error;
  return filter.add(pieces.body);
}

// All pieces in one call where the kernel takes them so; 0 or an errno value.
int write_pieces(int fd, std::span<const std::string_view> pieces) {
  std::array<iovec, 4> vectors{};
  assert(pieces.size() <= vectors.size());
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    vectors[i] = {const_cast<char*>(pieces[i].data()), pieces[i].size()};
  }
  ssize_t n = -1;
  do {
    n = ::writev(fd, vectors.data(), static_cast<int>(pieces.size()));
  } while (n < 0 && errno == EINTR);
  if (n < 0) return errno;
  auto done = static_cast<std::size_t>(n);
  for (const std::string_view piece : pieces) {
    const std::size_t skipped = std::min(done, piece.size());
    done -= skipped;
    if (const int error = write_bytes(fd, piece.substr(skipped)); error != 0) return error;
  }
  return 0;
}

// A small message as it is: nothing is copied but by the kernel.
int write_small(const MailboxMessage& message, queuefile::Extent whole, int out,
                std::uint64_t limit) {
  if (limit != 0 && message.prepended.size() + whole.length + 1 > limit) return EFBIG;
  Pieces pieces;
  if (const int error = read_small(message, whole, pieces); error != 0) return error;
  const std::array<std::string_view, 4> all = {message.prepended, pieces.header, "\n", pieces.body};
  return write_pieces(out, all);
}

int copy_runs(const MailboxMessage& message, FromQuoting quoting, Output& output,
              LineFilter& filter) {
  std::string buffer;
  if (const int error = copy_extent(message.fd, message.header, buffer, filter); error != 0) {
    return error;
  }
  if (const int error = filter.add("\n"); error != 0) return error;
  if (quoting == FromQuoting::kNone && message.body.length > kChunk) {
    const int error = output.copy(message.fd, message.body);
    if (error != ENOTSUP) return error;
  }
  return copy_extent(message.fd, message.body, buffer, filter);
}

}  // namespace

std::string mailbox_headers(std::string_view sender, std::string_view orig_to,
                            std::string_view delivered_to) {
  std::string headers = fmt::format("Return-Path: <{}>\n", one_line(sender));
  if (!orig_to.empty()) headers += fmt::format("X-Original-To: {}\n", one_line(orig_to));
  if (!delivered_to.empty()) headers += fmt::format("Delivered-To: {}\n", one_line(delivered_to));
  return headers;
}

bool was_delivered_to(std::string_view header, std::string_view address) {
  constexpr std::string_view kName = "Delivered-To:";
  while (!header.empty()) {
    const std::size_t end = header.find('\n');
    const std::string_view line = header.substr(0, end);
    header.remove_prefix(end == std::string_view::npos ? header.size() : end + 1);
    if (!starts_with_nocase(line, kName)) continue;
    if (equal_nocase(trim(line.substr(kName.size())), address)) return true;
  }
  return false;
}

MailboxResult mailbox_failure(int error, std::string text) {
  switch (error) {
    case EFBIG:
      return {.outcome = MailboxOutcome::kBounced, .status = "5.2.2", .text = std::move(text)};
    case EDQUOT:
      return {.outcome = MailboxOutcome::kDeferred, .status = "4.2.2", .text = std::move(text)};
    case EISDIR:
    case ENOENT:
    case ELOOP:
    case ENAMETOOLONG:
      return {.outcome = MailboxOutcome::kBounced, .status = "5.2.0", .text = std::move(text)};
    case ENOSPC:
    case EIO:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENODATA:
      return {.outcome = MailboxOutcome::kDeferred, .status = "4.3.0", .text = std::move(text)};
    default:
      return {.outcome = MailboxOutcome::kDeferred, .status = "4.2.0", .text = std::move(text)};
  }
}

std::string_view LoadedMessage::find(const MailboxMessage& message) {
  const auto whole = small_whole(message);
  if (!whole || message.fd < 0) return {};
  if (message.fd != fd_ || *whole != whole_) {
    fd_ = -1;
    if (read_extent(message.fd, *whole, bytes_) != 0) return {};
    fd_ = message.fd;
    whole_ = *whole;
  }
  return bytes_;
}

int copy_message(const MailboxMessage& message, int out, FromQuoting quoting, std::uint64_t limit) {
  const auto whole = small_whole(message);
  if (whole && quoting == FromQuoting::kNone) return write_small(message, *whole, out, limit);
  Output output(out, limit);
  LineFilter filter(output, quoting);
  if (const int error = filter.add(message.prepended); error != 0) return error;
  int error =
      whole ? copy_small(message, *whole, filter) : copy_runs(message, quoting, output, filter);
  if (error == 0) error = filter.finish();
  if (error != 0) return error;
  // An mbox ends each message with an empty line, by which readers know the next "From ".
  if (quoting == FromQuoting::kMbox) error = output.add("\n");
  return error != 0 ? error : output.flush();
}

int write_bytes(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return EIO;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return 0;
}

}  // namespace postern::agent
