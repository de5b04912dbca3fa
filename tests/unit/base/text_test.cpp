#include "common/base/text.h"

#include <catch2/catch.hpp>

namespace postern {

TEST_CASE("words and fields are split, braces hold together") {
  using Views = std::vector<std::string_view>;
  CHECK(split_words(" a, b\tc,,") == Views{"a", "b", "c"});
  CHECK(split_words("").empty());
  CHECK(split_fields("a,,b", ',') == Views{"a", "", "b"});
  CHECK(split_fields("", ',') == Views{""});
  CHECK(split_words_braced("inline:{ a=b, { c = d } } hash:/x, {y z}") ==
        Views{"inline:{ a=b, { c = d } }", "hash:/x", "{y z}"});
  CHECK(split_words_braced("a { b c") == Views{"a", "{ b c"});
}

TEST_CASE("case is ASCII case") {
  CHECK(equal_nocase("MAIL", "mail"));
  CHECK_FALSE(equal_nocase("MAIL", "mai"));
  CHECK(compare_nocase("abc", "ABD") < 0);
  CHECK(compare_nocase("ab", "ABC") < 0);
  CHECK(to_lower("J\xc3\x9cRGEN") == "j\xc3\x9crgen");
}

TEST_CASE("globs match as a shell's do") {
  struct Case {
    std::string_view pattern, text;
    bool matches;
  };
  const auto c = GENERATE(values<Case>({
      {"", "", true},
      {"*", "", true},
      {"a*b*c", "aXXbYYc", true},
      {"a*b*c", "aXXbYY", false},
      {"?x", "ax", true},
      {"?x", "x", false},
      {"[a-c]1", "b1", true},
      {"[!a-c]1", "b1", false},
      {"[]]", "]", true},
      {"[abc", "a", false},
      {"\\*", "*", true},
      {"\\*", "a", false},
      {"*.example.org", "mx.example.org", true},
  }));
  INFO(c.pattern << " on " << c.text);
  CHECK(glob_match(c.pattern, c.text) == c.matches);
}

TEST_CASE("many stars do not take for ever") {
  CHECK_FALSE(glob_match("*a*a*a*a*a*a*a*a*a*a*b", std::string(20000, 'a')));
}

TEST_CASE("UTF-8 is judged as RFC 3629 does") {
  CHECK(is_valid_utf8("gr\xc3\xbc\xc3\x9f"));
  CHECK(is_valid_utf8("\xf0\x9f\x98\x80"));
  for (const std::string_view bad : {"\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\x80",
                                     "\xe2\x82", "\xf4\x90\x80\x80"}) {
    CHECK_FALSE(is_valid_utf8(bad));
  }
  CHECK(is_all_ascii("0123456789"));
  CHECK_FALSE(is_all_ascii("0123456\xc3"));
  CHECK_FALSE(is_all_ascii("01234567\xc3"));
}

}  // namespace postern
