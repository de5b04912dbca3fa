#include "common/queuefile/reason_log.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

namespace postern::queuefile {

namespace {

Reason some_reason(std::uint64_t offset, std::string text) {
  return {.address = "bob@example.org",
          .orig_to = "list@example.org",
          .dsn_orcpt = "rfc822;list@example.org",
          .notify = 5,
          .state_offset = offset,
          .time = 1795367255,
          .action = "delayed",
          .status = "4.4.1",
          .text = std::move(text),
          .remote_mta = "dns; mx.example.org",
          .diagnostic_type = "smtp",
          .diagnostic = "450 4.4.1 not now"};
}

struct QueueDirectory {
  std::string path = "/tmp/postern-reason-XXXXXX";
  QueueDirectory() {
    REQUIRE(::mkdtemp(path.data()) != nullptr);
    for (const auto* name : {"bounce", "defer"})
      std::filesystem::create_directory(path + "/" + name);
  }
  ~QueueDirectory() { std::filesystem::remove_all(path); }
};

constexpr std::string_view kId = "3A15C12345";

}  // namespace

TEST_CASE("a reason reads back as it was written, whatever bytes are in it") {
  const auto text = GENERATE(as<std::string>(), "plain", "tab\there", "line\nbreak",
                             "back\\x0aslash", "\\", "a=b", "\x01\x7f", "größe");
  const Reason reason = some_reason(77, text);
  const auto parsed = parse_reasons(print_reason(reason));
  REQUIRE(parsed.size() == 1);
  CHECK(parsed.front() == reason);
}

TEST_CASE("of several lines about one recipient the last counts, torn and foreign ones do not") {
  std::string file = print_reason(some_reason(1, "first")) + print_reason(some_reason(2, "other")) +
                     "garbage\n\n=\t=\n" + print_reason(some_reason(1, "second"));
  const std::string torn = print_reason(some_reason(3, "torn"));
  file += torn.substr(0, torn.size() - 1);
  const auto parsed = parse_reasons(file);
  REQUIRE(parsed.size() == 2);
  CHECK(parsed[0].text == "second");
  CHECK(parsed[1].text == "other");
  const auto history = parse_reason_history(file);
  REQUIRE(history.size() == 3);
  CHECK(history[0].text == "first");
  CHECK(history[2].text == "second");
}

TEST_CASE("parts of one recipient stand beside each other, each with its owner") {
  Reason first = some_reason(1, "first");
  first.part = 1;
  Reason second = some_reason(1, "second");
  second.part = 2;
  second.owner = "owner-list@example.org";
  const auto parsed = parse_reasons(print_reason(first) + print_reason(second));
  CHECK(parsed == std::vector<Reason>{first, second});
}

TEST_CASE("a log grows by appending, also behind a torn line") {
  const QueueDirectory directory;
  const auto dirs = QueueDirs::open(directory.path, {});
  REQUIRE(dirs);
  CHECK(read_reasons(*dirs, Queue::kDefer, kId).value().empty());
  REQUIRE(append_reasons(*dirs, Queue::kDefer, kId, {some_reason(1, "one")}, Durability::kFlushed));
  std::ofstream(directory.path + "/" + dirs->path_of(Queue::kDefer, kId), std::ios::app) << "torn";
  REQUIRE(
      append_reasons(*dirs, Queue::kDefer, kId, {some_reason(2, "two")}, Durability::kUnflushed));
  const auto read = read_reasons(*dirs, Queue::kDefer, kId);
  REQUIRE(read);
  REQUIRE(read->size() == 2);
  CHECK((*read)[1].text == "two");
}

TEST_CASE("a log of old lines does not grow without bound") {
  const QueueDirectory directory;
  const auto dirs = QueueDirs::open(directory.path, {});
  REQUIRE(dirs);
  const std::vector<Reason> many(100, some_reason(9, std::string(1000, 'x')));
  for (int i = 0; i < 20; ++i) {
    REQUIRE(append_reasons(*dirs, Queue::kDefer, kId, many, Durability::kUnflushed));
  }
  CHECK(std::filesystem::file_size(directory.path + "/" + dirs->path_of(Queue::kDefer, kId)) <
        600'000);
  CHECK(read_reasons(*dirs, Queue::kDefer, kId).value().size() == 1);
}

}  // namespace postern::queuefile
