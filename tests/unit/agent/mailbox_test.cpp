// Deliveries to real files below a directory of the test's own.

#include "common/agent/mailbox.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "common/agent/maildir.h"
#include "common/agent/mbox.h"
#include "common/sys/fd.h"

namespace postern::agent {

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

struct TestDir {
  TestDir() {
    char name[] = "/tmp/mailbox_test.XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~TestDir() { fs::remove_all(path); }
  fs::path path;
};

// A "queue file" of junk, body, header, so that offsets matter.
struct TestMessage {
  TestMessage(std::string_view header, std::string_view body) {
    fd.reset(::memfd_create("message", MFD_CLOEXEC));
    const std::string file = fmt::format("junk{}{}", body, header);
    REQUIRE(write_bytes(fd.get(), file) == 0);
    message = {.fd = fd.get(),
               .header = {4 + body.size(), header.size()},
               .body = {4, body.size()},
               .prepended = mailbox_headers("s@ext.test", "o@x.test", "d@x.test")};
  }
  sys::Fd fd;
  MailboxMessage message;
};

std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<fs::path> files_in(const fs::path& directory) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(directory)) files.push_back(entry.path());
  return files;
}

mode_t mode_of(const fs::path& path) {
  struct stat status{};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

constexpr std::string_view kPrepended =
    "Return-Path: <s@ext.test>\nX-Original-To: o@x.test\nDelivered-To: d@x.test\n";

MboxRequest mbox_at(const fs::path& path) {
  MboxRequest request{.path = path, .sender = "s@ext.test", .failure_prefix = "cannot. "};
  request.locks.attempts = 2;
  request.locks.delay = 1ms;
  return request;
}

}  // namespace

TEST_CASE("prepended headers are one line each, whatever is in them") {
  CHECK(mailbox_headers("", "", "d@x") == "Return-Path: <>\nDelivered-To: d@x\n");
  CHECK(mailbox_headers("a\nb", "c\rd", std::string_view("e\0f", 3)) ==
        "Return-Path: <a?b>\nX-Original-To: c?d\nDelivered-To: e?f\n");
}

TEST_CASE("a Maildir is made and gets the message, byte for byte") {
  const TestDir dir;
  const bool is_large = GENERATE(false, true);
  const std::string body =
      is_large ? std::string(700'001, 'x') + "\nFrom me\n" : "From the start\n\n.\nFrom me\n";
  const TestMessage test("Subject: x\n", body);
  const MaildirRequest request{.path = dir.path / "deep" / "Maildir/", .host = "mx:1/2"};
  const MailboxResult result = deliver_to_maildir(test.message, request);
  INFO(result.text);
  REQUIRE(result.outcome == MailboxOutcome::kDelivered);
  CHECK(result.status == "2.0.0");
  CHECK(result.text == "delivered to maildir");
  const auto files = files_in(dir.path / "deep/Maildir/new");
  REQUIRE(files.size() == 1);
  CHECK(files[0] == result.path);
  CHECK(content(files[0]) == fmt::format("{}Subject: x\n\n{}", kPrepended, body));
  CHECK(mode_of(files[0]) == 0600);
  CHECK(files[0].filename().string().ends_with(".mx\\0721\\0572"));
  CHECK(files_in(dir.path / "deep/Maildir/tmp").empty());
  for (const char* part : {"", "new", "cur", "tmp"}) {
    CHECK(mode_of(dir.path / "deep/Maildir" / part) == 0700);
  }
  // A second one goes beside it.
  REQUIRE(deliver_to_maildir(test.message, request).outcome == MailboxOutcome::kDelivered);
  CHECK(files_in(dir.path / "deep/Maildir/new").size() == 2);
}

TEST_CASE("Maildir file names have the usual shape") {
  CHECK(maildir_name(1795367255, 12, 0xfe01, 0x2c0d3, "mx.test") ==
        "1795367255.Vfe01I2c0d3M12.mx.test");
}

TEST_CASE("a failed Maildir delivery leaves nothing") {
  const TestDir dir;
  const TestMessage test("Subject: x\n", std::string(1000, 'x') + "\n");
  const fs::path maildir = dir.path / "Maildir";
  SECTION("over the limit") {
    const auto size = kPrepended.size() + 11 + 1 + 1001;
    CHECK(deliver_to_maildir(test.message, {.path = maildir, .host = "h", .limit = size}).outcome ==
          MailboxOutcome::kDelivered);
    const auto result =
        deliver_to_maildir(test.message, {.path = maildir, .host = "h", .limit = size - 1});
    CHECK(result.outcome == MailboxOutcome::kBounced);
    CHECK(result.status == "5.2.2");
    CHECK(result.text == "maildir delivery failed: error writing message: File too large");
    CHECK(files_in(maildir / "new").size() == 1);
    CHECK(files_in(maildir / "tmp").empty());
  }
  SECTION("new/ is no directory") {
    fs::create_directories(maildir / "tmp");
    std::ofstream(maildir / "new") << "x";
    const auto result = deliver_to_maildir(test.message, {.path = maildir, .host = "h"});
    CHECK(result.outcome == MailboxOutcome::kDeferred);
    CHECK(files_in(maildir / "tmp").empty());
  }
  SECTION("the queue file ends too early") {
    MailboxMessage message = test.message;
    message.body.length += 100'000;
    const auto result = deliver_to_maildir(message, {.path = maildir, .host = "h"});
    CHECK(result.outcome == MailboxOutcome::kDeferred);
    CHECK(result.status == "4.3.0");
    CHECK(files_in(maildir / "tmp").empty());
    CHECK(files_in(maildir / "new").empty());
  }
  SECTION("a file is in the way") {
    std::ofstream(maildir.string()) << "x";
    const auto result = deliver_to_maildir(test.message, {.path = maildir, .host = "h"});
    CHECK(result.outcome == MailboxOutcome::kDeferred);
    CHECK(result.status == "4.2.0");
  }
}

TEST_CASE("an mbox that cannot be opened is returned or waited for, as the agent says") {
  const TestDir dir;
  const TestMessage test("Subject: x\n", "x");
  MboxRequest request = mbox_at(dir.path);
  CHECK(deliver_to_mbox(test.message, request).status == "5.2.0");
  request.open_failures_defer = true;
  const MailboxResult result = deliver_to_mbox(test.message, request);
  CHECK(result.outcome == MailboxOutcome::kDeferred);
  CHECK(result.status == "4.2.0");
}

TEST_CASE("a file that an alias names is refused where it is not meant for mail") {
  const TestDir dir;
  const TestMessage test("Subject: x\n", "x");
  const fs::path target = dir.path / "target";
  std::ofstream(target) << "";
  fs::create_symlink(target, dir.path / "link");
  // One of root's would be followed.
  if (::geteuid() == 0) REQUIRE(::lchown((dir.path / "link").c_str(), 65534, 65534) == 0);
  MboxRequest request = mbox_at(dir.path / "link");
  request.allow_device = true;
  MailboxResult result = deliver_to_mbox(test.message, request);
  CHECK(result.status == "5.2.0");
  CHECK(result.text == "cannot. file is a symbolic link");
  fs::permissions(target, fs::perms::owner_all);
  request.path = target;
  result = deliver_to_mbox(test.message, request);
  CHECK(result.outcome == MailboxOutcome::kBounced);
  CHECK(result.status == "5.7.1");
  CHECK(result.text == "cannot. file is executable");
  request.path = dir.path / "no" / "such";
  result = deliver_to_mbox(test.message, request);
  CHECK(result.text == "cannot. cannot create file exclusively: No such file or directory");
}

TEST_CASE("an mbox gets the From line, quoting and an empty line at the end") {
  const TestDir dir;
  const TestMessage test("Subject: x\n", "From the start\n>From\nFrom\nFrom \nx From y\nFrom");
  const fs::path path = dir.path / "mbox";
  const MailboxResult result = deliver_to_mbox(test.message, mbox_at(path));
  INFO(result.text);
  REQUIRE(result.outcome == MailboxOutcome::kDelivered);
  CHECK(result.text == "delivered to mailbox");
  CHECK(mode_of(path) == 0600);
  const std::string text = content(path);
  const std::size_t line_end = text.find('\n');
  CHECK(text.starts_with("From s@ext.test  "));
  CHECK(text.substr(line_end + 1) ==
        fmt::format("{}Subject: x\n\n>From the start\n>From\nFrom\n>From \nx From y\nFrom\n",
                    kPrepended));
  CHECK(files_in(dir.path).size() == 1);  // no lock file

  // The last message did not end in a line: the next one is a message of its own all the same.
  REQUIRE(::truncate(path.c_str(), static_cast<off_t>(text.size() - 1)) == 0);
  const MailboxResult second = deliver_to_mbox(test.message, mbox_at(path));
  CHECK(second.offset == text.size() - 1);
  CHECK(content(path).find("\nFrom\n\nFrom s@ext.test  ") != std::string::npos);
}

TEST_CASE("From is quoted wherever the chunks are cut") {
  const TestDir dir;
  const fs::path path = dir.path / "mbox";
  constexpr std::size_t kChunk = std::size_t{128} << 10;
  for (std::size_t before = kChunk - 8; before < kChunk + 2; ++before) {
    const TestMessage test("", std::string(before - 1, 'x') + "\nFrom y\n");
    fs::remove(path);
    REQUIRE(deliver_to_mbox(test.message, mbox_at(path)).outcome == MailboxOutcome::kDelivered);
    INFO(before);
    CHECK(content(path).ends_with("x\n>From y\n\n"));
  }
}

TEST_CASE("the From line is ctime's") {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  CHECK(from_line("", 1795367255) == "From MAILER-DAEMON  Sun Nov 22 17:07:35 2026\n");
  CHECK(from_line("a\nb", 0) == "From a?b  Thu Jan  1 00:00:00 1970\n");
}

TEST_CASE("an mbox that cannot be one") {
  const TestDir dir;
  const TestMessage test("Subject: x\n", "x\n");
  const fs::path path = dir.path / "mbox";
  SECTION("a directory") {
    fs::create_directory(path);
    const auto result = deliver_to_mbox(test.message, mbox_at(path));
    CHECK(result.outcome == MailboxOutcome::kBounced);
    CHECK(result.status == "5.2.0");
    CHECK(result.text == "cannot. cannot open file: Is a directory");
  }
  SECTION("in a directory that is not there") {
    const auto result = deliver_to_mbox(test.message, mbox_at(dir.path / "no" / "mbox"));
    CHECK(result.outcome == MailboxOutcome::kBounced);
    CHECK(result.text == fmt::format("cannot. unable to create lock file {}.lock: No such file or "
                                     "directory",
                                     (dir.path / "no" / "mbox").string()));
  }
  SECTION("a symbolic link") {
    std::ofstream(dir.path / "victim") << "old\n";
    fs::create_symlink(dir.path / GENERATE("victim", "nowhere"), path);
    REQUIRE(::lchown(path.c_str(), ::getuid() == 0 ? 65534 : ::getuid(), -1U) == 0);
    const auto result = deliver_to_mbox(test.message, mbox_at(path));
    CHECK(result.outcome == MailboxOutcome::kDeferred);
    CHECK(content(dir.path / "victim") == "old\n");
    CHECK_FALSE(fs::exists(dir.path / "nowhere"));
  }
  SECTION("a hard link") {
    std::ofstream(dir.path / "victim") << "old\n";
    fs::create_hard_link(dir.path / "victim", path);
    CHECK(deliver_to_mbox(test.message, mbox_at(path)).text == "cannot. file has 2 hard links");
    CHECK(content(dir.path / "victim") == "old\n");
  }
  SECTION("somebody else's") {
    MboxRequest request = mbox_at(path);
    request.owner = ::getuid() + 1;
    const auto result = deliver_to_mbox(test.message, request);
    CHECK(result.status == "4.2.0");
    CHECK(result.text.ends_with("is not owned by recipient"));
  }
  SECTION("a FIFO") {
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    CHECK(deliver_to_mbox(test.message, mbox_at(path)).text == "cannot. not a regular file");
  }
  SECTION("a device, but for a file that may be one") {
    MboxRequest request = mbox_at("/dev/null");
    CHECK(deliver_to_mbox(test.message, request).outcome == MailboxOutcome::kDeferred);
    request.allow_device = true;
    CHECK(deliver_to_mbox(test.message, request).outcome == MailboxOutcome::kDelivered);
    request.path = "/dev/full";
    const auto result = deliver_to_mbox(test.message, request);
    CHECK(result.outcome == MailboxOutcome::kDeferred);
    CHECK(result.status == "4.3.0");
    CHECK(result.text == "cannot. error writing message: No space left on device");
  }
}

TEST_CASE("a link that root made is followed") {
  if (::getuid() != 0) return;
  const TestDir dir;
  const TestMessage test("Subject: x\n", "x\n");
  const fs::path path = dir.path / "mbox";
  fs::create_symlink(dir.path / "target", path);
  const auto nowhere = deliver_to_mbox(test.message, mbox_at(path));
  CHECK(nowhere.status == "5.2.0");
  CHECK(nowhere.text == "cannot. cannot open file: No such file or directory");
  std::ofstream(dir.path / "target") << "";
  CHECK(deliver_to_mbox(test.message, mbox_at(path)).outcome == MailboxOutcome::kDelivered);
  CHECK_FALSE(content(dir.path / "target").empty());
}

TEST_CASE("the size limit cuts nothing in half") {
  const TestDir dir;
  const fs::path path = dir.path / "mbox";
  const TestMessage test("Subject: x\n", std::string(300'000, 'x') + "\n");
  REQUIRE(deliver_to_mbox(test.message, mbox_at(path)).outcome == MailboxOutcome::kDelivered);
  const std::string before = content(path);

  MboxRequest request = mbox_at(path);
  request.limit = 2 * before.size();
  REQUIRE(deliver_to_mbox(test.message, request).outcome == MailboxOutcome::kDelivered);
  fs::resize_file(path, before.size());
  for (const std::uint64_t limit :
       {2 * before.size() - 1, before.size() + 1, before.size(), std::size_t{10}}) {
    request.limit = limit;
    const auto result = deliver_to_mbox(test.message, request);
    CHECK(result.outcome == MailboxOutcome::kBounced);
    CHECK(result.status == "5.2.2");
    CHECK(result.text == "cannot. error writing message: File too large");
    CHECK(content(path) == before);
  }
}

TEST_CASE("a queue file that cannot be read cuts the mbox back and defers") {
  const TestDir dir;
  const fs::path path = dir.path / "mbox";
  std::ofstream(path) << "old\n";
  const TestMessage test("Subject: x\n", std::string(300'000, 'x'));
  MailboxMessage message = test.message;
  message.body.length += 1'000'000;
  const auto result = deliver_to_mbox(message, mbox_at(path));
  CHECK(result.outcome == MailboxOutcome::kDeferred);
  CHECK(content(path) == "old\n");
}

TEST_CASE("locks of others are waited for, and only so long") {
  const TestDir dir;
  const fs::path path = dir.path / "mbox";
  const fs::path lock = dir.path / "mbox.lock";
  const TestMessage test("Subject: x\n", "x\n");
  MboxRequest request = mbox_at(path);
  SECTION("a dotlock that stays") {
    std::ofstream(lock) << "";
    const auto result = deliver_to_mbox(test.message, request);
    CHECK(result.outcome == MailboxOutcome::kDeferred);
    CHECK(result.status == "4.2.0");
    CHECK(result.text ==
          fmt::format("cannot. unable to create lock file {}: File exists", lock.string()));
    CHECK(fs::exists(lock));
    CHECK_FALSE(fs::exists(path));
  }
  SECTION("a dotlock nobody cares for any more") {
    std::ofstream(lock) << "";
    fs::last_write_time(lock, fs::file_time_type::clock::now() - 1h);
    CHECK(deliver_to_mbox(test.message, request).outcome == MailboxOutcome::kDelivered);
    CHECK_FALSE(fs::exists(lock));
  }
  SECTION("a dotlock that is not asked for") {
    std::ofstream(lock) << "";
    request.locks.dotlock = false;
    CHECK(deliver_to_mbox(test.message, request).outcome == MailboxOutcome::kDelivered);
    CHECK(fs::exists(lock));
  }
  SECTION("the kernel's") {
    request.locks.flock = true;
    sys::Fd holder(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    REQUIRE(::flock(holder.get(), LOCK_EX) == 0);
    const auto result = deliver_to_mbox(test.message, request);
    CHECK(result.outcome == MailboxOutcome::kDeferred);
    CHECK(result.text ==
          "cannot. unable to lock for exclusive access: Resource temporarily unavailable");
    holder.reset();
    CHECK(deliver_to_mbox(test.message, request).outcome == MailboxOutcome::kDelivered);
  }
}

TEST_CASE("many writers at once leave whole messages") {
  const TestDir dir;
  const fs::path path = dir.path / "mbox";
  const TestMessage test("Subject: x\n", std::string(10'000, 'x') + "\n");
  MboxRequest request = mbox_at(path);
  request.locks.attempts = 100'000;
  constexpr int kWriters = 4;
  constexpr int kEach = 10;
  std::vector<std::thread> writers;
  std::atomic<int> delivered = 0;
  for (int i = 0; i < kWriters; ++i) {
    writers.emplace_back([&] {
      for (int n = 0; n < kEach; ++n) {
        delivered += deliver_to_mbox(test.message, request).outcome == MailboxOutcome::kDelivered;
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  CHECK(delivered == kWriters * kEach);
  const std::string text = content(path);
  int whole = 0;
  const std::string end = "Subject: x\n\n" + std::string(10'000, 'x') + "\n\n";
  for (std::size_t at = text.find(end); at != std::string::npos; at = text.find(end, at + 1)) {
    const std::size_t next = at + end.size();
    whole += next == text.size() || text.compare(next, 5, "From ") == 0;
  }
  CHECK(whole == kWriters * kEach);
}

TEST_CASE("mailbox_delivery_lock is read") {
  const MboxLocks locks = parse_mailbox_locks("flock, dotlock").value();
  CHECK(locks.flock);
  CHECK(locks.dotlock);
  CHECK_FALSE(locks.fcntl);
  CHECK(parse_mailbox_locks("dotlock lockf").error().kind == Error::Kind::kConfig);
}

TEST_CASE("errno values that may pass are deferred") {
  for (const int error : {EIO, ENOSPC, EDQUOT, EAGAIN, ESTALE, EACCES, ENFILE}) {
    const auto result = mailbox_failure(error, "x");
    CHECK(result.outcome == MailboxOutcome::kDeferred);
    CHECK(result.status.starts_with("4."));
  }
}

}  // namespace postern::agent
