#include "common/table/source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "common/base/encode.h"
#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/mail/address.h"
#include "common/sys/fd.h"

namespace postern::table {

namespace {

constexpr std::size_t kMostShown = 100;  // of a line, in a warning
constexpr std::size_t kMaxValueFile = std::size_t{16} << 20U;
constexpr std::size_t kLeastRead = std::size_t{64} << 10U;

// What ends a key or makes it more than a run of letters.
constexpr auto kKeyStops = [] {
  std::array<bool, 256> stops{};
  for (std::size_t c = 0; c < stops.size(); ++c) {
    const char letter = static_cast<char>(c);
    stops[c] = is_space(letter) || letter == '"' || letter == '\\';
  }
  return stops;
}();

// The length of a key that ends at the first blank outside double quotes; nullopt where a quote
// stays open.
std::optional<std::size_t> plain_key_length(std::string_view line) {
  std::size_t i = 0;
  while (i < line.size() && !kKeyStops[static_cast<unsigned char>(line[i])]) ++i;
  bool quoted = false;
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

// trim() for each of a million lines.
std::string_view trim_spaces(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

bool is_empty_or_comment(std::string_view line) {
  while (!line.empty() && is_space(line.front())) line.remove_prefix(1);
  return line.empty() || line.front() == '#';
}

// Without the backslashes that escape nothing, outside quotes: `\me` is `me`.
std::string without_idle_escapes(std::string_view text) {
  std::string out;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') quoted = !quoted;
    if (text[i] == '\\' && i + 1 < text.size()) {
      if (quoted || !is_alnum(text[i + 1])) out += text[i];
      ++i;
    }
    out += text[i];
  }
  return out;
}

// The words of a value as they are stored: a blank between two of them, and behind a comma, and
// none elsewhere.
std::string tidy_alias_value(std::string_view text) {
  // Most values are one address.
  if (text.find_first_of(" \t,\"\\()[]") == std::string_view::npos) return std::string(text);
  std::string out;
  bool is_behind_word = false;
  for (const auto& token : mail::scan_address(without_idle_escapes(text))) {
    const bool is_word = token.kind != mail::Token::Kind::kSpecial;
    if (is_word && is_behind_word) out += ' ';
    out += mail::print_external({&token, 1});
    if (token.is(',')) out += ' ';
    is_behind_word = is_word;
  }
  return out;
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

// The name of an alias without its quotes and comments, with one blank between two words of it.
std::string alias_name(std::string_view text) {
  std::string name;
  bool is_behind_word = false;
  for (const auto& token : mail::scan_address(text)) {
    const std::string text_of_it = mail::print_internal({&token, 1});
    if (text_of_it.empty()) continue;  // a comment
    const bool is_word = token.kind != mail::Token::Kind::kSpecial;
    if (is_word && is_behind_word) name += ' ';
    name += text_of_it;
    is_behind_word = is_word;
  }
  return name;
}

}  // namespace

std::optional<LogicalLineWalker::View> LogicalLineWalker::next_physical() {
  while (!rest_.empty()) {
    const auto end = rest_.find('\n');
    std::string_view line = rest_.substr(0, end);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
    ++number_;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (is_empty_or_comment(line)) continue;
    return View{line, number_};
  }
  return std::nullopt;
}

std::optional<LogicalLineWalker::View> LogicalLineWalker::next() {
  std::optional<View> first = ahead_ ? ahead_ : next_physical();
  ahead_.reset();
  if (!first) return std::nullopt;
  bool is_joined = false;
  for (;;) {
    ahead_ = next_physical();
    if (!ahead_ || !is_space(ahead_->text.front())) break;
    if (!is_joined) joined_ = first->text;
    is_joined = true;
    joined_ += ahead_->text;
  }
  if (is_joined) first->text = joined_;
  return first;
}

std::vector<LogicalLine> logical_lines(std::string_view text) {
  std::vector<LogicalLine> lines;
  LogicalLineWalker walker(text);
  while (const auto line = walker.next()) {
    lines.push_back({std::string(line->text), line->number});
  }
  return lines;
}

Result<std::string> read_text_file(const std::string& path, std::size_t max_size) {
  const sys::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return sys::fail_errno("open " + path);
  // Room for all of a file and the byte that is not there, which tells its end.
  struct stat st{};
  std::size_t room = kLeastRead;
  if (::fstat(fd.get(), &st) == 0 && st.st_size > 0) {
    room = std::min(static_cast<std::size_t>(st.st_size), max_size) + 1;
  }
  std::string text;
  text.reserve(room);
  for (;;) {
    const std::size_t before = text.size();
    ssize_t got = 0;
    text.resize_and_overwrite(before + room, [&](char* bytes, std::size_t size) {
      got = ::read(fd.get(), bytes + before, size - before);
      return before + (got > 0 ? static_cast<std::size_t>(got) : 0);
    });
    if (got < 0 && errno != EINTR) return sys::fail_errno("read " + path);
    if (got == 0) return text;
    if (text.size() > max_size) return fail_temporary("read " + path + ": file too large");
    room = text.capacity() - text.size();
    if (room == 0) room = kLeastRead;  // the string doubles itself
  }
}

Result<std::string> files_in_base64(std::string_view value) {
  std::string bytes;
  for (const auto file : split_words(value)) {
    TRY(const auto part, read_text_file(std::string(file), kMaxValueFile));
    if (!bytes.empty()) bytes += '\n';
    bytes += part;
  }
  return base64_encode(bytes);
}

Result<std::string> read_rules(const std::string& name, std::size_t max_size) {
  if (!name.starts_with('{')) return read_text_file(name, max_size);
  const auto inner = inside_braces(name);
  if (!inner) return fail(Error::Kind::kConfig, "no closing brace in " + name);
  std::string text;
  for (const auto word : split_words_braced(*inner, ", \t\r\n")) {
    const auto rule = inside_braces(word);
    if (!rule) return fail(Error::Kind::kConfig, "a rule without braces in " + name);
    (text += *rule) += '\n';
  }
  return text;
}

void walk_source(std::string_view text, const SourceRules& rules, std::string_view path,
                 const std::function<void(const RecordView&)>& take,
                 const std::function<void(std::string)>& warn) {
  const auto complain = [&](std::size_t line, std::string_view what) {
    warn(fmt::format("{}, line {}: {}", path, line, what));
  };
  std::string alias;
  std::string members;
  const bool may_be_no_utf8 = rules.utf8 && !is_all_ascii(text);
  // A NUL ends a line, as it ends a string in C.
  const bool has_nul = text.find('\0') != std::string_view::npos;
  RecordView record;
  LogicalLineWalker walker(text);
  while (const auto line = walker.next()) {
    record.line = line->number;
    const std::string_view all = has_nul ? line->text.substr(0, line->text.find('\0')) : line->text;
    if (all.empty()) continue;
    if (may_be_no_utf8 && !is_valid_utf8(all)) {
      complain(line->number, fmt::format("non-UTF-8 input \"{}\" -- ignoring this line",
                                         log::clean(all, kMostShown)));
      continue;
    }
    if (is_space(all.front())) {
      // Without its number, as there.
      warn(fmt::format("{}: logical line must not start with whitespace: \"{}\"", path,
                       log::clean(all, kMostShown)));
      continue;
    }
    if (rules.format == SourceFormat::kAliases) {
      const std::size_t colon = alias_colon(all);
      if (colon == std::string_view::npos) {
        complain(line->number, "need name:value pair");
        continue;
      }
      alias = alias_name(all.substr(0, colon));
      members = tidy_alias_value(all.substr(colon + 1));
      record = {alias, members, line->number};
      if (record.key.empty() || record.value.empty()) {
        complain(line->number, "need name:value pair");
        continue;
      }
      // Unless the @ stood in quotes the alias could never be found.
      if (all.substr(0, colon).find('@') != std::string_view::npos && !all.starts_with('"')) {
        complain(line->number, "name must be local");
        continue;
      }
    } else {
      const auto length = plain_key_length(all);
      if (!length) {
        complain(line->number, fmt::format("unbalanced '\"' in '{}' -- ignoring this line", all));
        continue;
      }
      record.key = all.substr(0, *length);
      record.value = trim_spaces(all.substr(*length));
      if (record.value.empty()) {
        complain(line->number, "expected format: key whitespace value");
        continue;
      }
      if (record.key.ends_with(':')) {
        complain(line->number, "record is in \"key: value\" format; is this an alias file?");
      }
    }
    take(record);
  }
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
