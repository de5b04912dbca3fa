#include "flush/site_log.h"

#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace postern::flush {

namespace {

class Directory {
 public:
  Directory() {
    std::string pattern = "/tmp/postern_flush_XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~Directory() { std::filesystem::remove_all(path_); }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  [[nodiscard]] std::string file(std::string_view name) const {
    return path_ + "/" + std::string(name);
  }

 private:
  std::string path_;
};

std::vector<std::string> sorted(std::vector<std::string> ids) {
  std::sort(ids.begin(), ids.end());
  return ids;
}

}  // namespace

TEST_CASE("a site's file name holds nothing that could lead elsewhere") {
  struct Case {
    std::string_view site, name;
  };
  const auto [site, name] =
      GENERATE(Case{"Example.ORG", "example_org"}, Case{"[192.0.2.1]", "192_0_2_1"},
               Case{"../../etc/passwd", "______etc_passwd"}, Case{"", ""},
               Case{"a-b.example", "a-b_example"});
  CHECK(file_name_of(site) == name);
}

TEST_CASE("notes survive a restart, and taking them forgets them") {
  const Directory directory;
  const std::string path = directory.file("example_org");
  SiteLog log(path);
  REQUIRE(log.load());
  REQUIRE(log.add("A1B2C3D4E5", 100));
  REQUIRE(log.add("F1B2C3D4E5", 200));
  REQUIRE(log.add("A1B2C3D4E5", 300));

  SiteLog again(path);
  REQUIRE(again.load());
  CHECK(sorted(again.take().value()) == std::vector<std::string>{"A1B2C3D4E5", "F1B2C3D4E5"});
  CHECK(again.empty());
  SiteLog third(path);
  REQUIRE(third.load());
  CHECK(third.empty());
}

TEST_CASE("old notes are purged, from the file too") {
  const Directory directory;
  const std::string path = directory.file("example_org");
  SiteLog log(path);
  REQUIRE(log.add("A1B2C3D4E5", 100));
  REQUIRE(log.add("F1B2C3D4E5", 200));
  REQUIRE(log.purge(150));
  SiteLog again(path);
  REQUIRE(again.load());
  CHECK(again.take().value() == std::vector<std::string>{"F1B2C3D4E5"});
}

TEST_CASE("damaged lines are left out") {
  const Directory directory;
  const std::string path = directory.file("x");
  std::ofstream(path) << "100 A1B2C3D4E5\ngarbage\n-5 F1B2C3D4E5\n200 ../../etc\n300 B1B2C3";
  SiteLog log(path);
  REQUIRE(log.load());
  CHECK(log.size() <= 2);
  const auto ids = log.take().value();
  CHECK(std::find(ids.begin(), ids.end(), "A1B2C3D4E5") != ids.end());
}

}  // namespace postern::flush
