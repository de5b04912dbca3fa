#include "common/smtpwire/ehlo.h"

#include <algorithm>

#include "common/base/number.h"
#include "common/base/text.h"

namespace postern::smtpwire {

namespace {

constexpr std::size_t kMaxListed = 64;  // mechanisms, attributes, limits of one server

void add_words(std::vector<std::string>& list, std::string_view words) {
  for (const auto word : split_words(words, kBlanks)) {
    std::string upper = to_upper(word);
    if (list.size() >= kMaxListed) return;
    if (std::ranges::find(list, upper) == list.end()) list.push_back(std::move(upper));
  }
}

void add_limits(std::map<std::string, std::uint64_t>& limits, std::string_view words) {
  for (const auto word : split_words(words, kBlanks)) {
    const auto [name, value] = split_at_first(word, '=');
    const auto number = parse_integer<std::uint64_t>(value, 1, 999999);  // RFC 9422 4: six digits
    if (number && limits.size() < kMaxListed) limits[to_upper(name)] = *number;
  }
}

void apply(Features& out, std::string_view keyword, std::string_view rest) {
  if (keyword == "PIPELINING") out.pipelining = true;
  if (keyword == "8BITMIME") out.eight_bit_mime = true;
  if (keyword == "DSN") out.dsn = true;
  if (keyword == "SMTPUTF8") out.smtputf8 = true;
  if (keyword == "CHUNKING") out.chunking = true;
  if (keyword == "REQUIRETLS") out.requiretls = true;
  if (keyword == "STARTTLS") out.starttls = true;
  if (keyword == "ENHANCEDSTATUSCODES") out.enhanced_status_codes = true;
  if (keyword == "ETRN") out.etrn = true;
  if (keyword == "XVERP") out.verp = true;
  if (keyword == "SIZE") {
    out.size = true;
    out.size_limit = parse_integer<std::uint64_t>(trim(rest), 1);
  }
  if (keyword == "AUTH") add_words(out.auth_mechanisms, rest);
  if (keyword == "XCLIENT") {
    out.xclient = true;
    add_words(out.xclient_attributes, rest);
  }
  if (keyword == "XFORWARD") {
    out.xforward = true;
    add_words(out.xforward_attributes, rest);
  }
  if (keyword == "LIMITS") add_limits(out.limits, rest);
}

}  // namespace

Features parse_ehlo(const std::vector<std::string>& lines,
                    const std::vector<std::string>& discard) {
  Features out;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    std::string_view rest = lines[i];
    if (i == 0) {
      out.greeting_name = next_word(rest, kBlanks);
      continue;
    }
    // Old servers wrote AUTH=LOGIN; the first separator may be '='.
    const std::string keyword = to_upper(next_word(rest, " \t="));
    if (std::ranges::find(discard, keyword) != discard.end()) continue;
    apply(out, keyword, trim_left(rest, " \t="));
  }
  return out;
}

}  // namespace postern::smtpwire
