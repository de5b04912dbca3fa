#include "postern/config_edit.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "postern/master_entries.h"

namespace postern::control {

namespace {

constexpr std::string_view kMain =
    "# a comment\n"
    "relayhost = one\n"
    "\n"
    "# another\n"
    "mydestination = a,\n"
    "    # inside\n"
    "    b\n"
    "relayhost = two\n"
    "last = x";

constexpr std::string_view kMaster =
    "# comment\n"
    "smtp inet n - n - - smtpd\n"
    "  -o smtpd_banner=x\n"
    "  -o { mynetworks = a b }\n"
    "pickup unix n - n 60 1 pickup\n"
    "vmail unix - n n - - pipe flags=R argv=/bin/x -o y=z\n";

std::string edit(MasterRequest::What what, MasterRequest::Action action, std::string request) {
  std::vector<std::string> unmatched;
  auto text = edit_entries(kMaster, {what, action, {std::move(request)}}, unmatched);
  REQUIRE(text.has_value());
  CHECK(unmatched.empty());
  return *text;
}

using What = MasterRequest::What;
using Action = MasterRequest::Action;

}  // namespace

TEST_CASE("a setting keeps its place, in each where there are several, and comments stay") {
  std::vector<std::string> repeated;
  CHECK(edit_main_cf(kMain,
                     {{MainEdit::Kind::kSet, "relayhost", "three"},
                      {MainEdit::Kind::kSet, "mydestination", "c"},
                      {MainEdit::Kind::kSet, "new", "y"}},
                     &repeated) ==
        "# a comment\nrelayhost = three\n\n# another\nmydestination = c\n    # inside\n"
        "relayhost = three\nlast = x\nnew = y\n");
  CHECK(repeated == std::vector<std::string>{"relayhost"});
}

TEST_CASE("settings are commented out and removed with their continuation lines") {
  CHECK(edit_main_cf(kMain, {{MainEdit::Kind::kComment, "mydestination", ""}}) ==
        "# a comment\nrelayhost = one\n\n# another\n#mydestination = a,\n    # inside\n#    b\n"
        "relayhost = two\nlast = x\n");
  CHECK(edit_main_cf(kMain, {{MainEdit::Kind::kRemove, "mydestination", ""},
                             {MainEdit::Kind::kRemove, "relayhost", ""}}) ==
        "# a comment\n\n# another\n    # inside\nlast = x\n");
}

TEST_CASE("entries of master.cf that do not change stay byte for byte") {
  const std::string text = edit(What::kFields, Action::kEdit, "pickup/unix/chroot=y");
  CHECK(text ==
        "# comment\nsmtp inet n - n - - smtpd\n  -o smtpd_banner=x\n  -o { mynetworks = a b }\n"
        "pickup     unix  n       -       y       60      1       pickup\n"
        "vmail unix - n n - - pipe flags=R argv=/bin/x -o y=z\n");
}

TEST_CASE("comments between the lines of an entry come before the entry that replaces it") {
  std::vector<std::string> unmatched;
  const auto text = edit_entries("a unix - - n - - pipe\n# in\n  -o b=c\n# behind\n",
                                 {What::kParams, Action::kEdit, {"a/unix/b=d"}}, unmatched);
  CHECK(text.value() ==
        "# in\na          unix  -       -       n       -       -       pipe\n    -o b=d\n# "
        "behind\n");
}

TEST_CASE("-o values are changed, added in front of other arguments, and removed") {
  CHECK(edit(What::kParams, Action::kEdit, "smtp/inet/mynetworks=c d")
            .find("    -o smtpd_banner=x\n    -o {mynetworks=c d}\n") != std::string::npos);
  CHECK(edit(What::kParams, Action::kEdit, "vmail/unix/a=b")
            .find("pipe\n    -o a=b\n    flags=R argv=/bin/x -o y=z\n") != std::string::npos);
  CHECK(edit(What::kParams, Action::kRemove, "smtp/inet/smtpd_banner").find("banner") ==
        std::string::npos);
}

TEST_CASE("entries are added, replaced and removed; bad ones are refused") {
  CHECK(edit(What::kEntries, Action::kEdit, "new/unix=new unix - - n - - pipe")
            .ends_with("new        unix  -       -       n       -       -       pipe\n"));
  CHECK(edit(What::kEntries, Action::kRemove, "smtp/inet").find("smtpd") == std::string::npos);
  CHECK(edit(What::kEntries, Action::kComment, "smtp/inet").find("#  -o smtpd_banner=x") !=
        std::string::npos);
  std::vector<std::string> unmatched;
  for (const char* request : {"new/unix=new unix - -", "new/bogus=x", "smtp/inet", "/unix=x"}) {
    INFO(request);
    CHECK_FALSE(
        edit_entries(kMaster, {What::kEntries, Action::kEdit, {request}}, unmatched).has_value());
  }
  CHECK_FALSE(
      edit_entries(kMaster, {What::kFields, Action::kEdit, {"smtp/inet/wakeup=x"}}, unmatched)
          .has_value());
  CHECK_FALSE(
      edit_entries(kMaster, {What::kFields, Action::kEdit, {"smtp/inet/maxproc=1"}}, unmatched)
          .has_value());
  CHECK(edit_entries(kMaster, {What::kEntries, Action::kRemove, {"none/unix"}}, unmatched) ==
        std::string(kMaster));
  CHECK(unmatched.empty());
  CHECK(edit_entries(kMaster, {What::kFields, Action::kEdit, {"none/unix/chroot=n"}}, unmatched) ==
        std::string(kMaster));
  CHECK(unmatched == std::vector<std::string>{"none/unix/chroot=n"});
}

TEST_CASE("a file is replaced with its mode, and not touched when the change fails") {
  std::string name = std::filesystem::temp_directory_path() / "postern-edit-XXXXXX";
  const std::string directory = mkdtemp(name.data());
  const std::string path = directory + "/main.cf";
  std::ofstream(path) << "a = b\n";
  REQUIRE(chmod(path.c_str(), 0640) == 0);
  std::filesystem::create_symlink(path, directory + "/link");

  CHECK(edit_file(directory + "/link", [](std::string_view text) -> Result<std::string> {
          return std::string(text) + "c = d\n";
        }).has_value());
  CHECK_FALSE(edit_file(path, [](std::string_view) -> Result<std::string> {
                return fail(Error::Kind::kConfig, "no");
              }).has_value());

  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  CHECK(text.str() == "a = b\nc = d\n");
  struct stat status{};
  REQUIRE(stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0640);
  CHECK(std::filesystem::is_symlink(directory + "/link"));
  CHECK_FALSE(std::filesystem::exists(path + ".tmp"));
  std::filesystem::remove_all(directory);
}

}  // namespace postern::control
