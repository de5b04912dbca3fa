#include "common/mail/reply.h"

#include <fmt/format.h>

#include <iterator>

#include "common/base/number.h"
#include "common/base/text.h"

namespace postern::mail {

std::string Reply::to_line() const {
  std::string out = std::to_string(code);
  if (status) out += ' ' + status->to_string();
  for (const auto& line : lines) out += ' ' + line;
  return out;
}

void Reply::append_wire(std::string& out) const {
  const std::string prefix = status ? status->to_string() + ' ' : std::string();
  const std::size_t count = lines.empty() ? 1 : lines.size();
  for (std::size_t i = 0; i < count; ++i) {
    fmt::format_to(std::back_inserter(out), "{}{}{}", code, i + 1 < count ? '-' : ' ', prefix);
    if (i < lines.size()) {
      for (const char c : lines[i]) out += is_control(c) && c != '\t' ? '?' : c;
    }
    out += "\r\n";
  }
}

std::string Reply::to_wire() const {
  std::string out;
  append_wire(out);
  return out;
}

Reply make_reply(int code, std::string_view text) {
  Reply reply;
  reply.code = code;
  std::string_view rest = text;
  if (const auto status = parse_status(text)) {
    reply.status = status;
    rest = split_status(text, *status).text;
  }
  for (const auto line : split_fields(rest, '\n')) {
    reply.lines.emplace_back(trim_right(line, "\r"));
  }
  return reply;
}

Reply make_reply(int code, const Status& status, std::string text) {
  Reply reply;
  reply.code = code;
  reply.status = status;
  reply.lines.push_back(std::move(text));
  return reply;
}

Reply softened(Reply reply) {
  if (reply.code >= 500) reply.code -= 100;
  if (reply.status && reply.status->klass == 5) reply.status->klass = 4;
  return reply;
}

std::optional<Reply> parse_reply_text(std::string_view text) {
  text = trim(text);
  const auto code = parse_integer(text.substr(0, 3), 200, 599);
  if (!code || (text.size() > 3 && text[3] != ' ')) return std::nullopt;
  return make_reply(*code, trim_left(text.substr(3)));
}

}  // namespace postern::mail
