#include "common/mail/address.h"

#include <catch2/catch.hpp>

namespace postern::mail {

namespace {

std::optional<Path> path_of(std::string_view text, PathRules rules = {}) {
  PathError error{};
  return parse_path(text, rules, error);
}

PathError error_of(std::string_view text, PathRules rules = {}) {
  PathError error{};
  CHECK_FALSE(parse_path(text, rules, error).has_value());
  return error;
}

}  // namespace

TEST_CASE("paths are read as SMTP clients write them") {
  struct Case {
    std::string_view text, address, original;
  };
  const auto c = GENERATE(values<Case>({
      {"<s@ext.test>", "s@ext.test", "s@ext.test"},
      {" <s@ext.test>", "s@ext.test", "s@ext.test"},
      {"s@ext.test", "s@ext.test", "s@ext.test"},
      {"<\"sender x\"@ext.test>", "sender x@ext.test", "\"sender x\"@ext.test"},
      {"<odd\\ name@parity.test>", "odd name@parity.test", "odd\\ name@parity.test"},
      {"<\"a\\\"b\"@ext.test>", "a\"b@ext.test", "\"a\\\"b\"@ext.test"},
      {"<\"a@b\"@ext.test>", "a@b@ext.test", "\"a@b\"@ext.test"},
      {"<\"\"@ext.test>", "@ext.test", "\"\"@ext.test"},
      {"<a..b@ext.test>", "a..b@ext.test", "a..b@ext.test"},
      {"<a/b=c!#$&'*{}~@ext.test>", "a/b=c!#$&'*{}~@ext.test", "a/b=c!#$&'*{}~@ext.test"},
      {"<@a.test,@b.test:u1@ext.test>", "u1@ext.test", "@a.test,@b.test:u1@ext.test"},
      {"<@parity.test>", "@parity.test", "@parity.test"},
      {"<alice@@parity.test>", "alice@@parity.test", "alice@@parity.test"},
      {"<alice@>", "alice@", "alice@"},
      {"<u@[IPv6:2001:db8::1]>", "u@[IPv6:2001:db8::1]", "u@[IPv6:2001:db8::1]"},
      {"<j\xc3\xbcrgen@parity.test>", "j\xc3\xbcrgen@parity.test", "j\xc3\xbcrgen@parity.test"},
      {"<\"a > b\"@x>", "a > b@x", "\"a > b\"@x"},
  }));
  INFO(c.text);
  const auto path = path_of(c.text);
  REQUIRE(path.has_value());
  CHECK(path->address == c.address);
  CHECK(path->original == c.original);
}

TEST_CASE("what follows a path is left for the parameters") {
  std::string_view text = "<\"a b\"@x> SIZE=10 BODY=7BIT";
  PathError error{};
  REQUIRE(parse_path(text, {}, error).has_value());
  CHECK(text == " SIZE=10 BODY=7BIT");
}

TEST_CASE("paths that are none are refused for the right reason") {
  CHECK(error_of("") == PathError::kMissing);
  CHECK(error_of("  ") == PathError::kMissing);
  CHECK(error_of("<s@ext.test") == PathError::kUnterminated);
  CHECK(error_of("<\"s@ext.test>") == PathError::kUnterminated);
  CHECK(error_of("<>") == PathError::kEmpty);
  CHECK(error_of("<alice bob@parity.test>") == PathError::kNotOne);
  CHECK(error_of("<a@b>SIZE=1") == PathError::kNotOne);
  CHECK(error_of("<a@b,c@d>") == PathError::kNotOne);
  CHECK(error_of("<u@[a@b.c]>") == PathError::kNotOne);
  CHECK(error_of("<u@\"b c\">") == PathError::kNotOne);
  CHECK(path_of("<>", {.allow_empty = true})->address.empty());
}

TEST_CASE("strict envelopes take <address> and nothing else") {
  const PathRules strict{.strict = true};
  CHECK(path_of("<a@b>", strict).has_value());
  CHECK(error_of("a@b", strict) == PathError::kNotOne);
  CHECK(error_of("<a@b(comment)>", strict) == PathError::kNotOne);
  CHECK(path_of("<a@b(comment)>")->address == "a@b");
}

TEST_CASE("local parts are quoted only where they must be") {
  struct Case {
    std::string_view internal, external;
  };
  const auto c = GENERATE(values<Case>({
      {"a.b.c@ext.test", "a.b.c@ext.test"},
      {"a..b@ext.test", "\"a..b\"@ext.test"},
      {".a@ext.test", "\".a\"@ext.test"},
      {"a.@ext.test", "\"a.\"@ext.test"},
      {"a@b@ext.test", "\"a@b\"@ext.test"},
      {"a\"b@ext.test", "\"a\\\"b\"@ext.test"},
      {"a\\b@ext.test", "\"a\\\\b\"@ext.test"},
      {"odd name", "\"odd name\""},
      {"@ext.test", "\"\"@ext.test"},
      {"j\xc3\xbcrgen@x", "j\xc3\xbcrgen@x"},
      {"", ""},
  }));
  CHECK(quote_address(c.internal) == c.external);
  CHECK(unquote_address(c.external) == c.internal);
}

TEST_CASE("an extension starts at the first delimiter that is not in front") {
  struct Case {
    std::string_view local, delimiters, user, extension;
    char delimiter;
  };
  const auto c = GENERATE(values<Case>({
      {"alice+one", "+", "alice", "one", '+'},
      {"alice+a+b", "+-", "alice", "a+b", '+'},
      {"alice-two+x", "+-", "alice", "two+x", '-'},
      {"alice+", "+", "alice", "", '+'},
      {"+alice", "+", "+alice", "", 0},
      {"alice", "", "alice", "", 0},
      {"owner-list", "-", "owner-list", "", 0},
      {"list-request", "-", "list-request", "", 0},
      {"list-request", "+", "list-request", "", 0},
      {"double-bounce", "-", "double-bounce", "", 0},
      {"Mailer-Daemon", "-", "Mailer-Daemon", "", 0},
  }));
  const LocalPart parts = split_extension(c.local, c.delimiters);
  INFO(c.local);
  CHECK(parts.user == c.user);
  CHECK(parts.extension == c.extension);
  CHECK(parts.delimiter == c.delimiter);
}

TEST_CASE("owner- and -request are plain names when owner_request_special is off") {
  CHECK(split_extension("list-request", "-", false).user == "list");
  CHECK(strip_extension("a+b@x", "+").address == "a@x");
  CHECK(strip_extension("a+b@x", "+").extension == "+b");
}

TEST_CASE("host names follow the label rules") {
  for (const std::string_view good : {"a", "mx.example.org", "a_b.example", "1.example", "x--y.z",
                                      "b\xc3\xbc"
                                      "cher.example"}) {
    INFO(good);
    CHECK(is_valid_hostname(good));
  }
  const std::string long_label(64, 'a');
  for (const std::string_view bad :
       {std::string_view(""), std::string_view("-a.b"), std::string_view("a-.b"),
        std::string_view("a..b"), std::string_view(".a"), std::string_view("a."),
        std::string_view("192.0.2.1"), std::string_view("a b"), std::string_view("a!b"),
        std::string_view(long_label), std::string_view("\xc3")}) {
    INFO(bad);
    CHECK_FALSE(is_valid_hostname(bad));
  }
  CHECK(is_valid_domain("[192.0.2.1]"));
  CHECK(literal_address("[IPv6:2001:db8::1]") == "2001:db8::1");
  CHECK_FALSE(is_address_literal(std::string_view("[192.0.2.1\0x]", 13)));
  for (const std::string_view bad : {"[]", "[192.0.2]", "[IPv6:]", "[2001:db8::1]", "[1.2.3.4"}) {
    CHECK_FALSE(is_valid_domain(bad));
  }
}

TEST_CASE("header lists keep what is no address, and print in Postfix's spacing") {
  struct Case {
    std::string_view text, printed;
  };
  const auto c = GENERATE(values<Case>({
      {"(a comment) bare (another)", "bare (a comment) (another)"},
      {"\"Last, First\" <first.last>, group : one, two@host;, <three>",
       "\"Last, First\" <first.last>, group: one, two@host;, <three>"},
      {"four@[192.0.2.9], five @ spaced . test", "four@[192.0.2.9], five@spaced.test"},
      {"a.b.c <x>, =?utf-8?q?J=C3=BCrgen?= <juergen>",
       "a.b.c <x>, =?utf-8?q?J=C3=BCrgen?= <juergen>"},
      {"\"\"<empty>", "\"\" <empty>"},
      {"nobody here, but commas", "nobody, here, but, commas"},
      {"Joe (the (nested) one) <joe@ext.test>", "Joe (the (nested) one) <joe@ext.test>"},
      {"Johnny B. Goode <j@x>", "Johnny B. Goode <j@x>"},
      {"<@route.test:six@dest.test>, @a.test:w@ext.test",
       "<@route.test:six@dest.test>, @a.test:w@ext.test"},
      {"sales@parity.test (Sales dept)", "sales@parity.test (Sales dept)"},
      {"undisclosed-recipients:;", "undisclosed-recipients: ;"},
      // Without its end a group is none.
      {"Friends: alice, bob", "\"Friends:alice\", bob"},
      {"A: x, B: y;, c", "\"A:x\", B: y;, c"},
      // As many quotes as an address needs, and no more.
      {"a..b@x.test, .c@x.test, d.@x.test", "\"a..b\"@x.test, \".c\"@x.test, \"d.\"@x.test"},
      {"\"plain\"@x.test, \"two words\"@x.test", "plain@x.test, \"two words\"@x.test"},
      {"<a@b, c@d", "<a@b>, c@d"},
      {"(only)", "(only)"},
      {"((((a", "((((a))))"},
      {"(a\\", "(a)"},
      {"\"unclosed", "unclosed"},
      {"a@b,,c@d", "a@b, , c@d"},
  }));
  INFO(c.text);
  auto list = AddressList::parse(c.text);
  // Quotes are a matter of rewriting: what is only read is printed with those that it had.
  list.rewrite([](const std::string& address) { return address; });
  CHECK(list.print() == c.printed);
}

TEST_CASE("the addresses of a list come in external form and can be replaced") {
  AddressList list = AddressList::parse("A <a@x>, \"b c\"@y, g: d;");
  CHECK(list.addresses() == std::vector<std::string>{"a@x", "\"b c\"@y", "d"});
  CHECK(list.rewrite([](const std::string& address) { return address + ".z"; }));
  CHECK(list.print() == "A <a@x.z>, \"b c\"@y.z, g: d.z;");
  CHECK_FALSE(list.rewrite([](const std::string& address) { return address; }));
}

TEST_CASE("a list of a million commas and parentheses is cut, not suffered") {
  CHECK(AddressList::parse(std::string(1000000, ',')).items().size() == kAddressTokenLimit);
  CHECK(AddressList::parse(std::string(1000000, '(')).items().size() == 1);
}

}  // namespace postern::mail
