#include "common/mail/idna.h"

#include <catch2/catch.hpp>

namespace postern::mail {

TEST_CASE("U-labels become A-labels") {
  struct Case {
    std::string_view domain, wanted;
  };
  const auto c = GENERATE(values<Case>({
      {"Example.ORG", "example.org"},
      {"b\u00fccher.example", "xn--bcher-kva.example"},
      {"B\u00dcCHER.Example", "xn--bcher-kva.example"},
      {"stra\u00dfe.example", "xn--strae-oqa.example"},
      {"xn--bcher-kva.example", "xn--bcher-kva.example"},
      {"\u4f8b\u3048.\u30c6\u30b9\u30c8", "xn--r8jz45g.xn--zckzah"},
  }));
  CHECK(to_a_labels(c.domain) == std::string(c.wanted));
}

TEST_CASE("what is no internationalised domain has no A-labels") {
  CHECK_FALSE(to_a_labels("\xff.example").has_value());
  CHECK_FALSE(to_a_labels("a\u2028b.example").has_value());
  CHECK_FALSE(to_a_labels(std::string(600, 'a') + "\u00fc").has_value());
}

TEST_CASE("an address keeps its local part") {
  CHECK(with_a_labels("J\u00fcrgen@b\u00fccher.example") == "J\u00fcrgen@xn--bcher-kva.example");
  CHECK(with_a_labels("J\u00fcrgen@example.org") == "J\u00fcrgen@example.org");
  CHECK(with_a_labels("nobody") == "nobody");
  CHECK(with_a_labels("a@\xff") == "a@\xff");
}

}  // namespace postern::mail
