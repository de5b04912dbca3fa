#include "common/smtpwire/reply_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/number.h"
#include "common/base/text.h"

namespace postern::smtpwire {

namespace {

constexpr std::size_t kShownGarbage = 60;

std::string shown(std::string_view text) {
  std::string out(text.substr(0, kShownGarbage));
  for (char& c : out) {
    if (!is_printable(c)) c = '?';
  }
  return out;
}

}  // namespace

std::string ServerReply::to_line() const {
  std::string out = std::to_string(code);
  for (const auto& line : lines) out.append(" ").append(line);
  return out;
}

mail::Status ServerReply::status() const {
  return mail::status_of_reply(code, lines.empty() ? std::string_view() : lines.back()).status;
}

Result<bool> ReplyReader::feed(std::string_view& in) {
  while (!in.empty() && !complete_) {
    const auto lf = in.find('\n');
    const bool ended = lf != std::string_view::npos;
    const std::size_t used = ended ? lf + 1 : in.size();
    if (used > limits_.total_size - std::min(total_, limits_.total_size)) {
      return fail_temporary("reply too long");
    }
    total_ += used;
    const std::string_view part = in.substr(0, ended ? lf : in.size());
    if (line_.size() < limits_.line_length) {
      line_ += part.substr(0, limits_.line_length - line_.size());
    }
    in.remove_prefix(used);
    if (!ended) break;
    TRY(complete_, end_line());
  }
  return complete_;
}

// Judges one line; true if it was the last of the reply.
Result<bool> ReplyReader::end_line() {
  const std::string line = std::exchange(line_, {});
  const std::string_view text = trim_right(line, "\r");
  const auto code = parse_integer(text.substr(0, 3), 200, 599);
  const char separator = text.size() > 3 ? text[3] : ' ';
  if (!code || (separator != ' ' && separator != '-')) {
    return fail_temporary(fmt::format("not an SMTP reply: \"{}\"", shown(text)));
  }
  // Where the lines differ in their code the last one counts; servers in the field do that.
  reply_.code = *code;
  if (reply_.lines.size() < limits_.lines) {
    reply_.lines.emplace_back(text.size() > 4 ? text.substr(4) : std::string_view());
  }
  return separator == ' ';
}

ServerReply ReplyReader::take() {
  complete_ = false;
  total_ = 0;
  return std::exchange(reply_, {});
}

}  // namespace postern::smtpwire
