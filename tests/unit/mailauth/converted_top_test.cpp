#include "common/mailauth/converted_top.h"

#include <catch2/catch.hpp>

#include "common/queuefile/envelope.h"

namespace postern::mailauth {

namespace {

constexpr std::string_view kTop = "DKIM-Signature: v=1; b=one\n two\n";
constexpr std::string_view kConverted = "DKIM-Signature: v=1; b=three+\n four=\n";

}  // namespace

TEST_CASE("the other edition of the signatures takes the place of the first") {
  const std::string attribute = print_converted_top(kTop, kConverted);
  CHECK(attribute.find('\n') == std::string::npos);
  std::string header = std::string(kTop) + "Subject: x\n";
  put_converted_top(header, attribute);
  CHECK(header == std::string(kConverted) + "Subject: x\n");
}

TEST_CASE("a header that does not begin with the signatures stays as it is") {
  const std::string attribute = print_converted_top(kTop, kConverted);
  for (const std::string& before :
       {"Received: from x\n" + std::string(kTop), std::string("S: x\n"), std::string()}) {
    std::string header = before;
    put_converted_top(header, attribute);
    CHECK(header == before);
  }
}

TEST_CASE("what is no such attribute changes nothing") {
  for (const std::string attribute :
       {"", "x", "1 2", "-1 x y", "99999999999999999999 x y", "0  ", "4 AAAA +", "3 a b c"}) {
    std::string header = "A: b\n";
    put_converted_top(header, attribute);
    CHECK(header == "A: b\n");
  }
}

TEST_CASE("signatures too large for an attribute are left out") {
  const std::string large(queuefile::kMaxAttributeValue, 'x');
  CHECK(print_converted_top(kTop, large).empty());
}

}  // namespace postern::mailauth
