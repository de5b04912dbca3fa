#include "common/queuefile/queue_dir.h"

#include <catch2/catch.hpp>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <set>

#include "common/queuefile/queue_id.h"

namespace postern::queuefile {

namespace {

namespace fs = std::filesystem;

// A queue directory of its own, gone at the end of the test.
struct TestQueue {
  TestQueue() {
    char name[] = "/tmp/queue_dir_test.XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    root = name;
    for (const Queue queue : kAllQueues) fs::create_directory(root / queue_name(queue));
  }
  ~TestQueue() { fs::remove_all(root); }
  fs::path root;
};

constexpr std::string_view kId = "3A15C1A6E012F3";

}  // namespace

TEST_CASE("ids have Postfix's shapes and never come twice") {
  const auto form = GENERATE(IdForm::kShort, IdForm::kLong);
  QueueIdSource source(3);
  std::set<std::string> seen;
  const std::int64_t now = 1795367255'999'999;
  for (int i = 0; i < 1000; ++i) {
    // The clock stands still, then is set back.
    const std::string id = source.next(i < 500 ? now : now - 5'000'000, form);
    INFO(id);
    CHECK(is_valid_queue_id(id));
    CHECK(seen.insert(id).second);
  }
  CHECK(QueueIdSource(4).next(now, form) != QueueIdSource(5).next(now, form));
}

TEST_CASE("an id is made of the time and the slot") {
  CHECK(QueueIdSource(15).next(1'000'123'456, IdForm::kShort) == "1E2403E80F");
  // The number of slot 15 at 1000 s is 256015: four digits in base 51.
  const std::string id = QueueIdSource(15).next(1'000'123'456, IdForm::kLong);
  INFO(id);
  CHECK(id.size() == 6 + 4 + 1 + 4);
  CHECK(id[10] == 'z');
  CHECK(id_time(id) == 1000);
  CHECK(hash_key(id) == "1E240");
  CHECK(hash_key("1E2403E80F") == "1E240");
  CHECK_FALSE(id_time("1E2403E80F").has_value());
}

TEST_CASE("only queue ids are taken for queue ids") {
  for (const std::string_view good : {"3A15CA8E012", "0000012", "4cV2Lk3pJdz1LbKxQ"}) {
    INFO(good);
    CHECK(is_valid_queue_id(good));
  }
  for (const std::string_view bad :
       {"", "3A15C", "3a15ca8e012", ".", "..", "3A15CA8E012/x", "../etc/passwd", "3A15CA8E012.1",
        "core", "4cV2Lk3pJz1LbKxQ", "4cV2Lk3pJdz", "4cV2Lk3pJdz1LbaxQ", "3A15CA8E012\n"}) {
    INFO(bad);
    CHECK_FALSE(is_valid_queue_id(bad));
  }
  CHECK_FALSE(is_valid_queue_id(std::string(101, 'A')));
  CHECK_FALSE(is_valid_queue_id(std::string("3A15CA8E\0", 9)));
}

TEST_CASE("the place of a message follows hash_queue_names and hash_queue_depth") {
  const TestQueue queue;
  const auto dirs = QueueDirs::open(queue.root, {.names = {"deferred"}, .depth = 2}).value();
  CHECK(dirs.path_of(Queue::kDeferred, kId) == "deferred/3/A/3A15C1A6E012F3");
  CHECK(dirs.path_of(Queue::kActive, kId) == "active/3A15C1A6E012F3");
  const std::string long_id = QueueIdSource(0).next(1'000'123'456, IdForm::kLong);
  CHECK(dirs.path_of(Queue::kDeferred, long_id) == "deferred/1/E/" + long_id);
}

TEST_CASE("a message is created once, moved, found, set aside and removed") {
  const TestQueue queue;
  const auto dirs = QueueDirs::open(queue.root, {}).value();
  {
    const auto fd = dirs.create(Queue::kIncoming, kId);
    REQUIRE(fd.value().has_value());
    struct stat status{};
    REQUIRE(::fstat((*fd)->get(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0600);
  }
  CHECK_FALSE(dirs.create(Queue::kIncoming, kId).value().has_value());
  CHECK(dirs.move(Queue::kIncoming, Queue::kDeferred, kId).value());
  CHECK(fs::exists(queue.root / "deferred/3" / kId));
  CHECK((fs::status(queue.root / "deferred/3").permissions()) == fs::perms::owner_all);
  CHECK_FALSE(dirs.move(Queue::kIncoming, Queue::kDeferred, kId).value());
  CHECK(dirs.find(kId, {Queue::kActive, Queue::kDeferred}) == Queue::kDeferred);
  CHECK(dirs.open_message(Queue::kDeferred, kId, O_RDONLY).value().has_value());
  CHECK_FALSE(dirs.open_message(Queue::kActive, kId, O_RDONLY).value().has_value());

  // The same id in another queue is never written over.
  REQUIRE(dirs.create(Queue::kActive, kId).value().has_value());
  CHECK_FALSE(dirs.move(Queue::kActive, Queue::kDeferred, kId).has_value());

  const auto first = dirs.set_aside({std::string(kId), dirs.path_of(Queue::kActive, kId)});
  CHECK(first.value() == "corrupt/" + std::string(kId));
  const auto second = dirs.set_aside({std::string(kId), dirs.path_of(Queue::kDeferred, kId)});
  CHECK(second.value() == "corrupt/" + std::string(kId) + ".1");
  CHECK(dirs.set_aside({std::string(kId), "active/x"}).value() == std::nullopt);

  CHECK(dirs.remove(Queue::kCorrupt, kId).value());
  CHECK_FALSE(dirs.remove(Queue::kCorrupt, kId).value());
}

TEST_CASE("a message is not gone because the queue that it should go to is") {
  const TestQueue queue;
  const auto dirs = QueueDirs::open(queue.root, {}).value();
  REQUIRE(dirs.create(Queue::kActive, kId).value().has_value());
  fs::remove(queue.root / "deferred");
  CHECK_FALSE(dirs.move(Queue::kActive, Queue::kDeferred, kId).has_value());
  CHECK(dirs.find(kId, {Queue::kActive}) == Queue::kActive);
  fs::create_directory(queue.root / "deferred");
  CHECK(dirs.move(Queue::kActive, Queue::kDeferred, kId).value());
}

TEST_CASE("a scan gives messages at any depth and reports the rest, never following a link") {
  const TestQueue queue;
  const auto dirs = QueueDirs::open(queue.root, {}).value();
  const fs::path deferred = queue.root / "deferred";
  fs::create_directories(deferred / "3" / "A");
  fs::create_directories(deferred / "longname");
  fs::create_directories(queue.root / "elsewhere");
  const auto touch = [](const fs::path& path) {
    const sys::Fd fd(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    REQUIRE(fd);
  };
  touch(deferred / "AAAAAAA1");
  touch(deferred / "3" / "3AAAAAA2");
  touch(deferred / "3" / "A" / "3AAAAAA3");
  touch(deferred / "core");
  touch(deferred / "longname" / "AAAAAAA4");
  touch(queue.root / "elsewhere" / "BBBBBBB5");
  fs::create_symlink(queue.root / "elsewhere", deferred / "B");
  fs::create_symlink(queue.root / "elsewhere" / "BBBBBBB5", deferred / "BBBBBBB5");
  REQUIRE(::mkfifo((deferred / "CCCCCCC6").c_str(), 0600) == 0);

  std::set<std::string> strays, found;
  auto scan = dirs.scan(Queue::kDeferred, [&](std::string_view path, std::string_view what) {
    strays.insert(fmt::format("{} {}", path, what));
  });
  for (auto entry = scan.next(); entry.value(); entry = scan.next()) {
    found.insert((*entry)->path);
    CHECK((*entry)->path.ends_with((*entry)->id));
  }
  CHECK(found ==
        std::set<std::string>{"deferred/AAAAAAA1", "deferred/3/3AAAAAA2", "deferred/3/A/3AAAAAA3"});
  CHECK(strays ==
        std::set<std::string>{"deferred/B a symbolic link", "deferred/BBBBBBB5 a symbolic link",
                              "deferred/CCCCCCC6 a FIFO", "deferred/core not named as a message",
                              "deferred/longname a directory"});

  // A message at the wrong depth goes to its place.
  CHECK(dirs.move_path("deferred/AAAAAAA1", Queue::kDeferred, "AAAAAAA1").value());
  CHECK(fs::exists(deferred / "A" / "AAAAAAA1"));
}

TEST_CASE("the scan of a queue that is not there is empty") {
  const TestQueue queue;
  fs::remove(queue.root / "hold");
  const auto dirs = QueueDirs::open(queue.root, {}).value();
  CHECK_FALSE(dirs.scan(Queue::kHold).next().value().has_value());
}

}  // namespace postern::queuefile
