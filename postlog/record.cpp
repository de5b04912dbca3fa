#include "postlog/record.h"

#include "common/base/text.h"

namespace postern::postlog {

namespace {

constexpr std::size_t kTimeSize = 15;  // "Nov 24 13:53:56"

std::optional<log::Level> parse_level(char letter) {
  switch (letter) {
    case 'i':
      return log::Level::kInfo;
    case 'w':
      return log::Level::kWarning;
    case 'e':
      return log::Level::kError;
    case 'f':
      return log::Level::kFatal;
    case 'p':
      return log::Level::kPanic;
    default:
      return std::nullopt;
  }
}

bool is_time(std::string_view text) {
  return text.size() == kTimeSize && text[3] == ' ' && text[6] == ' ' && text[9] == ':' &&
         text[12] == ':' && is_digit(text[7]) && is_digit(text[14]);
}

}  // namespace

Record parse_record(std::string_view line) {
  const Record foreign{RecordKind::kForeign, log::Level::kWarning, line};
  if (line.size() < 3) return foreign;
  const auto level = parse_level(line[1]);
  if (!level) return foreign;
  const std::string_view text = line.substr(2);
  if (line[0] == 'J' && text.starts_with('{') && text.ends_with('}')) {
    return {RecordKind::kJson, *level, text};
  }
  if (line[0] == 'T' && parse_classic_line(text)) return {RecordKind::kText, *level, text};
  return foreign;
}

void make_printable(std::string& bytes) {
  for (char& c : bytes) {
    if (is_control(c) && c != '\n' && c != '\t') c = '?';
  }
}

std::optional<ClassicLine> parse_classic_line(std::string_view line) {
  if (line.size() < kTimeSize + 2 || line[kTimeSize] != ' ') return std::nullopt;
  ClassicLine parts;
  parts.time = line.substr(0, kTimeSize);
  if (!is_time(parts.time)) return std::nullopt;
  const auto [host, rest] = split_at_first(line.substr(kTimeSize + 1), ' ');
  if (host.empty() || rest.empty()) return std::nullopt;
  parts.host = host;
  parts.rest = rest;
  return parts;
}

std::optional<std::string_view> LineCutter::next(bool flush) {
  const std::string_view rest = std::string_view(buffer_).substr(start_);
  const std::size_t end = rest.find('\n');
  if (end != std::string_view::npos && end <= kMaxLine) {
    start_ += end + 1;
    return rest.substr(0, end);
  }
  if (rest.size() > kMaxLine) {
    start_ += kMaxLine;
    return rest.substr(0, kMaxLine);
  }
  if (flush && !rest.empty()) {
    start_ += rest.size();
    return rest;
  }
  buffer_.erase(0, start_);
  start_ = 0;
  return std::nullopt;
}

}  // namespace postern::postlog
