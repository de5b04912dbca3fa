#include "postern/commands.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <regex>

namespace postern::control {

TEST_CASE("verbs are known by their first letters, where no other begins so") {
  struct Case {
    std::string_view word, verb;
  };
  const auto c = GENERATE(values<Case>({{"config", "config"},
                                        {"conf", "config"},
                                        {"start", "start"},
                                        {"sta", ""},
                                        {"sto", "stop"},
                                        {"ab", ""},
                                        {"", ""},
                                        {"set-perm", "set-permissions"},
                                        {"configure", ""}}));
  const Command* const verb = find_verb(c.word);
  CHECK((verb == nullptr ? "" : verb->name) == c.verb);
}

namespace {

std::string read_source(const std::string& path) {
  std::ifstream file(std::string(POSTERN_SOURCE_DIR) + "/" + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool has_word(const std::string& text, std::string_view word) {
  return std::regex_search(text, std::regex("(^|[^a-z-])" + std::string(word) + "([^a-z-]|$)"));
}

}  // namespace

TEST_CASE("each verb is completed in each shell, and has its place in the manual") {
  for (const std::string file : {"postern/completions/postern.bash", "postern/completions/_postern",
                                 "postern/completions/postern.fish", "man/postern.1"}) {
    const std::string text = read_source(file);
    REQUIRE_FALSE(text.empty());
    for (const Command& verb : verbs()) {
      INFO(file << ": " << verb.name);
      CHECK(has_word(text, verb.name));
    }
  }
}

TEST_CASE("verbs of the whole mail system are for all instances, others for one") {
  for (const std::string_view verb : {"start", "stop", "reload", "status", "check"}) {
    CHECK(is_for_all_instances(verb));
  }
  for (const std::string_view verb : {"start-fg", "config", "queue", "why", "explain"}) {
    CHECK_FALSE(is_for_all_instances(verb));
  }
}

}  // namespace postern::control
