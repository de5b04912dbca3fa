#include "common/config/dkim_tables.h"

#include <catch2/catch.hpp>

namespace postern::config {

TEST_CASE("a key table is read as OpenDKIM writes it, and its mistakes are told by line") {
  std::vector<unsigned> wrong;
  const auto table = parse_dkim_keys(
      "# comment\n\nfirst  Example.org:s1:/etc/keys/s1.private\nany\t%:s2:/k\nbad example.org\n"
      "short x:y\nrelative a:b:c\n",
      wrong);
  CHECK(table.size() == 2);
  CHECK(table.find("first")->second == DkimKey{"example.org", "s1", "/etc/keys/s1.private"});
  CHECK(table.find("any")->second.domain == "%");
  CHECK(wrong == std::vector<unsigned>{5, 6, 7});
}

TEST_CASE("the first pattern that fits an author counts, with all of its keys") {
  std::vector<unsigned> wrong;
  const auto table = parse_dkim_rules(
      "boss@example.org  own\n*@*.example.org sub\nexample.org a,b\n*@Example.org never\n"
      "@second.test c\n.third.test d\nexample.org e\nlonely\n",
      wrong);
  CHECK(wrong == std::vector<unsigned>{8});
  const auto keys_of = [&](std::string_view address) {
    const auto* rule = find_dkim_rule(table, address);
    return rule == nullptr ? std::vector<std::string>{} : rule->keys;
  };
  using Keys = std::vector<std::string>;
  CHECK(keys_of("Boss@Example.Org") == Keys{"own"});
  CHECK(keys_of("a@x.example.org") == Keys{"sub"});
  CHECK(keys_of("a@example.org") == Keys{"a", "b", "e"});
  CHECK(keys_of("a@second.test") == Keys{"c"});
  CHECK(keys_of("a@x.second.test").empty());
  CHECK(keys_of("a@x.third.test") == Keys{"d"});
  CHECK(keys_of("a@notexample.org").empty());
  CHECK(keys_of("").empty());
}

TEST_CASE("a table is a file of OpenDKIM's form or a table of ours") {
  CHECK(dkim_table_file("/etc/a") == "/etc/a");
  CHECK(dkim_table_file("file:/etc/a") == "/etc/a");
  CHECK(dkim_table_file("refile:/etc/a") == "/etc/a");
  CHECK_FALSE(dkim_table_file("hash:/etc/a").has_value());
  CHECK_FALSE(dkim_table_file("").has_value());
  CHECK(dkim_key_path("$config_directory/$domain/$selector.pem", "d", "s", "/etc/p") ==
        "/etc/p/d/s.pem");
}

}  // namespace postern::config
