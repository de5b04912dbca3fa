#include "common/config/main_cf.h"

#include <catch2/catch.hpp>

namespace postern::config {

TEST_CASE("continuation lines, and comments and empty lines between them, make one setting") {
  const MainCf cf = parse_main_cf(
      "# first\n"
      "mydestination = one,\n"
      "    # a comment inside\n"
      "\n"
      "# another\n"
      "\ttwo.test\n"
      "relayhost=[mail.test]:587\r\n"
      "empty =\n",
      "main.cf");
  REQUIRE(cf.problems.empty());
  REQUIRE(cf.settings.size() == 3);
  CHECK(cf.settings[0].name == "mydestination");
  CHECK(cf.settings[0].value == "one, two.test");
  CHECK(cf.settings[0].line == 2);
  CHECK(cf.settings[1].value == "[mail.test]:587");
  CHECK(cf.settings[1].line == 7);
  CHECK(cf.settings[2].value.empty());
}

TEST_CASE("the last setting of a name counts, and the earlier one is a warning") {
  const MainCf cf = parse_main_cf("a = 1\nb = 2\na = 3\n", "f");
  REQUIRE(cf.settings.size() == 2);
  CHECK(cf.settings[0].value == "3");
  CHECK(cf.settings[0].line == 3);
  REQUIRE(cf.problems.size() == 1);
  CHECK(cf.problems[0].text == "overriding earlier entry: a=1");
  CHECK(cf.problems[0].severity == Severity::kWarning);
  CHECK_FALSE(has_error(cf.problems));
}

TEST_CASE("a malformed line is an error with its place, and the next one is read") {
  struct Case {
    const char *bytes, *text;
  };
  const auto c = GENERATE(values<Case>({
      {"no equals\n", "missing '=' after attribute name: \"no equals\""},
      {"two words = x\n", "missing '=' after attribute name: \"two words = x\""},
      {"= x\n", "missing attribute name: \"= x\""},
      {"na$me = x\n", "\"na$me\" cannot be a parameter's name"},
  }));
  const MainCf cf = parse_main_cf(std::string(c.bytes) + "good = yes\n", "main.cf");
  REQUIRE(cf.problems.size() == 1);
  CHECK(cf.problems[0].text == c.text);
  CHECK(place_of(cf.problems[0]) == "main.cf:1");
  CHECK(has_error(cf.problems));
  REQUIRE(cf.settings.size() == 1);
  CHECK(cf.settings[0].name == "good");
}

TEST_CASE("white space before the first setting and NUL bytes are errors") {
  CHECK(has_error(parse_main_cf("  a = b\n", "f").problems));
  CHECK(has_error(parse_main_cf(std::string("a = b\n\0c = d", 12), "f").problems));
  CHECK(has_error(parse_main_cf(std::string(kMaxConfigFile + 1, 'x'), "f").problems));
}

}  // namespace postern::config
