#include "common/table/source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/sys/fd.h"

namespace postern::table {

namespace {

// The length of a key that ends at the first blank outside double quotes; nullopt where a quote
// stays open.
std::optional<std::size_t> plain_key_length(std::string_view line) {
  bool quoted = false;
  std::size_t i = 0;
  for (; i < line.size(); ++i) {
    if (line[i] == '\\') {
      ++i;
    } else if (line[i] == '"') {
      quoted = !quoted;
    } else if (is_space(line[i]) && !quoted) {
      break;
    }
  }
  if (quoted) return std::nullopt;
  return std::min(i, line.size());
}

// Blanks outside quotes become one; around commas there is none before and one behind.
std::string tidy_alias_value(std::string_view text) {
  std::string out;
  bool quoted = false;
  bool blank = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (!quoted && is_space(c)) {
      blank = true;
      continue;
    }
    if (!quoted && c == ',') {
      out += ", ";
      blank = false;
      continue;
    }
    if (blank && !out.empty() && !out.ends_with(' ')) out += ' ';
    blank = false;
    out += c;
    if (c == '\\' && i + 1 < text.size()) {
      out += text[++i];
    } else if (c == '"') {
      quoted = !quoted;
    }
  }
  return std::string(trim_right(out));
}

// Where the ':' is that ends an alias's name: outside quotes, and not the first character.
std::size_t alias_colon(std::string_view line) {
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\\') {
      ++i;
    } else if (line[i] == '"') {
      quoted = !quoted;
    } else if (line[i] == ':' && !quoted) {
      return i;
    }
  }
  return std::string_view::npos;
}

// The name of an alias without its quotes and comments; empty where it is not one name.
std::string alias_name(std::string_view text) {
  const auto tokens = mail::scan_address(text);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const bool outside =
        i > 0 && tokens[i].space_before && tokens[i].kind != mail::Token::Kind::kComment;
    if (outside) return {};
  }
  return mail::print_internal(tokens);
}

}  // namespace

std::vector<LogicalLine> logical_lines(std::string_view text) {
  std::vector<LogicalLine> lines;
  std::size_t number = 0;
  while (!text.empty()) {
    const auto end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    const std::string_view content = trim_left(line);
    if (content.empty() || content.front() == '#') continue;
    if (is_space(line.front()) && !lines.empty()) {
      lines.back().text += line;
    } else {
      lines.push_back({std::string(line), number});
    }
  }
  return lines;
}

Result<std::string> read_text_file(const std::string& path, std::size_t max_size) {
  const sys::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return sys::fail_errno("open " + path);
  std::string text;
  std::array<char, 65536> buffer{};
  for (;;) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return sys::fail_errno("read " + path);
    if (got == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(got));
    if (text.size() > max_size) return fail_temporary("read " + path + ": file too large");
  }
}

Source parse_source(std::string_view text, SourceFormat format, bool fold_keys,
                    std::string_view path) {
  Source source;
  const auto warn = [&](std::size_t line, std::string_view what) {
    source.warnings.push_back(fmt::format("{}, line {}: {}", path, line, what));
  };
  for (auto& line : logical_lines(text)) {
    Record record;
    record.line = line.number;
    const std::string_view all = line.text;
    if (is_space(all.front())) {
      warn(line.number, "logical line must not start with whitespace");
      continue;
    }
    if (format == SourceFormat::kAliases) {
      const std::size_t colon = alias_colon(all);
      if (colon == std::string_view::npos) {
        warn(line.number, "need name:value pair");
        continue;
      }
      record.key = alias_name(all.substr(0, colon));
      record.value = tidy_alias_value(all.substr(colon + 1));
      if (record.key.empty() || record.value.empty()) {
        warn(line.number, "need name:value pair");
        continue;
      }
    } else {
      const auto length = plain_key_length(all);
      if (!length) {
        warn(line.number, fmt::format("unbalanced '\"' in '{}' -- ignoring this line", all));
        continue;
      }
      record.key = all.substr(0, *length);
      record.value = trim(all.substr(*length));
      if (record.value.empty()) {
        warn(line.number, "expected format: key whitespace value");
        continue;
      }
      if (record.key.ends_with(':')) {
        warn(line.number, "record is in \"key: value\" format; is this an alias file?");
      }
    }
    if (fold_keys) make_lower(record.key);
    source.records.push_back(std::move(record));
  }
  return source;
}

std::optional<std::string_view> inside_braces(std::string_view text) {
  text = trim(text);
  if (text.size() < 2 || text.front() != '{' || text.back() != '}') return std::nullopt;
  return trim(text.substr(1, text.size() - 2));
}

std::optional<Assignment> parse_assignment(std::string_view text) {
  text = inside_braces(text).value_or(text);
  const auto equals = text.find('=');
  if (equals == std::string_view::npos) return std::nullopt;
  const Assignment out{trim(text.substr(0, equals)), trim(text.substr(equals + 1))};
  if (out.name.empty()) return std::nullopt;
  return out;
}

}  // namespace postern::table
