#include "common/smtpwire/line.h"

#include <algorithm>

namespace postern::smtpwire {

Line LineSplitter::next(std::string_view buffer) {
  Line line;
  if (skipping_) {
    const auto end = buffer.find('\n');
    if (end == std::string_view::npos) {
      line.consumed = buffer.size();
      return line;
    }
    skipping_ = false;
    line.consumed = end + 1;
    Line behind = next(buffer.substr(end + 1));  // skipping_ is false now: one level only
    behind.consumed += line.consumed;
    return behind;
  }

  const auto end = buffer.find('\n', std::min(searched_, buffer.size()));
  if (end == std::string_view::npos && buffer.size() <= limit_ + 1) {
    searched_ = buffer.size();
    return line;
  }
  searched_ = 0;
  const bool ended = end != std::string_view::npos;
  std::string_view text = buffer.substr(0, ended ? end : buffer.size());
  line.consumed = ended ? end + 1 : buffer.size();
  if (ended) {
    if (text.ends_with('\r')) {
      text.remove_suffix(1);
    } else {
      line.bare_lf = true;
    }
  }
  line.state = Line::State::kLine;
  if (text.size() > limit_) {
    line.state = Line::State::kTooLong;
    text = text.substr(0, limit_);
    skipping_ = !ended;
  }
  line.text = text;
  line.bare_cr = text.find('\r') != std::string_view::npos;
  line.nul = text.find('\0') != std::string_view::npos;
  return line;
}

}  // namespace postern::smtpwire
