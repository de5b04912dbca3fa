#include "local/destinations.h"

#include <catch2/catch.hpp>

namespace postern::local {

namespace {
using Kind = DestinationKind;
using List = std::vector<Destination>;
}  // namespace

TEST_CASE("the right-hand side of an alias is read as aliases(5) has it") {
  struct Case {
    std::string_view text;
    List wanted;
  };
  const auto c = GENERATE(values<Case>({
      {"alice", {{Kind::kAddress, "alice"}}},
      {"alice, bob,\n        carol",
       {{Kind::kAddress, "alice"}, {Kind::kAddress, "bob"}, {Kind::kAddress, "carol"}}},
      {"\"|/bin/cmd a, b\"", {{Kind::kCommand, "/bin/cmd a, b"}}},
      {"|/bin/cmd", {{Kind::kCommand, "/bin/cmd"}}},
      {"\"|echo \\\"x\\\"\"", {{Kind::kCommand, "echo \"x\""}}},
      {"/var/box, \"/with space\"", {{Kind::kFile, "/var/box"}, {Kind::kFile, "/with space"}}},
      {"|/bin/cmd arg, /box x",
       {{Kind::kCommand, "/bin/cmd"},
        {Kind::kAddress, "arg"},
        {Kind::kFile, "/box"},
        {Kind::kAddress, "x"}}},
      {"~/mail/box, ~other", {{Kind::kFile, "~/mail/box"}, {Kind::kFile, "~other"}}},
      {":include:/etc/list", {{Kind::kInclude, "/etc/list"}}},
      {"\":include:/etc/list\"", {{Kind::kInclude, "/etc/list"}}},
      {"\\alice, bob@x.org", {{Kind::kMailbox, "alice"}, {Kind::kAddress, "bob@x.org"}}},
      {"\"Some One\" <far@ext.test>, nobody",
       {{Kind::kAddress, "far@ext.test"}, {Kind::kAddress, "nobody"}}},
      {"bob@parity.test  (a, comment)", {{Kind::kAddress, "bob@parity.test"}}},
      {"\"with space\"@x.org", {{Kind::kAddress, "with space@x.org"}}},
      {"", {}},
      {" , ,\n", {}},
  }));
  INFO(c.text);
  CHECK(parse_destinations(c.text) == c.wanted);
}

TEST_CASE("odd quoting ends somewhere and takes nothing with it that is not there") {
  for (const std::string_view text :
       {"\"", "\"|", "(", "<", "\"a\\", "a\\", "\\", "((((", ",\"\","}) {
    (void)parse_destinations(text);
    (void)parse_destination_file(text);
  }
  SUCCEED();
}

TEST_CASE("lines of a file that begin with # are comments") {
  const auto list = parse_destination_file("# the members\nalice\n  # more\n\nbob, carol # x\n");
  REQUIRE(list.size() >= 3);
  CHECK(list[0] == Destination{Kind::kAddress, "alice"});
  CHECK(list[1] == Destination{Kind::kAddress, "bob"});
}

}  // namespace postern::local
