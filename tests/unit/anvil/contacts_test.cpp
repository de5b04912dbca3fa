#include "anvil/contacts.h"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace postern::anvil {

namespace {

class Directory {
 public:
  Directory() {
    std::string pattern = "/tmp/postern_anvil_XXXXXX";
    path_ = ::mkdtemp(pattern.data());
    fd_.reset(::open(path_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  ~Directory() { std::filesystem::remove_all(path_); }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] std::string file() const { return path_ + "/contacts"; }

 private:
  std::string path_;
  sys::Fd fd_;
};

}  // namespace

TEST_CASE("contacts survive a restart") {
  const Directory directory;
  {
    Contacts contacts(LineFile(directory.fd(), "contacts"));
    REQUIRE(contacts.save({"192.0.2.1", {100, 200, 0, 0, 0}}));
    REQUIRE(contacts.save({"192.0.2.1", {150, 250, 0, 0, 0}}));
    REQUIRE(contacts.save({"no address", {1}}));
  }
  Contacts again(LineFile(directory.fd(), "contacts"));
  REQUIRE(again.load());
  const auto found = again.find("192.0.2.1");
  CHECK(found.is_known);
  CHECK(found.passed_until == std::vector<std::int64_t>{150, 250, 0, 0, 0});
  CHECK_FALSE(again.find("192.0.2.2").is_known);
  CHECK_FALSE(again.find("no address").is_known);
}

TEST_CASE("contacts are dropped when they have expired long enough") {
  const Directory directory;
  Contacts contacts(LineFile(directory.fd(), "contacts"));
  REQUIRE(contacts.save({"192.0.2.1", {100}}));
  REQUIRE(contacts.save({"192.0.2.2", {500}}));
  const auto cleaned = contacts.clean(300, 100).value();
  CHECK(cleaned.dropped == 1);
  CHECK(cleaned.retained == 1);
  Contacts again(LineFile(directory.fd(), "contacts"));
  REQUIRE(again.load());
  CHECK_FALSE(again.find("192.0.2.1").is_known);
  CHECK(again.find("192.0.2.2").is_known);
}

TEST_CASE("damaged lines are left out") {
  const Directory directory;
  std::ofstream(directory.file()) << "192.0.2.1 1 2 3 4 5\n192.0.2.2 1 2\nx 1 2 3 4 5\n"
                                     "192.0.2.3 1 2 3 4 -5\n192.0.2.4 1 2 3 4 5";
  Contacts contacts(LineFile(directory.fd(), "contacts"));
  REQUIRE(contacts.load());
  CHECK(contacts.find("192.0.2.1").is_known);
  for (const char* client : {"192.0.2.2", "x", "192.0.2.3", "192.0.2.4"}) {
    CHECK_FALSE(contacts.find(client).is_known);
  }
}

}  // namespace postern::anvil
