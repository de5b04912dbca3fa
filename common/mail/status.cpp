#include "common/mail/status.h"

#include <fmt/format.h>

#include "common/base/number.h"
#include "common/base/text.h"

namespace postern::mail {

namespace {

constexpr unsigned kMaxNumber = 999;

// Takes digits off the front.
std::optional<unsigned> take_number(std::string_view& text) {
  std::size_t length = 0;
  while (length < text.size() && is_digit(text[length])) ++length;
  const auto number = parse_integer<unsigned>(text.substr(0, length), 0, kMaxNumber);
  text.remove_prefix(length);
  return length <= 3 ? number : std::nullopt;
}

std::optional<Status> take_status(std::string_view& text) {
  if (text.size() < 5 || (text[0] != '2' && text[0] != '4' && text[0] != '5') || text[1] != '.') {
    return std::nullopt;
  }
  std::string_view rest = text.substr(2);
  Status status;
  status.klass = static_cast<unsigned>(text[0] - '0');
  const auto subject = take_number(rest);
  if (!subject || !rest.starts_with('.')) return std::nullopt;
  rest.remove_prefix(1);
  const auto detail = take_number(rest);
  if (!detail || (!rest.empty() && !is_space(rest.front()))) return std::nullopt;
  status.subject = *subject;
  status.detail = *detail;
  text = rest;
  return status;
}

}  // namespace

std::string Status::to_string() const { return fmt::format("{}.{}.{}", klass, subject, detail); }

std::optional<Status> parse_status(std::string_view text) { return take_status(text); }

StatusText split_status(std::string_view text, const Status& fallback) {
  const auto status = take_status(text);
  return {status.value_or(fallback), trim_left(text)};
}

StatusText status_of_reply(int code, std::string_view text) {
  const auto klass = static_cast<unsigned>(code / 100);
  const Status fallback{klass == 2 || klass == 4 ? klass : 5, 0, 0};
  StatusText split = split_status(text, fallback);
  if (split.status.klass != fallback.klass) split.status = fallback;
  return split;
}

}  // namespace postern::mail
