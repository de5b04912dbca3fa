#include "common/mail/verp.h"

#include <catch2/catch.hpp>

namespace postern::mail {

TEST_CASE("each recipient has a sender address of its own") {
  struct Case {
    std::string_view sender, recipient, delimiters, expected;
  };
  const auto c = GENERATE(
      Case{"list@example.org", "u@example.net", "+=", "list+u=example.net@example.org"},
      Case{"list@example.org", "u+x@example.net", "-=", "list-u+x=example.net@example.org"},
      Case{"list@example.org", "u", "+=", "list+u@example.org"},
      Case{"list", "u@example.net", "+=", "list+u=example.net"},
      Case{"", "u@example.net", "+=", ""},
      Case{"list@example.org", "u@example.net", "+", "list@example.org"});
  CHECK(verp_sender(c.sender, c.recipient, c.delimiters) == c.expected);
}

TEST_CASE("delimiters are two characters of the filter") {
  CHECK(is_verp_delimiters("+=", "-=+"));
  CHECK(is_verp_delimiters("--", "-=+"));
  CHECK_FALSE(is_verp_delimiters("+", "-=+"));
  CHECK_FALSE(is_verp_delimiters("+==", "-=+"));
  CHECK_FALSE(is_verp_delimiters("+@", "-=+"));
}

}  // namespace postern::mail
