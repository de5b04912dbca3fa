// What a delivery flushes, in which order.

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "common/agent/maildir.h"
#include "common/sys/fd.h"
#include "tests/unit/agent/own_fsync.h"

namespace postern::agent {

namespace {

namespace fs = std::filesystem;

class MaildirFlush {
 public:
  MaildirFlush() {
    char name[] = "/tmp/maildir_test.XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    dir_ = name;
    file_.reset(::memfd_create("message", MFD_CLOEXEC));
    REQUIRE(write_bytes(file_.get(), "S: x\n\nbody\n") == 0);
    flushes() = {.is_recording = true};
  }
  ~MaildirFlush() {
    flushes() = {};
    fs::remove_all(dir_);
  }
  MaildirFlush(const MaildirFlush&) = delete;
  MaildirFlush& operator=(const MaildirFlush&) = delete;

  // What was flushed, below the directory of the test; the message is shown as "tmp/*".
  std::vector<std::string> deliver(MailboxOutcome expected) {
    flushes().paths.clear();
    const MailboxMessage message{
        .fd = file_.get(), .header = {0, 5}, .body = {5, 6}, .prepended = {}};
    CHECK(deliver_to_maildir(message, {.path = dir_ / "deep/Maildir", .host = "h"}).outcome ==
          expected);
    std::vector<std::string> shown;
    for (const std::string& path : flushes().paths) {
      const fs::path relative = fs::path(path).lexically_relative(dir_);
      shown.push_back(relative.parent_path().filename() == "tmp" ? "tmp/*" : relative.string());
    }
    return shown;
  }
  void fail_for(const char* name) { flushes().fails_for = name == nullptr ? "" : dir_ / name; }
  [[nodiscard]] fs::path dir() const { return dir_; }

 private:
  fs::path dir_;
  sys::Fd file_;
};

using Paths = std::vector<std::string>;

}  // namespace

TEST_CASE_METHOD(MaildirFlush, "a new Maildir is safe before its first message is, and only once") {
  CHECK(deliver(MailboxOutcome::kDelivered) ==
        Paths{".", "deep", "deep/Maildir", "tmp/*", "deep/Maildir/new"});
  CHECK(deliver(MailboxOutcome::kDelivered) == Paths{"tmp/*", "deep/Maildir/new"});
}

TEST_CASE_METHOD(MaildirFlush, "a directory whose flush failed is flushed by the next attempt") {
  flushes().fails_for = dir();
  CHECK(deliver(MailboxOutcome::kDeferred) == Paths{"."});
  fail_for("deep");
  CHECK(deliver(MailboxOutcome::kDeferred) == Paths{".", "deep"});
  fail_for("deep/Maildir");
  CHECK(deliver(MailboxOutcome::kDeferred) == Paths{"deep", "deep/Maildir"});
  fail_for(nullptr);
  CHECK(deliver(MailboxOutcome::kDelivered) == Paths{"deep/Maildir", "tmp/*", "deep/Maildir/new"});
}

}  // namespace postern::agent
