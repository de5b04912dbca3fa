#include "common/base/encode.h"

#include <catch2/catch.hpp>

#include "common/base/number.h"

namespace postern {

TEST_CASE("base64 gives RFC 4648's vectors and reads them back") {
  struct Case {
    std::string_view plain, encoded;
  };
  const auto c = GENERATE(values<Case>({{"", ""},
                                        {"f", "Zg=="},
                                        {"fo", "Zm8="},
                                        {"foo", "Zm9v"},
                                        {"foob", "Zm9vYg=="},
                                        {"foobar", "Zm9vYmFy"}}));
  CHECK(base64_encode(c.plain) == c.encoded);
  CHECK(base64_decode(c.encoded) == std::string(c.plain));
}

TEST_CASE("base64 that two encoders would write differently is refused") {
  const auto bad = GENERATE(values<std::string_view>(
      {"Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "Z===", "====", "Zm9v\n", "Zm 9v", "Zm-_"}));
  INFO(bad);
  CHECK_FALSE(base64_decode(bad).has_value());
}

TEST_CASE("folded base64 may hold white space") {
  CHECK(base64_decode_folded("Zm9v\r\n\tYmFy ") == "foobar");
  CHECK(base64_encode_lines("foobar", 4) == "Zm9v\nYmFy\n");
}

TEST_CASE("xtext is that of RFC 3461") {
  CHECK(xtext_encode("a+b=c d") == "a+2Bb+3Dc+20d");
  CHECK(xtext_decode("a+2Bb+3Dc+20d") == "a+b=c d");
  for (const std::string_view bad : {"a+ZZ", "a+2", "+"})
    CHECK_FALSE(xtext_decode(bad).has_value());
  CHECK(xtext_encode("\xc3\xbc") == "+C3+BC");
  CHECK(xtext_encode_utf8("gr\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80+\\@x") ==
        R"(gr\x{FC}\x{20AC}\x{1F600}\x{2B}\x{5C}@x)");
}

TEST_CASE("hexadecimal reads what it writes") {
  CHECK(hex_encode(std::string_view("\x00\xff", 2)) == "00ff");
  CHECK(hex_decode("00FF") == std::string("\x00\xff", 2));
  CHECK_FALSE(hex_decode("0").has_value());
  CHECK_FALSE(hex_decode("0g").has_value());
}

TEST_CASE("quoted-printable lines are short and read back") {
  CHECK(quoted_printable_encode("Bl\xc3\xa5 = x\n") == "Bl=C3=A5 =3D x\n");
  CHECK(quoted_printable_encode("end \nand\t") == "end=20\nand=09");
  const std::string text = std::string(200, 'a') + " \n" + std::string(75, 'b') + "\n=";
  const std::string encoded = quoted_printable_encode(text);
  CHECK(quoted_printable_decode(encoded) == text);
  std::size_t column = 0;
  for (const char c : encoded) {
    column = c == '\n' ? 0 : column + 1;
    CHECK(column <= 76);
  }
  CHECK(quoted_printable_decode("a=3D=zz=\nb") == "a==zzb");
}

TEST_CASE("numbers are whole, in bounds, and without ornament") {
  CHECK(parse_integer<int>("42") == 42);
  CHECK(parse_integer<int>("-1") == -1);
  CHECK(parse_integer<unsigned>("10", 0, 10) == 10U);
  for (const std::string_view bad : {"", " 1", "1 ", "+1", "1x", "11", "99999999999999999999"}) {
    INFO(bad);
    CHECK_FALSE(parse_integer<unsigned>(bad, 0, 10).has_value());
  }
  CHECK_FALSE(checked_add(~std::size_t{0}, std::size_t{1}).has_value());
  CHECK(checked_multiply(6, 7) == 42);
}

}  // namespace postern
