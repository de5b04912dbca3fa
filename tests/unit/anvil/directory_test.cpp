#include "anvil/directory.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "anvil/line_file.h"

namespace postern::anvil {

namespace fs = std::filesystem;

TEST_CASE("files of an earlier version move into anvil's own directory, once") {
  std::string data = "/tmp/postern_data_XXXXXX";
  REQUIRE(::mkdtemp(data.data()) != nullptr);
  std::ofstream(data + "/bans") << "192.0.2.1 1\n";
  std::ofstream(data + "/greylist") << "old\n";
  std::ofstream(data + "/outside") << "secret\n";
  fs::create_symlink(data + "/outside", data + "/quotas");
  const sys::Account self{
      .name = "self", .uid = ::getuid(), .gid = ::getgid(), .home = {}, .shell = {}, .groups = {}};
  {
    const auto opened = open_directory(data, self, self);
    REQUIRE(opened.has_value());
    struct stat status{};
    REQUIRE(::fstat(opened->get(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0700);
    CHECK(LineFile(opened->get(), "bans").read().value() ==
          std::vector<std::string>{"192.0.2.1 1"});
    CHECK_FALSE(LineFile(opened->get(), "quotas").read().has_value());
    CHECK_FALSE(fs::exists(data + "/bans"));
  }
  // What is there is not replaced by what comes later, and half a file is nobody's.
  std::ofstream(data + "/bans") << "192.0.2.2 1\n";
  std::ofstream(data + "/anvil/bans.new") << "half";
  const auto again = open_directory(data, self, self);
  REQUIRE(again.has_value());
  CHECK(LineFile(again->get(), "bans").read().value() == std::vector<std::string>{"192.0.2.1 1"});
  CHECK_FALSE(fs::exists(data + "/anvil/bans.new"));

  // A link in the place of the directory is not followed.
  fs::rename(data + "/anvil", data + "/elsewhere");
  fs::create_directory_symlink(data + "/elsewhere", data + "/anvil");
  CHECK_FALSE(open_directory(data, self, self).has_value());
  CHECK_FALSE(open_directory(data + "/nowhere", self, self).has_value());
  fs::remove_all(data);
}

}  // namespace postern::anvil
