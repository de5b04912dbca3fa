#include "common/mail/encoded_word.h"

#include <catch2/catch.hpp>

#include "common/base/text.h"

namespace postern::mail {

TEST_CASE("encoded words have what a phrase may have, and no more than 75 characters") {
  CHECK(encode_words("a_b = \"c\" (d), <e>", "utf-8") ==
        "=?utf-8?Q?a=5Fb_=3D_=22c=22_=28d=29=2C_=3Ce=3E?=");
  std::string long_name;
  for (int i = 0; i < 60; ++i)
    long_name +=
        "\xe2\x82\xac"
        "x";
  const std::string text = encode_words(long_name, "utf-8");
  const auto words = split_words(text, " ");
  CHECK(words.size() > 1);
  for (const auto word : words) {
    CHECK(word.size() <= 75);
    CHECK(word.starts_with("=?utf-8?Q?"));
    CHECK(word.ends_with("?="));
    // No character is parted: each word begins with one.
    CHECK((word.substr(10).starts_with("=E2=82=AC") || word.substr(10).starts_with("x")));
  }
  CHECK(encode_words("", "utf-8").empty());
  // Bytes that are no UTF-8, and a charset with a name too long for it, end as well.
  CHECK_FALSE(encode_words(std::string(300, '\x80'), "utf-8").empty());
  CHECK_FALSE(encode_words(std::string(300, '\xff'), std::string(100, 'c')).empty());
}

}  // namespace postern::mail
