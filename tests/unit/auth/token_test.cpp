#include "auth/token.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

namespace postern::auth {

namespace {

struct Directory {
  Directory() {
    std::string name = "/tmp/postern-token-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Directory() {
    for (const char* name : {"token", "command"}) ::unlink((path + "/" + name).c_str());
    ::rmdir(path.c_str());
  }
  void put(std::string_view name, std::string_view text, mode_t mode = 0600) const {
    const std::string file = path + "/" + std::string(name);
    std::ofstream(file) << text;
    ::chmod(file.c_str(), mode);
  }
  std::string path;
};

Job job_for(const Directory& directory) {
  Job job;
  job.kind = JobKind::kFindToken;
  job.path = directory.path + "/token";
  return job;
}

}  // namespace

TEST_CASE("a token file holds a token, or an object that has one") {
  CHECK(parse_token_file("ya29.abc\n").value().token == "ya29.abc");
  const auto object = parse_token_file(R"({"access_token": "abc", "expiry": "1700000000"})");
  REQUIRE(object);
  CHECK(object->token == "abc");
  CHECK(object->expiry == 1700000000);
  CHECK(parse_token_file(R"({"access_token":"abc","expiry":17,"more":[1]})")->expiry == 17);
  for (const std::string bad : {"", "two words", "{", "{}", R"({"access_token":1})", "a\001b",
                                R"({"access_token":"a b"})", R"([1])"}) {
    INFO(bad);
    CHECK_FALSE(parse_token_file(bad));
  }
  CHECK_FALSE(parse_token_file(std::string(10000, 'x')));
}

TEST_CASE("a token is fresh until a minute before its end") {
  CHECK(is_fresh({"t", 0}, 1000));
  CHECK(is_fresh({"t", 1061}, 1000));
  CHECK_FALSE(is_fresh({"t", 1060}, 1000));
}

TEST_CASE("only what is below the directory is looked at") {
  CHECK(is_below("/var/tokens/user", "/var/tokens"));
  CHECK(is_below("/var/tokens/a/user", "/var/tokens/"));
  for (const std::string bad : {"/var/tokens", "/var/tokens/", "/var/tokensx/user", "/etc/shadow",
                                "/var/tokens/../shadow", "/var/tokens//user", "/var/tokens/./x"}) {
    INFO(bad);
    CHECK_FALSE(is_below(bad, "/var/tokens"));
  }
  CHECK_FALSE(is_below("/x", ""));
}

TEST_CASE("the command fetches what is missing, past its time, or refused") {
  const Directory directory;
  directory.put("command", "#!/bin/sh\nprintf fetched > \"$2\"\n", 0700);
  Job job = job_for(directory);
  job.entry = directory.path + "/command now";
  SECTION("missing") { CHECK(find_token(job).text == "fetched"); }
  SECTION("past its time") {
    directory.put("token", R"({"access_token":"old","expiry":1})");
    CHECK(find_token(job).text == "fetched");
  }
  SECTION("refused") {
    directory.put("token", "old");
    job.is_refused = true;
    CHECK(find_token(job).text == "fetched");
  }
  SECTION("good") {
    directory.put("token", "good");
    CHECK(find_token(job).text == "good");
  }
}

TEST_CASE("without a token the reason is told") {
  const Directory directory;
  Job job = job_for(directory);
  auto reply = find_token(job);
  CHECK(reply.kind == ipc::auth::StepKind::kTemporary);
  CHECK(reply.text.find("No such file") != std::string::npos);
  CHECK(reply.warnings.size() == 1);
  directory.put("command", "#!/bin/sh\nexit 3\n", 0700);
  job.entry = directory.path + "/command";
  CHECK(find_token(job).text.find("exit status 3") != std::string::npos);
  job.entry = "relative";
  CHECK(find_token(job).text.find("must begin with the path") != std::string::npos);
}

}  // namespace postern::auth
