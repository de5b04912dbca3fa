#include "cleanup/tls_wishes.h"

#include "common/base/text.h"
#include "common/mail/header.h"

namespace postern::cleanup {

namespace {

// Whether the header has one field of this name, with this value; another value, or two of them,
// say nothing.
bool says(std::string_view header, std::string_view name, std::string_view value) {
  // Few messages have it: the lines are looked at before the header is taken apart.
  bool is_there = false;
  for (std::size_t at = 0; at < header.size() && !is_there;) {
    is_there = starts_with_nocase(header.substr(at), name);
    const auto end = header.find('\n', at);
    at = end == std::string_view::npos ? header.size() : end + 1;
  }
  if (!is_there) return false;
  unsigned count = 0;
  bool is_said = false;
  for (const auto& field : mail::split_header(header)) {
    if (!equal_nocase(field.name, name)) continue;
    ++count;
    is_said = equal_nocase(trim(field.body), value);
  }
  return count == 1 && is_said;
}

}  // namespace

bool asks_for_no_tls(std::string_view header) { return says(header, "TLS-Required", "no"); }

bool asks_for_tls(std::string_view header) { return says(header, kRequireTlsField, "yes"); }

}  // namespace postern::cleanup
