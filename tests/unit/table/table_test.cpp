#include "common/table/table.h"

#include <fmt/format.h>
#include <lmdb.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "common/table/builder.h"
#include "common/table/cidr.h"
#include "common/table/source.h"

namespace postern::table {

namespace {

// A directory of its own for one test.
class Directory {
 public:
  Directory() {
    std::string name = (std::filesystem::temp_directory_path() / "table.XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() { std::filesystem::remove_all(path_); }

  std::string write(std::string_view name, std::string_view text) const {
    std::string path = path_ + "/" + std::string(name);
    std::ofstream(path) << text;
    return path;
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string found(Table& table, std::string_view key) {
  const auto value = table.find(key);
  if (!value) return "error: " + value.error().text;
  return *value ? **value : "(none)";
}

std::string look_up(const std::string& name, std::string_view key) {
  const auto table = open_table(name);
  if (!table) return "error: " + table.error().text;
  return found(**table, key);
}

void build(const std::string& name, const std::vector<std::pair<std::string, std::string>>& entries,
           BuildOptions options = {}) {
  const auto builder = Builder::open(name, options);
  REQUIRE(builder.has_value());
  for (const auto& [key, value] : entries) REQUIRE((*builder)->add(key, value).has_value());
  const auto done = (*builder)->commit();
  INFO((done ? "" : done.error().text));
  REQUIRE(done.has_value());
}

}  // namespace

TEST_CASE("database files give back what was put in, with and without trailing NUL") {
  const Directory directory;
  const std::string type = GENERATE("hash", "btree", "lmdb", "cdb");
  const bool trailing_nul = GENERATE(true, false);
  const std::string name = type + ":" + directory.path() + "/t";
  BuildOptions options;
  options.trailing_nul = trailing_nul;
  build(name, {{"one", "first value"}, {"Two", "Second"}, {"big", std::string(100000, 'x')}},
        options);

  const auto table = open_table(name);
  INFO(name);
  REQUIRE(table.has_value());
  CHECK(found(**table, "one") == "first value");
  CHECK(found(**table, "TWO") == "Second");
  CHECK(found(**table, "big").size() == 100000);
  CHECK(found(**table, "on") == "(none)");
  CHECK(found(**table, "") == "(none)");
  CHECK(found(**table, std::string(100000, 'k')) == "(none)");
  std::vector<std::string> keys;
  REQUIRE((*table)->for_each([&](std::string_view key, std::string_view) {
    keys.emplace_back(key);
    return true;
  }));
  std::ranges::sort(keys);
  CHECK(keys == std::vector<std::string>{"big", "one", "two"});
}

TEST_CASE("a table in use survives its replacement, and the set sees the new one") {
  const Directory directory;
  const std::string type = GENERATE("hash", "btree", "lmdb", "cdb");
  const std::string name = type + ":" + directory.path() + "/t";
  build(name, {{"k", "old"}});
  auto table = open_table(name).value();
  auto set = TableSet::open(name).value();
  CHECK(set.find("k").value() == "old");
  CHECK_FALSE(table->changed());

  build(name, {{"k", "new"}, {"more", "x"}});
  CHECK(table->changed());
  CHECK(found(*table, "k") == "old");
  CHECK(set.generation() == 1);
  CHECK(set.refresh().empty());
  CHECK(set.generation() == 2);
  CHECK(set.find("k").value() == "new");
}

TEST_CASE("a table that is replaced by rubbish goes on as it was") {
  const Directory directory;
  const std::string path = directory.write("t", "k v\n");
  auto set = TableSet::open("texthash:" + path + ", fail:x").value();
  CHECK(set.find("k").value() == "v");
  std::filesystem::remove(path);
  CHECK(set.refresh().empty());
  CHECK(set.find("k").value() == "v");
  CHECK_FALSE(set.find("other").has_value());

  const std::string pattern = directory.write("p", "/a/ x\n");
  OpenOptions strict;
  strict.bad_rules = BadRules::kFail;
  auto patterns = TableSet::open("pcre:" + pattern, strict).value();
  directory.write("p", "/a(/ something longer\n");
  REQUIRE(patterns.refresh().size() == 1);
  CHECK(patterns.find("a").value() == "x");
  CHECK(patterns.generation() == 1);
}

TEST_CASE("a changed database keeps its other entries, owner and mode") {
  const Directory directory;
  const std::string type = GENERATE("hash", "btree", "lmdb", "cdb");
  const std::string name = type + ":" + directory.path() + "/t";
  BuildOptions options;
  options.mode = 0640;
  build(name, {{"a", "1"}, {"b", "2"}}, options);
  options.keep_entries = true;
  options.mode = 0644;
  auto builder = Builder::open(name, options).value();
  CHECK(builder->erase("A").value());
  CHECK_FALSE(builder->erase("a").value());
  CHECK_FALSE(builder->add("b", "3").value());
  CHECK(builder->add("c", "4").value());
  REQUIRE(builder->commit());
  CHECK(look_up(name, "a") == "(none)");
  CHECK(look_up(name, "b") == "2");
  CHECK(look_up(name, "c") == "4");
  struct stat st{};
  REQUIRE(::stat(file_of_table(type, directory.path() + "/t").c_str(), &st) == 0);
  CHECK((st.st_mode & 0777U) == 0640U);
  // Nothing is left beside it.
  const std::filesystem::directory_iterator files(directory.path());
  CHECK(std::distance(files, std::filesystem::directory_iterator()) == 1);
}

TEST_CASE("an empty table is a table") {
  const Directory directory;
  const std::string type = GENERATE("hash", "btree", "lmdb", "cdb");
  const std::string name = type + ":" + directory.path() + "/t";
  build(name, {});
  CHECK(look_up(name, "x") == "(none)");
}

TEST_CASE("what will not open or read is a temporary error, never not found") {
  const Directory directory;
  for (const std::string type :
       {"hash", "btree", "lmdb", "cdb", "texthash", "regexp", "pcre", "cidr"}) {
    const auto table = open_table(type + ":/nonexistent/x");
    REQUIRE_FALSE(table.has_value());
    CHECK(table.error().kind == Error::Kind::kTemporary);
    CHECK_THAT(table.error().text, Catch::StartsWith("open ") &&
                                       Catch::Contains("/nonexistent/x") &&
                                       Catch::EndsWith("No such file or directory"));
  }
  for (const std::string type : {"hash", "btree", "lmdb"}) {
    directory.write(type == "lmdb" ? "g.lmdb" : "g.db", std::string(20000, 'g'));
    CHECK_THAT(look_up(type + ":" + directory.path() + "/g", "x"),
               Catch::StartsWith("error: open "));
  }
  CHECK_THAT(look_up("nosuch:/x", "x"), Catch::Contains("unsupported dictionary type: nosuch"));
  CHECK_THAT(look_up("/x", "x"), Catch::StartsWith("error: "));
  CHECK_THAT(look_up("fail:x", "x"), Catch::StartsWith("error: table fail:x: query error"));
}

TEST_CASE("tables that need no file answer as documented") {
  struct Case {
    std::string_view table, key, answer;
  };
  const auto c = GENERATE(values<Case>({
      {"inline:{ a=b, { c = d e } }", "A", "b"},
      {"inline:{ a=b, { c = d e } }", "c", "d e"},
      {"inline:{ a=b }", "x", "(none)"},
      {"static:all", "x", "all"},
      {"static:{ two words }", "x", "two words"},
      {"unionmap:{static:a,inline:{x=y},static:c}", "q", "a,c"},
      {"pipemap:{inline:{a=b},inline:{b=c}}", "a", "c"},
      {"pipemap:{inline:{a=b},inline:{b=c}}", "b", "(none)"},
      {"randmap:{only}", "x", "only"},
      {"internal:x", "x", "(none)"},
      {"proxy:static:p", "x", "p"},
      {"unix:passwd.byname", "no-such-user", "(none)"},
  }));
  INFO(c.table);
  CHECK(look_up(std::string(c.table), c.key) == c.answer);
  CHECK_THAT(look_up("unix:passwd.byname", "root"), Catch::StartsWith("root:"));
  ::setenv("POSTERN_TEST_VALUE", "v", 1);
  ::setenv("postern_test_value", "w", 1);
  CHECK(look_up("environ:all", "POSTERN_TEST_VALUE") == "w");
  OpenOptions as_written;
  as_written.fold_keys = false;
  CHECK(open_table("environ:all", as_written).value()->find("POSTERN_TEST_VALUE").value() == "v");
}

TEST_CASE("malformed table names are configuration errors") {
  for (const std::string bad : {"inline:x", "inline:{}", "inline:{x}", "unionmap:{}", "randmap:x",
                                "pipemap:{static}", "unix:shadow.byname"}) {
    INFO(bad);
    const auto table = open_table(bad);
    REQUIRE_FALSE(table.has_value());
    CHECK(table.error().kind == Error::Kind::kConfig);
  }
  std::string nested = "static:x";
  for (int i = 0; i < 10; ++i) nested = "unionmap:{" + nested + "}";
  CHECK_THAT(look_up(nested, "x"), Catch::Contains("nested too deeply"));
}

TEST_CASE("patterns obey flags, conditions and substitution") {
  const Directory directory;
  const std::string re =
      "regexp:" + directory.write("re",
                                  "# flags and nesting\n"
                                  "/^(.*)-outgoing@(.*)$/ 550 Use $1@$2 instead\n"
                                  "/^UPPER/x nomatch\n"
                                  "/^lower/i by-flag\n"
                                  "if /@parity/\n"
                                  "if !/^b/\n"
                                  "/^a/ in-if\n"
                                  "endif\n"
                                  "/^b/ in-outer\n"
                                  "endif\n"
                                  "!/^a/ negated\n");
  CHECK(look_up(re, "list-outgoing@ext.test") == "550 Use list@ext.test instead");
  CHECK(look_up(re, "upperx") == "nomatch");
  CHECK(look_up(re, "lower") == "by-flag");
  CHECK(look_up(re, "LOWER") == "negated");
  CHECK(look_up(re, "abc@parity.test") == "in-if");
  CHECK(look_up(re, "b@parity.test") == "in-outer");
  CHECK(look_up(re, "abc@other.test") == "(none)");
  CHECK_THAT(look_up(re, std::string_view("a\0b", 3)), Catch::StartsWith("error: "));

  const std::string pc = "pcre:" + directory.write("pc",
                                                   "/^(?<name>\\w+)\\.(\\w+)@x$/ $2-$1\n"
                                                   "/(a)(b)?(c)/ ${3}$(2)${1} $$\n"
                                                   "/a\\/b/ slash\n"
                                                   "|pipe|i  delimiter\n"
                                                   "/^\xc3\xbc$/ folded\n");
  CHECK(look_up(pc, "first.last@x") == "last-first");
  CHECK(look_up(pc, "xacx") == "ca $");
  CHECK(look_up(pc, "a/b") == "slash");
  CHECK(look_up(pc, "a pipe") == "delimiter");
  CHECK(look_up(pc, "PIPE") == "(none)");
  CHECK(look_up(pc, "\xc3\x9c") == "folded");
  CHECK(look_up(pc, "\xff\xfe") == "(none)");
}

TEST_CASE("pattern files say what is wrong and where") {
  const Directory directory;
  struct Case {
    std::string_view type, text, what;
  };
  const auto c = GENERATE(values<Case>({
      {"pcre", "\n/a(/ x\n", ", line 2: error in regex at offset"},
      {"regexp", "/a(/ x\n", ", line 1: "},
      {"pcre", "/a/ $1\n", "out of range replacement index \"1\": skipping this rule"},
      {"regexp", "/(a)/ $2\n", "out of range replacement index \"2\""},
      {"pcre", "!/(a)/ $1\n", "$number found in negative match"},
      {"pcre", "/a/ $x\n", "non-numeric replacement index \"x\""},
      {"pcre", "/a/ ${1\n", "bad replacement syntax"},
      {"pcre", "/(a)/ $1b\n", "non-numeric replacement index \"1b\""},
      {"pcre", "/a/q x\n", "unknown regexp option \"q\": skipping this rule"},
      {"regexp", "/a/q x\n", "unknown regexp option \"q\""},
      {"pcre", "/a x\n", "no closing regexp delimiter"},
      {"pcre", "abc x\n", "ignoring unrecognized request"},
      {"cidr", "192.0.2.1\n", ", line 1: no lookup result: skipping this rule"},
      {"cidr", "192.0.2.0/x x\n", "bad mask value in \"192.0.2.0/x\""},
      {"cidr", "if 192.0.2.0/24 x\n", "bad mask value in \"192.0.2.0/24 x\""},
      {"cidr", "endif\n", "ENDIF without IF"},
      {"cidr", "!\n", "no address pattern"},
      {"regexp", "if\n", "no regexp: skipping this rule"},
      {"pcre", "if /a/\n/b/ x\n", ", line 1: IF has no matching ENDIF"},
      {"pcre", "endif\n", "ignoring ENDIF without matching IF"},
      {"cidr", "192.0.2.1/24 x\n", "perhaps you should use \"192.0.2.0/24\""},
      {"cidr", "192.0.2.0/33 x\n", "bad mask length in \"192.0.2.0/33\": skipping this rule"},
      {"cidr", "hostname x\n", "bad address pattern: \"hostname\""},
  }));
  INFO(c.text);
  const std::string name = std::string(c.type) + ":" + directory.write("bad", c.text);
  OpenOptions strict;
  strict.bad_rules = BadRules::kFail;
  const auto table = open_table(name, strict);
  REQUIRE_FALSE(table.has_value());
  CHECK(table.error().kind == Error::Kind::kConfig);
  CHECK_THAT(table.error().text, Catch::Contains(std::string(c.what)));

  const auto skipped = open_table(name);
  REQUIRE(skipped.has_value());
  REQUIRE((*skipped)->warnings().size() == 1);
  CHECK_THAT((*skipped)->warnings().front(), Catch::Contains(std::string(c.what)));
}

TEST_CASE("what stands behind the pattern of an if does not count") {
  const Directory directory;
  const std::string rules = directory.write("extra", "if /a/ x\n/b/ c\nendif\n");
  for (const std::string_view type : {"regexp:", "pcre:"}) {
    const auto table = open_table(std::string(type) + rules);
    REQUIRE(table.has_value());
    REQUIRE((*table)->warnings().size() == 1);
    CHECK_THAT((*table)->warnings().front(),
               Catch::Contains("ignoring extra text after IF statement: \"x\""));
    CHECK((*table)->find("ab").value() == "c");
    CHECK((*table)->find("b").value() == std::nullopt);
  }
}

TEST_CASE("values that are names of files stand for what is in these") {
  const Directory directory;
  const std::string one = directory.write("one", "hello");
  const std::string two = directory.write("two", "world\n");
  OpenOptions options;
  options.values_are_files = true;
  const auto found = [&](const std::string& name, std::string_view key) {
    INFO(name);
    const auto table = open_table(name, options);
    REQUIRE(table.has_value());
    return (*table)->find(key).value();
  };
  CHECK(found("static:" + one, "x") == "aGVsbG8=");
  CHECK(found("inline:{x=" + one + "}", "x") == "aGVsbG8=");
  CHECK(found("unionmap:{static:" + one + "}", "x") == "aGVsbG8=");
  CHECK(found("texthash:" + directory.write("t", "x " + one + ", " + two + "\n"), "x") ==
        "aGVsbG8Kd29ybGQK");
  CHECK(found("regexp:" + directory.write("r", "/x/ " + one + "\n"), "x") == "aGVsbG8=");
  CHECK(found("pcre:" + directory.write("r", "/x/ " + one + "\n"), "x") == "aGVsbG8=");
  CHECK(found("cidr:" + directory.write("c", "192.0.2.1 " + one + "\n"), "192.0.2.1") ==
        "aGVsbG8=");
  CHECK(found("regexp:" + directory.write("n", "/x/ " + one + ".not\n"), "x") == std::nullopt);
  CHECK_FALSE(open_table("inline:{x=" + one + ".not}", options).has_value());
}

TEST_CASE("where a result is a command or a path nothing of the key gets into it") {
  const Directory directory;
  const std::string rules = directory.write("literal", "/^(a.)$/ |cmd $1\n/^b/ plain\n");
  const std::vector<std::string> names = literal_names(
      {"regexp:" + rules, "pcre:" + rules, "inline:{a=b}", "unionmap:{regexp:" + rules + "}"});
  CHECK(names[2] == "inline:{a=b}");
  for (const std::size_t i : {0U, 1U, 3U}) {
    INFO(names[i]);
    const auto table = open_table(names[i]);
    REQUIRE(table.has_value());
    CHECK((*table)->find("ab").value() == std::nullopt);
    CHECK((*table)->find("b").value() == "plain");
    REQUIRE((*table)->warnings().size() == 1);
    CHECK_THAT((*table)->warnings().front(), Catch::Contains("substitution is not allowed"));
  }
  CHECK(look_up("regexp:" + rules, "ab") == "|cmd ab");
}

TEST_CASE("a pattern without a result finds the empty text, and its line is told") {
  const Directory directory;
  for (const std::string type : {"pcre", "regexp"}) {
    const auto table = open_table(type + ":" + directory.write(type, "/^a$/\n/^b$/ x\n"));
    REQUIRE(table.has_value());
    CHECK(found(**table, "a").empty());
    CHECK(found(**table, "b") == "x");
    REQUIRE((*table)->warnings().size() == 1);
    CHECK_THAT((*table)->warnings().front(),
               Catch::Contains("line 1: no replacement text: using empty string"));
  }
}

TEST_CASE("a pattern that backtracks for ever is a temporary error with its line") {
  const Directory directory;
  const std::string path = directory.write("p", "/^x$/ y\n/^(a+)+$/ z\n");
  OpenOptions options;
  options.pcre_match_limit = 10000;
  const auto table = open_table("pcre:" + path, options);
  REQUIRE(table.has_value());
  const auto value = (*table)->find(std::string(60, 'a') + "!");
  REQUIRE_FALSE(value.has_value());
  CHECK(value.error().kind == Error::Kind::kTemporary);
  CHECK_THAT(value.error().text, Catch::Contains(", line 2: match limit exceeded"));
}

TEST_CASE("networks contain what they should") {
  const Directory directory;
  const std::string ci = "cidr:" + directory.write("ci",
                                                   "192.0.2.0/24 net\n"
                                                   "!203.0.113.0/24 notnet\n"
                                                   "if 203.0.113.128/25\n"
                                                   "203.0.113.200 inner\n"
                                                   "endif\n"
                                                   "2001:db8::/33 six\n"
                                                   "[::1] loop\n");
  CHECK(look_up(ci, "192.0.2.7") == "net");
  CHECK(look_up(ci, "10.1.2.3") == "notnet");
  CHECK(look_up(ci, "203.0.113.200") == "inner");
  CHECK(look_up(ci, "203.0.113.201") == "(none)");
  CHECK(look_up(ci, "2001:db8::5") == "six");
  CHECK(look_up(ci, "2001:db8:8000::5") == "(none)");
  CHECK(look_up(ci, "::1") == "loop");
  CHECK(look_up(ci, "mx.example.org") == "(none)");
  CHECK(parse_network("0.0.0.0/0")->contains(*parse_ip("1.2.3.4")));
  CHECK_FALSE(parse_network("0.0.0.0/0")->contains(*parse_ip("::1")));
  CHECK_FALSE(parse_ip(std::string_view("192.0.2.1\0x", 11)).has_value());
}

namespace {

struct Source {
  struct Record {
    std::string key, value;
  };
  std::vector<Record> records;
  std::vector<std::string> warnings;
};

Source parse(std::string_view text, SourceFormat format) {
  Source source;
  walk_source(
      text, {format, true}, "f",
      [&](const RecordView& record) {
        source.records.push_back({std::string(record.key), std::string(record.value)});
      },
      [&](std::string warning) { source.warnings.push_back(std::move(warning)); });
  return source;
}

}  // namespace

TEST_CASE("source text is read in its two forms") {
  const std::string_view plain =
      "# comment\n"
      "one   first value\n"
      "Long  a value\n"
      "      that goes on\n"
      "  # a comment within\n"
      "\n"
      "      to here\r\n"
      "\"a b\"@x  quoted\n"
      "three\n"
      "\"open  x\n"
      "al: x\n";
  const Source source = parse(plain, SourceFormat::kPlain);
  REQUIRE(source.records.size() == 4);
  CHECK(source.records[1].key == "Long");
  CHECK(source.records[1].value == "a value      that goes on      to here");
  CHECK(source.records[2].key == "\"a b\"@x");
  CHECK(source.warnings ==
        std::vector<std::string>{
            "f, line 9: expected format: key whitespace value",
            "f, line 10: unbalanced '\"' in '\"open  x' -- ignoring this line",
            "f, line 11: record is in \"key: value\" format; is this an alias file?"});

  const std::string_view aliases =
      "plain: one,two ,  three\n"
      "\"quoted: name\" : x\n"
      "cmd: \"|/bin/prog  arg\", :include:/x\n"
      "vac: \\me, \"|/usr/bin/vacation me\"\n"
      "no colon\n"
      "two words: x\n"
      "empty:\n"
      "user@example.org: x\n";
  const Source parsed = parse(aliases, SourceFormat::kAliases);
  REQUIRE(parsed.records.size() == 5);
  CHECK(parsed.records[0].value == "one, two, three");
  CHECK(parsed.records[1].key == "quoted: name");
  CHECK(parsed.records[2].value == "\"|/bin/prog  arg\", :include:/x");
  CHECK(parsed.records[3].value == "me, \"|/usr/bin/vacation me\"");
  CHECK(parsed.records[4].key == "two words");
  CHECK(parsed.warnings == std::vector<std::string>{"f, line 5: need name:value pair",
                                                    "f, line 7: need name:value pair",
                                                    "f, line 8: name must be local"});
}

TEST_CASE("an alias's name has one blank between words, and none around what joins them") {
  struct Case {
    std::string_view source, name;
  };
  const auto c = GENERATE(values<Case>({
      {"a . b: x\n", "a.b"},
      {"q\"uo\"te: x\n", "q uo te"},
      {"a (comment): x\n", "a"},
      {"\"a  b\"  c: x\n", "a  b c"},
  }));
  INFO(c.source);
  const Source source = parse(c.source, SourceFormat::kAliases);
  REQUIRE(source.records.size() == 1);
  CHECK(source.records[0].key == c.name);
}

TEST_CASE("a NUL ends a line of a source") {
  const Source source = parse(std::string_view("k v\0w\n\0x y\nl\0 z\n", 16), SourceFormat::kPlain);
  REQUIRE(source.records.size() == 1);
  CHECK(source.records[0].value == "v");
  CHECK(source.warnings ==
        std::vector<std::string>{"f, line 3: expected format: key whitespace value"});
}

TEST_CASE("an alias's words have one blank between them, and none around what joins them") {
  struct Case {
    std::string_view source, stored;
  };
  const auto c = GENERATE(values<Case>({
      {"s : t", "s:t"},
      {"x @ y . z", "x@y.z"},
      {"x,y ,z", "x, y, z"},
      {",,a,", ", , a, "},
      {"a(b)c  (d)", "a (b) c (d)"},
      {"a\"b\"c", "a \"b\" c"},
      {"\"a  b\"  c", "\"a  b\" c"},
      {"x\\ y", "\"x y\""},
      {"\\me", "me"},
      {"a%b ! c", "a%b!c"},
      {"|cmd", "|cmd"},
      {":include: /etc/x", ":include:/etc/x"},
      {"[a", "[a]"},
      {"\xc3\xa9", "\xc3\xa9"},
  }));
  const Source parsed = parse("name: " + std::string(c.source), SourceFormat::kAliases);
  REQUIRE(parsed.records.size() == 1);
  CHECK(parsed.records[0].value == c.stored);
}

TEST_CASE("a table tells the log what is asked of it, and answers as the table inside") {
  CHECK(look_up("debug:inline:{a=b}", "a") == "b");
  CHECK(look_up("debug:inline:{a=b}", "c") == "(none)");
  CHECK_THAT(look_up("debug:fail:x", "c"), Catch::StartsWith("error: "));
  CHECK_FALSE(open_table("debug:nosuch:x").has_value());
}

TEST_CASE("a hundred thousand entries come back, the erased ones not, the replaced ones new") {
  const Directory directory;
  for (const std::string type : {"hash", "btree", "lmdb", "cdb"}) {
    const std::string name = type + ":" + directory.path() + "/many";
    BuildOptions options;
    options.duplicates = Duplicates::kReplace;
    const auto builder = Builder::open(name, options);
    REQUIRE(builder.has_value());
    constexpr int kMany = 100'000;
    for (int i = 0; i < kMany; ++i) {
      REQUIRE((*builder)->add("Key" + std::to_string(i), std::to_string(i)).value());
    }
    CHECK((*builder)->add("kEY7", "seven").value());
    CHECK((*builder)->erase("key8").value());
    CHECK_FALSE((*builder)->erase("key8").value());
    REQUIRE((*builder)->commit().has_value());
    const auto table = open_table(name);
    REQUIRE(table.has_value());
    CHECK(found(**table, "key7") == "seven");
    CHECK(found(**table, "key8") == "(none)");
    int wrong = 0;
    for (int i = 9; i < kMany; ++i) {
      if (found(**table, "key" + std::to_string(i)) != std::to_string(i)) ++wrong;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("duplicates are treated as asked") {
  const Directory directory;
  const std::string name = "lmdb:" + directory.path() + "/t";
  BuildOptions options;
  options.duplicates = Duplicates::kRefuse;
  auto builder = Builder::open(name, options).value();
  CHECK(builder->add("A", "1").value());
  CHECK_FALSE(builder->add("a", "2").has_value());
  CHECK_FALSE(std::filesystem::exists(directory.path() + "/t.lmdb"));
}

TEST_CASE("what is enqueued tells of its duplicates in their order, whichever value stays") {
  const Directory directory;
  const auto duplicates = GENERATE(Duplicates::kWarn, Duplicates::kReplace, Duplicates::kIgnore);
  const std::string type = GENERATE("hash", "btree", "lmdb", "cdb");
  const std::string name = type + ":" + directory.path() + "/t";
  std::vector<std::string> told;
  BuildOptions options;
  options.duplicates = duplicates;
  if (duplicates == Duplicates::kWarn) {
    options.on_duplicate = [&](std::string_view key) { told.emplace_back(key); };
  }
  const auto builder = Builder::open(name, options).value();
  std::vector<std::string> wanted;
  for (int i = 0; i < 200; ++i) {
    const std::string key = "Key" + std::to_string(i);
    REQUIRE(builder->enqueue(key, "first").has_value());
    if (i % 50 != 7) continue;
    REQUIRE(builder->enqueue("kEY" + std::to_string(i), "a longer second").has_value());
    wanted.push_back("key" + std::to_string(i));
  }
  REQUIRE(builder->settle().has_value());
  if (duplicates == Duplicates::kWarn) CHECK(told == wanted);
  REQUIRE(builder->commit().has_value());
  const auto table = open_table(name);
  REQUIRE(table.has_value());
  CHECK(found(**table, "key8") == "first");
  CHECK(found(**table, "key57") ==
        (duplicates == Duplicates::kReplace ? "a longer second" : "first"));
}

TEST_CASE("keys and values are taken from the text that they lie in") {
  const Directory directory;
  const std::string type = GENERATE("hash", "btree", "lmdb", "cdb");
  const bool trailing_nul = GENERATE(true, false);
  const std::string name = type + ":" + directory.path() + "/t";
  BuildOptions options;
  options.trailing_nul = trailing_nul;
  options.duplicates = Duplicates::kReplace;
  const auto builder = Builder::open(name, options).value();
  const std::string_view text = builder->adopt("One 1\nTWO two\nthree 3\none again\nlast end");
  REQUIRE(builder->enqueue(text.substr(0, 3), text.substr(4, 1)).has_value());
  REQUIRE(builder->enqueue(text.substr(6, 3), text.substr(10, 3)).has_value());
  // A value from elsewhere.
  REQUIRE(builder->enqueue(text.substr(14, 5), "not 3").has_value());
  REQUIRE(builder->enqueue(text.substr(22, 3), text.substr(26, 5)).has_value());
  REQUIRE(builder->enqueue(text.substr(32, 4), text.substr(37, 3)).has_value());
  REQUIRE(builder->put("Last", "as it is spelt").has_value());
  REQUIRE(builder->commit().has_value());
  const auto table = open_table(name);
  REQUIRE(table.has_value());
  CHECK(found(**table, "one") == "again");
  CHECK(found(**table, "two") == "two");
  CHECK(found(**table, "three") == "not 3");
  CHECK(found(**table, "last") == "end");
  CHECK(found(**table, "three 3") == "(none)");
}

TEST_CASE("entries come out sorted from any order of theirs") {
  struct Case {
    std::string_view what;
    int step;  // through 1000 keys
  };
  const auto c = GENERATE(values<Case>(
      {{"in order", 1}, {"in a few runs", 10}, {"backwards", 999}, {"in many runs", 367}}));
  INFO(c.what);
  const Directory directory;
  const std::string name = "lmdb:" + directory.path() + "/t";
  const auto builder = Builder::open(name, {}).value();
  const auto key = [](int i) { return fmt::format("a long common beginning {:03}", i); };
  // Steps that share a divisor with 1000 need several rounds.
  for (int round = 0, done = 0; done < 1000; ++round) {
    for (int i = round; done < 1000; i = (i + c.step) % 1000) {
      const auto added = builder->add(key(i), std::to_string(i));
      REQUIRE(added.has_value());
      if (!*added) break;
      ++done;
    }
  }
  CHECK(builder->erase(key(500)).value());
  CHECK(builder->erase(key(0)).value());
  REQUIRE(builder->commit().has_value());
  std::vector<std::string> seen;
  const auto table = open_table(name).value();
  REQUIRE(table->for_each([&](std::string_view stored, std::string_view) {
    seen.emplace_back(stored);
    return true;
  }));
  CHECK(seen.size() == 998);
  CHECK(std::ranges::is_sorted(seen));
  CHECK(found(*table, key(999)) == "999");
  CHECK(found(*table, key(500)) == "(none)");
}

TEST_CASE("many keys are found together as they are one by one") {
  const Directory directory;
  const std::string type = GENERATE("hash", "btree", "lmdb", "cdb", "texthash", "inline");
  const bool trailing_nul = GENERATE(true, false);
  INFO(type << trailing_nul);
  const std::string path = directory.path() + "/t";
  std::string name = type + ":" + path;
  constexpr int kMany = 3000;
  if (type == "texthash") {
    std::ofstream file(path);
    for (int i = 0; i < kMany; ++i) file << "key" << i << " value " << i << '\n';
  } else if (type == "inline") {
    name = "inline:{ key1=1, {key5 = value 5} }";
  } else {
    BuildOptions options;
    options.trailing_nul = trailing_nul;
    const auto builder = Builder::open(name, options).value();
    for (int i = 0; i < kMany; ++i) {
      REQUIRE(builder->add("key" + std::to_string(i), "value " + std::to_string(i)));
    }
    REQUIRE(builder->commit().has_value());
  }
  std::vector<std::string> asked = {"", "key", std::string(600, 'k')};
  for (int i = kMany + 100; i > 0; i -= 3) asked.push_back("key" + std::to_string(i));
  asked.insert(asked.end(), {"KEY5", "key1", "key1", "Key5"});
  const std::vector<std::string_view> keys(asked.begin(), asked.end());
  const auto together = open_table(name).value();
  std::vector<std::string> values(keys.size(), "(none)");
  const auto done = together->find_each(
      keys, [&](std::size_t index, std::string_view value) { values.at(index) = value; });
  REQUIRE(done.has_value());
  const auto alone = open_table(name).value();
  int wrong = 0;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (found(*alone, keys[i]) != values[i]) ++wrong;
  }
  CHECK(wrong == 0);
  CHECK(values[keys.size() - 1] == "value 5");
  CHECK(values[1] == "(none)");
}

namespace {

// Keys and values of all lengths that a page holds, some of them long.
std::map<std::string, std::string> entries_of_all_lengths(std::size_t count, bool has_long_keys) {
  std::map<std::string, std::string> entries;
  std::minstd_rand random(static_cast<unsigned>(count));
  while (entries.size() < count) {
    const std::size_t longest = has_long_keys ? 500 : 12;
    std::string key = std::to_string(random()) + std::string(random() % longest, 'k');
    entries.emplace(std::move(key), std::string(1 + random() % (count < 5000 ? 1400 : 20), 'v'));
  }
  return entries;
}

std::map<std::string, std::string> all_of(const std::string& name) {
  std::map<std::string, std::string> all;
  const auto table = open_table(name);
  REQUIRE(table.has_value());
  const auto done = (*table)->for_each([&](std::string_view key, std::string_view value) {
    CHECK(all.emplace(key, value).second);
    return true;
  });
  REQUIRE(done.has_value());
  return all;
}

}  // namespace

TEST_CASE("an lmdb file of any size is one that LMDB reads and goes on with") {
  const auto count = GENERATE(values<std::size_t>(
      {1, 2, 3, 5, 8, 13, 50, 100, 137, 138, 139, 140, 400, 777, 1500, 3000, 20000, 60000}));
  const bool has_long_keys = GENERATE(false, true);
  INFO(count << (has_long_keys ? " long keys" : " short keys"));
  const Directory directory;
  const std::string path = directory.path() + "/t";
  auto entries = entries_of_all_lengths(count, has_long_keys);
  build("lmdb:" + path, {entries.begin(), entries.end()});
  CHECK(all_of("lmdb:" + path) == entries);
  const auto table = open_table("lmdb:" + path).value();
  int wrong = 0;
  for (const auto& [key, value] : entries) {
    if (found(*table, key) != value) ++wrong;
    if (found(*table, key + "x") != "(none)") ++wrong;
  }
  CHECK(wrong == 0);

  // As Postfix's postmap -i and -d do it: in place. Pages are split and merged.
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;
  MDB_dbi dbi = 0;
  REQUIRE(::mdb_env_create(&env) == 0);
  REQUIRE(::mdb_env_set_mapsize(env, std::size_t{1} << 30U) == 0);
  REQUIRE(::mdb_env_open(env, (path + ".lmdb").c_str(), MDB_NOSUBDIR | MDB_NOLOCK, 0600) == 0);
  REQUIRE(::mdb_txn_begin(env, nullptr, 0, &txn) == 0);
  REQUIRE(::mdb_dbi_open(txn, nullptr, 0, &dbi) == 0);
  std::size_t number = 0;
  for (auto it = entries.begin(); it != entries.end(); ++number) {
    std::string key = it->first + '\0';
    MDB_val name{key.size(), key.data()};
    if (number % 3 != 0) {
      REQUIRE(::mdb_del(txn, dbi, &name, nullptr) == 0);
      it = entries.erase(it);
      continue;
    }
    std::string text = "new" + it->second;
    MDB_val value{text.size() + 1, text.data()};
    REQUIRE(::mdb_put(txn, dbi, &name, &value, 0) == 0);
    it->second = text;
    ++it;
  }
  for (std::size_t i = 0; i < count; ++i) {
    std::string key = "more" + std::to_string(i);
    MDB_val name{key.size() + 1, key.data()};
    MDB_val value{2, const_cast<char*>("v")};
    REQUIRE(::mdb_put(txn, dbi, &name, &value, 0) == 0);
    entries[key] = "v";
  }
  REQUIRE(::mdb_txn_commit(txn) == 0);
  ::mdb_env_close(env);
  CHECK(all_of("lmdb:" + path) == entries);
}

TEST_CASE("lmdb: values that need pages of their own, and tables of nothing") {
  const Directory directory;
  const std::string name = "lmdb:" + directory.path() + "/t";
  std::map<std::string, std::string> entries;
  for (int i = 0; i < 300; ++i) {
    entries["key" + std::to_string(i)] = std::string(static_cast<std::size_t>(i) * 40 + 1, 'v');
  }
  build(name, {entries.begin(), entries.end()});
  CHECK(all_of(name) == entries);
  build(name, {});
  CHECK(all_of(name).empty());
}

TEST_CASE("keys are folded in all scripts, and what is no UTF-8 is no key") {
  const Directory directory;
  const std::string path = directory.path() + "/t";
  for (const std::string type : {"hash", "btree", "lmdb", "cdb"}) {
    const std::string name = type + ":" + path;
    build(name, {{"\xc3\x89"
                  "cole",
                  "school"},
                 {"\xc8\xba", "longer"},
                 {"\xe2\x84\xaa", "shorter"}});
    CHECK(
        all_of(name).contains("\xc3\xa9"
                              "cole"));
    CHECK(look_up(name,
                  "\xc3\xa9"
                  "cole") == "school");
    CHECK(look_up(name,
                  "\xc3\x89"
                  "COLE") == "school");
    CHECK(look_up(name, "\xe2\xb1\xa5") == "longer");
    CHECK(look_up(name, "K") == "shorter");
    CHECK(look_up(name, "\xff") == "(none)");
  }
  CHECK(look_up("inline:{ {\xc3\x84=ae} }", "\xc3\xa4") == "ae");
  const Source source = parse("good one\nbad\xff two\n", SourceFormat::kPlain);
  CHECK(source.records.size() == 1);
  CHECK(source.warnings ==
        std::vector<std::string>{"f, line 2: non-UTF-8 input \"bad? two\" -- ignoring this line"});
}

TEST_CASE("an lmdb table of many megabytes is written in pieces, and whole") {
  const Directory directory;
  const std::string name = "lmdb:" + directory.path() + "/t";
  std::vector<std::pair<std::string, std::string>> entries;
  for (int i = 0; i < 40000; ++i) {
    // Some values have pages of their own, one is larger than a piece.
    const std::size_t size = i == 20000 ? 1'000'000 : i % 1000 == 0 ? 5000 : 50;
    entries.emplace_back("key" + std::to_string(i), std::string(size, 'v'));
  }
  build(name, entries);
  CHECK(all_of(name) == std::map<std::string, std::string>(entries.begin(), entries.end()));
}

TEST_CASE("an lmdb table larger than its first map grows") {
  const Directory directory;
  const std::string name = "lmdb:" + directory.path() + "/t";
  BuildOptions options;
  options.lmdb_map_size = 65536;
  std::vector<std::pair<std::string, std::string>> entries;
  for (int i = 0; i < 5000; ++i) entries.emplace_back("key" + std::to_string(i), "some value");
  build(name, entries, options);
  CHECK(look_up(name, "key4999") == "some value");
  auto builder = Builder::open(name, {}).value();
  REQUIRE(builder->add(std::string(600, 'k'), "v").has_value());
  CHECK_FALSE(builder->commit().has_value());
  CHECK(look_up(name, "key4999") == "some value");
}

}  // namespace postern::table
