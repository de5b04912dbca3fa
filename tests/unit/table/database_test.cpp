#include "common/table/database.h"

#include <sqlite3.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/base/text.h"

namespace postern::table {

namespace {

std::string doubled(std::string_view text) { return replace_all(text, "'", "''"); }

std::string query_for(std::string_view pattern, std::string_view key) {
  return expand_query(pattern, key, doubled).value_or("(none)");
}

std::string result_of(std::string_view format, std::string_view value, std::string_view key) {
  std::string result;
  return append_result(result, format, value, key) ? result : "(none)";
}

}  // namespace

TEST_CASE("a query takes the parts of the key, quoted, or is not asked") {
  CHECK(query_for("a='%s'", "joe@x.example.org") == "a='joe@x.example.org'");
  CHECK(query_for("%u|%d|%U|%D|%S", "joe@x.org") == "joe|x.org|joe|x.org|joe@x.org");
  CHECK(query_for("%1.%2.%3", "joe@x.example.org") == "org.example.x");
  CHECK(query_for("%4", "joe@x.example.org") == "(none)");
  CHECK(query_for("%d", "joe") == "(none)");
  CHECK(query_for("%u", "joe") == "joe");
  CHECK(query_for("100%%", "joe") == "100%");
  CHECK(query_for("'%s'", "it's@x.org") == "'it''s@x.org'");
  CHECK(query_for("'%u'", "' or 1=1 --@x.org") == "''' or 1=1 --'");
}

TEST_CASE("a result format speaks of the value in small letters and of the key in capitals") {
  CHECK(result_of("%s", "v", "k@d.org") == "v");
  CHECK(result_of("%s@%D", "v", "k@d.org") == "v@d.org");
  CHECK(result_of("%u", "a@b.org", "k") == "a");
  CHECK(result_of("%d", "a@b.org", "k") == "b.org");
  CHECK(result_of("%d", "a", "k@d.org") == "(none)");
  CHECK(result_of("%D", "a", "k") == "(none)");
  CHECK(result_of("%s", "", "k") == "(none)");
  std::string several;
  CHECK(append_result(several, "<%s>", "a", "k"));
  CHECK(append_result(several, "<%s>", "b", "k"));
  CHECK(several == "<a>,<b>");
}

TEST_CASE("with a domain list only full addresses of one of them are asked for") {
  const DomainFilter filter("a.org, B.org");
  CHECK(filter.admits("x@a.org"));
  CHECK(filter.admits("x@B.ORG"));
  CHECK_FALSE(filter.admits("x@c.org"));
  CHECK_FALSE(filter.admits("x"));
  CHECK_FALSE(filter.admits("@a.org"));
  CHECK_FALSE(filter.admits("a.org"));
  CHECK(DomainFilter("").admits("anything"));
}

TEST_CASE("a template with a letter that means nothing is refused when it is read") {
  CHECK_FALSE(find_template_fault("%s %u %d %1 %9 %% %S").has_value());
  CHECK(find_template_fault("%x").has_value());
  CHECK(find_template_fault("%0").has_value());
  CHECK(find_template_fault("a%").has_value());
}

TEST_CASE("settings say where they are wrong") {
  const auto good = DatabaseSettings::parse("dbpath = /x\nexpansion_limit = 5\n", "/etc/a.cf");
  REQUIRE(good.has_value());
  CHECK(good->text("dbpath") == "/x");
  CHECK(good->text("result_format", "%s") == "%s");
  CHECK(good->count("expansion_limit", 0).value() == 5);
  const auto bad = DatabaseSettings::parse("expansion_limit = many\n", "/etc/a.cf");
  REQUIRE(bad.has_value());
  REQUIRE_FALSE(bad->count("expansion_limit", 0).has_value());
  CHECK(bad->count("expansion_limit", 0).error().text.find("/etc/a.cf") != std::string::npos);
}

TEST_CASE("an sqlite table answers, says nothing, or fails, each as what it is") {
  std::string directory = (std::filesystem::temp_directory_path() / "sqlite.XXXXXX").string();
  REQUIRE(::mkdtemp(directory.data()) != nullptr);
  sqlite3* database = nullptr;
  REQUIRE(::sqlite3_open((directory + "/db").c_str(), &database) == SQLITE_OK);
  REQUIRE(::sqlite3_exec(database,
                         "create table alias(name, goto); insert into alias values('one','a');"
                         "insert into alias values('two','a'); insert into alias values('two','b');"
                         "insert into alias values('nothing', null)",
                         nullptr, nullptr, nullptr) == SQLITE_OK);
  ::sqlite3_close(database);
  const auto settings = [&](std::string_view more) {
    const std::string path = directory + "/sql.cf";
    std::ofstream(path) << "dbpath = " << directory << "/db\n" << more << '\n';
    return path;
  };
  const auto find = [&](std::string_view more, std::string_view key) -> std::string {
    auto table = open_sqlite(settings(more), {}, nullptr);
    if (!table) return "refused";
    const auto value = (*table)->find(key);
    if (!value) return "error";
    return *value ? **value : "(none)";
  };
  constexpr auto kQuery = "query = SELECT goto FROM alias WHERE name='%s'";
  CHECK(find(kQuery, "one") == "a");
  CHECK(find(kQuery, "ONE") == "a");
  CHECK(find(kQuery, "two") == "a,b");
  CHECK(find(kQuery, "nothing") == "(none)");
  CHECK(find(kQuery, "it's") == "(none)");
  CHECK(find("query = SELECT goto FROM alias WHERE name='%s'\nexpansion_limit = 1", "two") ==
        "error");
  CHECK(find("query = SELECT nosuch FROM alias", "one") == "error");
  CHECK(find("table = alias\nselect_field = goto\nwhere_field = name", "one") == "a");
  CHECK(find("", "one") == "refused");
  CHECK(find("query = %q", "one") == "refused");
  CHECK_FALSE(open_sqlite(directory + "/absent.cf", {}, nullptr).has_value());
  std::filesystem::remove_all(directory);
}

}  // namespace postern::table
