#include "spawn/command.h"

#include <catch2/catch.hpp>

namespace postern::spawn {

TEST_CASE("a spawn line names a user and a command") {
  const auto command = parse_command({"user=nobody:mail", "argv=/bin/policy", "-v", "user=x"});
  REQUIRE(command.has_value());
  CHECK(command->user == "nobody");
  CHECK(command->group == "mail");
  CHECK(command->arguments == std::vector<std::string>{"/bin/policy", "-v", "user=x"});
}

TEST_CASE("a spawn line without user, command or path is refused") {
  const auto words = GENERATE(values<std::vector<std::string>>({{},
                                                                {"user=nobody"},
                                                                {"argv=/bin/x"},
                                                                {"user=", "argv=/bin/x"},
                                                                {"user=nobody", "argv=x"},
                                                                {"user=nobody", "argv="},
                                                                {"flags=R", "user=a", "argv=/x"}}));
  CHECK_FALSE(parse_command(words).has_value());
}

}  // namespace postern::spawn
