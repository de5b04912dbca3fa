#include "common/table/fold_key.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <memory>

#include "common/base/text.h"

namespace postern::table {

namespace {

struct FreeCode {
  void operator()(pcre2_code* code) const { ::pcre2_code_free(code); }
};

// PCRE2's character type is unsigned char; void* is the conversion without reinterpret_cast.
PCRE2_SPTR bytes_of(std::string_view text) {
  return static_cast<PCRE2_SPTR>(static_cast<const void*>(text.data()));
}

// All of a text, for a replacement that makes small letters of it. PCRE knows those of Unicode
// without a locale, whose files a confined process could not open.
const pcre2_code* all_of_it() {
  static const std::unique_ptr<pcre2_code, FreeCode> code([] {
    constexpr std::string_view kPattern = "(?s).+";
    int error = 0;
    PCRE2_SIZE offset = 0;
    return ::pcre2_compile(bytes_of(kPattern), kPattern.size(), PCRE2_UTF | PCRE2_UCP, &error,
                           &offset, nullptr);
  }());
  return code.get();
}

std::optional<std::string> to_lower_utf8(std::string_view text) {
  constexpr std::string_view kLower = "\\L$0";
  constexpr std::size_t kMostGrowth = 3;  // a letter of one byte becomes one of three at most
  std::string out(text.size() * kMostGrowth + 1, '\0');
  PCRE2_SIZE size = out.size();
  const int count =
      ::pcre2_substitute(all_of_it(), bytes_of(text), text.size(), 0, PCRE2_SUBSTITUTE_EXTENDED,
                         nullptr, nullptr, bytes_of(kLower), kLower.size(),
                         static_cast<PCRE2_UCHAR*>(static_cast<void*>(out.data())), &size);
  if (count < 0) return std::nullopt;
  out.resize(size);
  return out;
}

}  // namespace

bool is_folded(std::string_view key) {
  return std::ranges::none_of(
      key, [](char c) { return is_upper(c) || static_cast<unsigned char>(c) > 0x7F; });
}

std::optional<std::string> fold_key(std::string_view key, bool utf8) {
  if (!utf8 || is_all_ascii(key)) return to_lower(key);
  return to_lower_utf8(key);
}

}  // namespace postern::table
