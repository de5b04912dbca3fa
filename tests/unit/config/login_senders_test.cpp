#include "common/config/login_senders.h"

#include <catch2/catch.hpp>

namespace postern::config {

TEST_CASE("a user may send as what the patterns of his login say") {
  struct Case {
    std::string_view patterns, sender;
    bool is_allowed;
  };
  const auto c = GENERATE(values<Case>({
      {"*", "anybody@example.org", true},
      {"*", "", true},
      {"alice", "alice", true},
      {"alice", "Alice", true},
      {"alice", "alice+tag", true},
      {"alice", "alice@example.org", false},
      {"bob, alice@example.org", "alice@example.org", true},
      {"bob alice@example.org", "alice+x+y@example.org", true},
      {"@example.org", "any+x@EXAMPLE.org", true},
      {"@example.org", "x@sub.example.org", false},
      {"@example.org", "x", false},
      {"@example.org", "", false},
      {"x*", "xy", false},
      {"<>", "", true},
      {"<>", "<>", false},
      {"alice", "", false},
      {"", "alice", false},
      {"", "", false},
  }));
  INFO(c.patterns << " " << c.sender);
  CHECK(allows_sender(c.patterns, c.sender, "+", "<>") == c.is_allowed);
}

TEST_CASE("the null sender may have a pattern of another name, and extensions may be none") {
  CHECK(allows_sender("nobody", "", "+", "nobody"));
  CHECK_FALSE(allows_sender("<>", "", "+", "nobody"));
  CHECK_FALSE(allows_sender("alice", "alice+tag", "", "<>"));
}

}  // namespace postern::config
