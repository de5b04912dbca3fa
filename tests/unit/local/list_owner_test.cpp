#include "local/list_owner.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/support/folder.h"

namespace postern::local {

namespace {

constexpr uid_t kSomebody = 2001;
constexpr uid_t kVictim = 2002;

void own(const std::string& path, uid_t owner) {
  REQUIRE(::lchown(path.c_str(), owner, owner) == 0);
}

void link(const std::string& path, const std::string& to, uid_t owner) {
  std::filesystem::create_symlink(to, path);
  own(path, owner);
}

}  // namespace

TEST_CASE("a list has the rights of its owner, but not by a link of somebody else's") {
  if (::geteuid() != 0) return;
  const Folder folder;
  own(folder.write("list", "x\n"), kSomebody);
  own(folder.write("mailbox", "x\n"), kVictim);
  own(folder.write("spool/list", "x\n"), kVictim);
  link(folder / "his", "list", kSomebody);
  link(folder / "roots", folder / "list", 0);
  link(folder / "trick", "mailbox", kSomebody);
  link(folder / "lists", folder / "spool", kSomebody);
  link(folder / "twice", "trick", 0);
  link(folder / "round", "round", 0);

  CHECK(find_list_owner(folder / "list").value().uid == kSomebody);
  CHECK(find_list_owner(folder / "his").value().uid == kSomebody);
  CHECK(find_list_owner(folder / "roots").value().uid == kSomebody);
  CHECK(find_list_owner(folder / "spool/../spool//list").value().uid == kVictim);
  for (const char* const name : {"trick", "lists/list", "twice"}) {
    INFO(name);
    CHECK_FALSE(find_list_owner(folder / name).value().uid.has_value());
  }
  CHECK_FALSE(find_list_owner(folder / "round").has_value());
  CHECK_FALSE(find_list_owner(folder / "none").has_value());
  CHECK_FALSE(find_list_owner(folder / "list/below").has_value());

  struct stat status{};
  REQUIRE(::stat((folder / "twice").c_str(), &status) == 0);
  CHECK(find_list_owner(folder / "twice").value().inode == status.st_ino);
  CHECK(find_list_owner(folder / "twice").value().device == status.st_dev);
}

}  // namespace postern::local
