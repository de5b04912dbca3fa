#include "common/ipc/identity.h"

#include <catch2/catch.hpp>
#include <cstdlib>

namespace postern::ipc {

TEST_CASE("identities read back as they were printed") {
  const std::string first = make_token();
  const std::string second = make_token();
  CHECK(first != second);
  const auto read = parse_identities(print_identities({{"smtp", first}, {"auth", second}}));
  REQUIRE(read.size() == 2);
  CHECK(read[0].program == "smtp");
  CHECK(read[1].token == second);
}

TEST_CASE("words that are no identity are left out") {
  CHECK(parse_identities("smtp smtp= =0123 smtp=0123  ").empty());
}

TEST_CASE("only the token of a program proves it") {
  const std::string token = make_token();
  set_identities({}, {{"smtp", token}, {"auth", make_token()}});
  CHECK(is_proven({"smtp", token}));
  CHECK_FALSE(is_proven({"auth", token}));
  CHECK_FALSE(is_proven({"smtp", make_token()}));
  CHECK_FALSE(is_proven({"smtp", ""}));
  CHECK_FALSE(is_proven({"smtpd", token}));
  set_identities({}, {});
  CHECK_FALSE(is_proven({"smtp", token}));
}

TEST_CASE("identities are taken out of the environment") {
  const std::string token = make_token();
  ::setenv("POSTERN_IDENTITY", ("smtp=" + token).c_str(), 1);
  const char* const place = ::getenv("POSTERN_IDENTITY");
  take_identities();
  CHECK(own_identity().program == "smtp");
  CHECK(own_identity().token == token);
  CHECK(::getenv("POSTERN_IDENTITY") == nullptr);
  CHECK(std::string_view(place).find(token) == std::string_view::npos);
  set_identities({}, {});
}

}  // namespace postern::ipc
