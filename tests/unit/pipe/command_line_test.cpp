#include "pipe/command_line.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace postern::pipe {

using Words = std::vector<std::string>;

TEST_CASE("a pipe line is read whole, or refused") {
  const auto line = parse_command_line({"flags=DRhu", "user=vmail:mail", "eol=\\r\\n", "size=10",
                                        "argv=/bin/x", "-d", "{two words}"});
  REQUIRE(line);
  CHECK(line->user == "vmail");
  CHECK(line->group == "mail");
  CHECK(line->eol == "\r\n");
  CHECK(line->size_limit == 10);
  CHECK(line->arguments == Words{"/bin/x", "-d", "two words"});

  for (const Words& bad :
       {Words{"argv=/bin/x"}, Words{"user=a"}, Words{"user=a", "flags=Z", "argv=x"},
        Words{"user=a", "size=-1", "argv=x"}, Words{"user=a", "odd=1", "argv=x"},
        Words{"user=a", "odd", "argv=x"}}) {
    CHECK_FALSE(parse_command_line(bad));
  }
}

TEST_CASE("arguments are repeated for each recipient, and a value names no other value") {
  CommandLine line;
  line.flags = "hq";
  line.arguments = {"/bin/x", "${sender}", "${recipient}", "${extension}", "$$"};
  MacroValues values;
  values.sender = "a b@c.test";
  values.recipient_delimiter = "+";
  values.recipients = {{"A+$x@B.Test", ""}, {"odd name@c.test", ""}};
  const auto arguments = expand_arguments(line, values);
  REQUIRE(arguments);
  CHECK(*arguments ==
        Words{"/bin/x", "\"a b\"@c.test", "A+$x@b.test", "\"odd name\"@c.test", "$x", "", "$"});
  line.arguments = {"${nothing}"};
  CHECK_FALSE(expand_arguments(line, values));
}

}  // namespace postern::pipe
