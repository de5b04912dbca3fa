#include "common/mail/message_id.h"

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/mail/date.h"
#include "common/mail/header.h"

namespace postern::mail {

std::string make_message_id(WallTime arrival, std::string_view queue_id,
                            std::string_view myhostname) {
  return fmt::format("<{}.{}@{}>", format_stamp(arrival), queue_id, myhostname);
}

std::string find_message_id(std::string_view body) {
  const std::string line = unfold(body);
  const std::string_view text = trim(line);
  const auto start = text.find('<');
  const auto end = start == std::string_view::npos ? start : text.find('>', start);
  if (end == std::string_view::npos) return std::string(text);
  return std::string(text.substr(start, end - start + 1));
}

}  // namespace postern::mail
