#include "common/queuefile/reason_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <map>

#include "common/base/encode.h"
#include "common/base/number.h"
#include "common/base/text.h"
#include "common/queuefile/reader.h"
#include "common/queuefile/writer.h"
#include "common/sys/fd.h"

namespace postern::queuefile {

namespace {

// A log that has grown to this size, and each time it has doubled, is rewritten without old lines.
constexpr std::uint64_t kThinOutSize = std::uint64_t{256} << 10;

void append_escaped(std::string& out, std::string_view value) {
  for (const char c : value) {
    if (is_control(c) || c == '\\') {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
}

std::string unescape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && text[i + 1] == 'x') {
      const auto high = hex_digit(text[i + 2]);
      const auto low = hex_digit(text[i + 3]);
      if (high && low) {
        out += static_cast<char>(*high * 16 + *low);
        i += 3;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  if (!out.empty()) out += '\t';
  out += name;
  out += '=';
  append_escaped(out, value);
}

// False for a line that says nothing about a recipient.
bool parse_line(std::string_view line, Reason& reason) {
  for (const std::string_view field : split_fields(line, '\t')) {
    const auto [name, value] = split_at_first(field, '=');
    if (name == "recipient") {
      reason.address = unescape(value);
    } else if (name == "orig_to") {
      reason.orig_to = unescape(value);
    } else if (name == "dsn_orcpt") {
      reason.dsn_orcpt = unescape(value);
    } else if (name == "notify") {
      reason.notify = parse_integer<std::uint8_t>(value).value_or(0);
    } else if (name == "offset") {
      reason.state_offset = parse_integer<std::uint64_t>(value).value_or(0);
    } else if (name == "part") {
      reason.part = parse_integer<std::uint64_t>(value).value_or(0);
    } else if (name == "owner") {
      reason.owner = unescape(value);
    } else if (name == "time") {
      reason.time = parse_integer<std::int64_t>(value).value_or(0);
    } else if (name == "action") {
      reason.action = unescape(value);
    } else if (name == "status") {
      reason.status = unescape(value);
    } else if (name == "text") {
      // What a program printed may end in blanks: they show in the log alone.
      reason.text = trim_right(unescape(value));
    } else if (name == "remote_mta") {
      reason.remote_mta = unescape(value);
    } else if (name == "diagnostic_type") {
      reason.diagnostic_type = unescape(value);
    } else if (name == "diagnostic") {
      reason.diagnostic = trim_right(unescape(value));
    }
  }
  return !reason.address.empty() && !reason.status.empty();
}

template <typename Take>
void for_each_whole(std::string_view file, const Take& take) {
  while (!file.empty()) {
    const std::size_t end = file.find('\n');
    if (end == std::string_view::npos) break;  // torn
    Reason reason;
    const bool is_whole = parse_line(file.substr(0, end), reason);
    file.remove_prefix(end + 1);
    if (is_whole) take(std::move(reason));
  }
}

Result<std::string> read_file(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) < 0) return sys::fail_errno("fstat");
  if (!S_ISREG(status.st_mode)) return fail_temporary("not a regular file");
  if (static_cast<std::uint64_t>(status.st_size) > kMaxReasonFile) {
    return fail_temporary("file is too large");
  }
  std::string bytes(static_cast<std::size_t>(status.st_size), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n =
        ::pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return sys::fail_errno("read");
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  bytes.resize(done);
  return bytes;
}

// Empty when there is no such file.
Result<std::string> read_log(const QueueDirs& dirs, Queue log, std::string_view id) {
  TRY(const auto opened, dirs.open_message(log, id));
  if (!opened) return std::string{};
  auto bytes = read_file(opened->get());
  if (!bytes) return fail_in(dirs.path_of(log, id), std::move(bytes).error());
  return bytes;
}

// Opens the log for appending, makes it where it is missing.
Result<sys::Fd> open_log(const QueueDirs& dirs, Queue log, std::string_view id) {
  TRY(auto opened, dirs.open_message(log, id, O_RDWR | O_APPEND));
  if (opened) return std::move(*opened);
  TRY(auto created, dirs.create(log, id));
  if (created) {
    // create() gives no O_APPEND.
    const int flags = ::fcntl(created->get(), F_GETFL);
    if (flags < 0 || ::fcntl(created->get(), F_SETFL, flags | O_APPEND) < 0) {
      return sys::fail_errno("fcntl");
    }
    return std::move(*created);
  }
  TRY(auto again, dirs.open_message(log, id, O_RDWR | O_APPEND));
  if (!again) return fail_temporary("log file comes and goes");
  return std::move(*again);
}

// Replaces the log by one with the latest line of each recipient only.
Result<void> thin_out(const QueueDirs& dirs, Queue log, std::string_view id) {
  TRY(const auto reasons, read_reasons(dirs, log, id));
  std::string text;
  for (const Reason& reason : reasons) text += print_reason(reason);
  const std::string path = dirs.path_of(log, id);
  const std::string temporary = path + ".new";
  sys::Fd fd(::openat(dirs.root(), temporary.c_str(),
                      O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, kUnfinishedMode));
  if (!fd) return sys::fail_errno("create " + temporary);
  DO(write_all(fd.get(), text));
  DO(fd.close_checked());
  if (::renameat(dirs.root(), temporary.c_str(), dirs.root(), path.c_str()) < 0) {
    return sys::fail_errno("rename " + temporary);
  }
  return {};
}

}  // namespace

std::string print_reason(const Reason& reason) {
  std::string line;
  append_field(line, "recipient", reason.address);
  append_field(line, "orig_to", reason.orig_to);
  append_field(line, "dsn_orcpt", reason.dsn_orcpt);
  if (reason.notify != 0) append_field(line, "notify", std::to_string(reason.notify));
  append_field(line, "offset", std::to_string(reason.state_offset));
  if (reason.part != 0) append_field(line, "part", std::to_string(reason.part));
  append_field(line, "time", std::to_string(reason.time));
  append_field(line, "action", reason.action);
  append_field(line, "status", reason.status);
  append_field(line, "text", reason.text);
  append_field(line, "remote_mta", reason.remote_mta);
  append_field(line, "diagnostic_type", reason.diagnostic_type);
  append_field(line, "diagnostic", reason.diagnostic);
  append_field(line, "owner", reason.owner);
  line += '\n';
  return line;
}

std::vector<Reason> parse_reasons(std::string_view file) {
  std::vector<Reason> reasons;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::size_t> places;
  for_each_whole(file, [&](Reason&& reason) {
    const auto [place, is_new] =
        places.try_emplace({reason.state_offset, reason.part}, reasons.size());
    if (is_new) {
      reasons.push_back(std::move(reason));
    } else {
      reasons[place->second] = std::move(reason);
    }
  });
  return reasons;
}

std::vector<Reason> parse_reason_history(std::string_view file) {
  std::vector<Reason> reasons;
  for_each_whole(file, [&](Reason&& reason) { reasons.push_back(std::move(reason)); });
  return reasons;
}

Result<void> append_reasons(const QueueDirs& dirs, Queue log, std::string_view id,
                            const std::vector<Reason>& reasons, Durability durability) {
  TRY(const sys::Fd fd, open_log(dirs, log, id));
  struct stat status{};
  if (::fstat(fd.get(), &status) < 0) return sys::fail_errno("fstat");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  std::string text;
  char last = '\n';
  if (size > 0 && ::pread(fd.get(), &last, 1, status.st_size - 1) == 1 && last != '\n') {
    text += '\n';
  }
  for (const Reason& reason : reasons) text += print_reason(reason);
  DO(write_all(fd.get(), text));
  if (durability == Durability::kFlushed) {
    if (::fsync(fd.get()) < 0) return sys::fail_errno("flush " + dirs.path_of(log, id));
    return {};
  }
  const std::uint64_t size_after = size + text.size();
  if (size_after >= kThinOutSize && std::bit_width(size) != std::bit_width(size_after)) {
    return thin_out(dirs, log, id);
  }
  return {};
}

Result<std::vector<Reason>> read_reasons(const QueueDirs& dirs, Queue log, std::string_view id) {
  TRY(const auto bytes, read_log(dirs, log, id));
  return parse_reasons(bytes);
}

Result<std::vector<Reason>> read_reason_history(const QueueDirs& dirs, Queue log,
                                                std::string_view id) {
  TRY(const auto bytes, read_log(dirs, log, id));
  return parse_reason_history(bytes);
}

}  // namespace postern::queuefile
