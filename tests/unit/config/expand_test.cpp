#include "common/config/expand.h"

#include <catch2/catch.hpp>
#include <map>

namespace postern::config {

namespace {

std::optional<std::string> find(std::string_view name) {
  static const std::map<std::string, std::string, std::less<>> kValues = {
      {"one", "1"},
      {"word", "text"},
      {"empty", ""},
      {"ref", "<$word>"},
      {"loop", "a $pool"},
      {"pool", "b $loop"},
      {"myvar", "value"},
      {"level", "3.6"},
      {"braces", "${word}"},
      {"b0", "xxxxxxxxxxxxxxxx"},
      {"b1", "$b0$b0$b0$b0$b0$b0$b0$b0$b0$b0$b0$b0"},
      {"b2", "$b1$b1$b1$b1$b1$b1$b1$b1$b1$b1$b1$b1"},
      {"b3", "$b2$b2$b2$b2$b2$b2$b2$b2$b2$b2$b2$b2"},
      {"b4", "$b3$b3$b3$b3$b3$b3$b3$b3$b3$b3$b3$b3"},
      {"b5", "$b4$b4$b4$b4$b4$b4$b4$b4$b4$b4$b4$b4"}};
  const auto it = kValues.find(name);
  if (it == kValues.end()) return std::nullopt;
  return it->second;
}

}  // namespace

TEST_CASE("references expand as postconf(5) says") {
  struct Case {
    const char *text, *expected;
  };
  const auto c = GENERATE(values<Case>({
      {"plain", "plain"},
      {"$word", "text"},
      {"${word}x", "textx"},
      {"$(word)x", "textx"},
      {"$word.x", "text.x"},
      {"$nosuch.", "."},
      {"a$$b", "a$b"},
      {"$$word", "$word"},
      {"$ref$braces", "<text>text"},
      {"${word?yes}", "yes"},
      {"${word?{yes}}", "yes"},
      {"${empty?yes}", ""},
      {"${nosuch?yes}", ""},
      {"${nosuch:third.test}", "third.test"},
      {"${word:other}", ""},
      {"${word?1}${word:20}", "1"},
      {"${nosuch?1}${nosuch:20}", "20"},
      {"${nosuch:{ a b }}", "a b"},
      {"${word?{fourth.test}:{wrong.test}}", "fourth.test"},
      {"${empty?{fourth.test}:{wrong.test}}", "wrong.test"},
      {"${word ? { a } : { b }}", "a"},
      {"${empty?{a}:$word}", "text"},
      {"${myvar?{yes $myvar}:{no}} ${nosuch:default} ${{$myvar} == {value} ? {eq} : {ne}}",
       "yes value default eq"},
      {"${word?a:b}", "a:b"},
      {"${rbl_reason?; $rbl_reason}", ""},
      {"${{$one} == {1} ? {x} : {y}}", "x"},
      {"${{01} == {1} ? {x} : {y}}", "x"},
      {"${{10} < {9} ? {x} : {y}}", "y"},
      {"${{a10} < {a9} ? {x} : {y}}", "x"},
      {"${{1} != {1} ? {x}}", ""},
      {"${{1} >= {1} ? {x}}", "x"},
      {"${{1} > {1} ? {x} : {}}", ""},
      {"${{2} <= {1} ? {x} : {y}}", "y"},
      {"${{$level} <level {3.10} ? {x} : {y}}", "x"},
      {"${{$level} <=level {3.6} ? {x} : {y}}", "x"},
      {"${{$level} <level {1} ? {yes} : {no}}", "no"},
      {"${{4} >=level {3.9.9} ? {x} : {y}}", "x"},
      {"${{a} == {a}}", "true"},
  }));
  INFO(c.text);
  const auto result = expand(c.text, find);
  REQUIRE(result.has_value());
  CHECK(*result == c.expected);
}

TEST_CASE("what is malformed, endless or too large is an error") {
  const auto* const text = GENERATE(
      values<const char*>({"$", "a $ b", "${word", "$(word", "${}", "${word!x}", "${{a} = {b}}",
                           "${{a} == b}", "${{a == {b}}", "${word?{a}x}", "${word?{a}:{b}c}",
                           "${{x} <level {3}}", "$loop", "${empty:$pool}", "$b5"}));
  INFO(text);
  CHECK_FALSE(expand(text, find).has_value());
}

TEST_CASE("nesting has a bound") {
  std::string deep;
  for (int i = 0; i < 1000; ++i) deep += "${nosuch:{";
  for (int i = 0; i < 1000; ++i) deep += "}}";
  CHECK_FALSE(expand(deep, find).has_value());
}

TEST_CASE("the names a value refers to are found in all branches") {
  CHECK(names_in("$a ${b?{$c}:{$(d)}} ${{$e} == {x} ? {y}} $$f") ==
        std::vector<std::string>{"a", "b", "c", "d", "e"});
}

}  // namespace postern::config
