#include "common/agent/deliverers.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "common/agent/broker.h"
#include "common/agent/mailbox.h"
#include "tests/unit/agent/own_fsync.h"

namespace postern::agent {

namespace {

// Who the deliverers of these tests are: root makes another user of itself.
Identity somebody() {
  if (::geteuid() == 0) return {65534, 65534, {}};
  return {::geteuid(), ::getegid(), {}};
}

struct Place {
  std::string path = "/tmp/postern-deliverers-XXXXXX";
  sys::Fd message;
  Place() {
    REQUIRE(::mkdtemp(path.data()) != nullptr);
    REQUIRE(::chown(path.c_str(), somebody().uid, somebody().gid) == 0);
    const std::string file = path + "/message";
    std::ofstream(file) << "Subject: x\nhello\n";
    message.reset(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(message);
  }
  ~Place() { std::filesystem::remove_all(path); }

  [[nodiscard]] Job job(JobKind kind, const std::string& name) const {
    Job job;
    job.kind = kind;
    job.path = path + "/" + name;
    job.prepended = "Return-Path: <>\n";
    job.header_length = 11;
    job.body_offset = 11;
    job.body_length = 6;
    job.host = "mx.test";
    job.use_dotlock = true;
    job.use_fcntl = true;
    job.lock_attempts = 5;
    job.lock_delay = std::chrono::milliseconds(50);
    job.stale_after = std::chrono::seconds(100);
    return job;
  }
};

std::size_t count_files(const std::string& directory) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory)) ++count;
  return count;
}

// Runs jobs at once and collects what was said of them.
struct Run {
  loop::Loop loop;
  std::vector<Result<JobReply>> replies;
  std::size_t wanted = 0;
};

loop::Task<void> do_one(Run& run, Deliverers& deliverers, Job job, int fd) {
  auto reply = co_await deliverers.run(somebody(), std::move(job), fd);
  run.replies.push_back(std::move(reply));
  if (run.replies.size() == run.wanted) run.loop.stop();
}

void run_all(Run& run, const BrokerPolicy& policy, const std::vector<Job>& jobs, int fd) {
  auto broker = fork_broker(policy);
  REQUIRE(broker);
  Deliverers deliverers(*std::move(broker));
  run.wanted = jobs.size();
  for (const Job& job : jobs) loop::spawn(do_one(run, deliverers, job, fd));
  run.loop.run();
}

}  // namespace

TEST_CASE("many deliveries to a Maildir and to an mbox at once all arrive") {
  const Place place;
  Run run;
  std::vector<Job> jobs;
  for (int i = 0; i < 100; ++i) {
    jobs.push_back(place.job(JobKind::kMaildir, "dir/"));
    jobs.push_back(place.job(JobKind::kMbox, "box"));
  }
  run_all(run, {}, jobs, place.message.get());
  for (const auto& reply : run.replies) {
    INFO((reply ? std::string() : reply.error().text));
    REQUIRE(reply);
    INFO(reply->text);
    CHECK(reply->outcome == JobOutcome::kDelivered);
  }
  CHECK(count_files(place.path + "/dir/new") == 100);
  CHECK(count_files(place.path + "/dir/tmp") == 0);
  struct stat status{};
  REQUIRE(::stat((place.path + "/box").c_str(), &status) == 0);
  CHECK(status.st_uid == somebody().uid);
  CHECK((status.st_mode & 0777) == 0600);
  std::ifstream box(place.path + "/box");
  std::size_t messages = 0;
  for (std::string line; std::getline(box, line);) messages += line.starts_with("From ") ? 1 : 0;
  CHECK(messages == 100);
}

TEST_CASE("each delivery of a packet has its own message, and what is too large stops no other") {
  const Place place;
  std::vector<sys::Fd> messages;
  for (int i = 0; i < 100; ++i) {
    messages.emplace_back(::memfd_create("message", MFD_CLOEXEC));
    REQUIRE(write_bytes(messages.back().get(), fmt::format("S: {:03}\nbody\n", i)) == 0);
  }
  auto broker = fork_broker({});
  REQUIRE(broker);
  Run run;
  Deliverers deliverers(*std::move(broker));
  // Together they are more than the socket takes at once.
  const std::string long_line = "X-Long: " + std::string(5000, 'x') + "\n";
  for (int i = 0; i < 300; ++i) {
    Job job = place.job(JobKind::kMaildir, fmt::format("box{}/", i % 3));
    job.header_length = 7;
    job.body_offset = 7;
    job.body_length = 5;
    job.prepended = long_line;
    loop::spawn(
        do_one(run, deliverers, std::move(job), messages[static_cast<std::size_t>(i % 100)].get()));
  }
  Job too_large = place.job(JobKind::kMaildir, "dir/");
  too_large.prepended = std::string(70'000, 'x') + "\n";
  loop::spawn(do_one(run, deliverers, std::move(too_large), place.message.get()));
  run.wanted = 301;
  run.loop.run();
  std::size_t failures = 0;
  for (const auto& reply : run.replies) failures += reply ? 0 : 1;
  CHECK(failures == 1);
  std::map<std::string, int> found;
  for (int box = 0; box < 3; ++box) {
    const std::string directory = fmt::format("{}/box{}/new", place.path, box);
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      std::ifstream file(entry.path());
      const std::string text{std::istreambuf_iterator<char>(file), {}};
      REQUIRE(text.starts_with(long_line));
      ++found[text.substr(long_line.size())];
    }
  }
  CHECK(found.size() == 100);
  for (int i = 0; i < 100; ++i) CHECK(found[fmt::format("S: {:03}\n\nbody\n", i)] == 3);
}

TEST_CASE("Maildirs that hang hold up nobody else's") {
  const Place place;
  flushes() = {.hangs_below = place.path + "/stuck", .until_there_is = place.path + "/go"};
  auto broker = fork_broker({});
  flushes() = {};
  REQUIRE(broker);
  Run run;
  Deliverers deliverers(*std::move(broker));
  const auto deliver = [&](std::string name) {
    loop::spawn(do_one(run, deliverers, place.job(JobKind::kMaildir, name), place.message.get()));
  };
  for (int round = 0; round < 3; ++round) {
    deliver(fmt::format("stuck{}/", round));
    loop::spawn([](Run& all, std::string sign) -> loop::Task<void> {
      while (!std::filesystem::exists(sign)) {
        co_await loop::sleep_for(std::chrono::milliseconds(5));
      }
      all.loop.stop();
    }(run, fmt::format("{}/stuck{}.hangs", place.path, round)));
    run.loop.run();
    // These come when the batch above hangs.
    for (int i = 0; i < 10; ++i) deliver("dir/");
    run.wanted = 10U * static_cast<unsigned>(round + 1);
    run.loop.run();
  }
  CHECK(count_files(place.path + "/dir/new") == 30);
  CHECK(count_files(place.path + "/stuck0/new") == 0);
  std::ofstream(place.path + "/go") << "on\n";
  run.wanted = 33;
  run.loop.run();
  for (const auto& reply : run.replies) {
    REQUIRE(reply);
    CHECK(reply->outcome == JobOutcome::kDelivered);
  }
  CHECK(count_files(place.path + "/stuck0/new") == 1);
}

TEST_CASE("a missing mbox is told where it must exist, a missing file too") {
  const Place place;
  Run run;
  Job box = place.job(JobKind::kMbox, "none");
  box.must_exist = true;
  run_all(run, {}, {box, place.job(JobKind::kOpen, "none")}, place.message.get());
  for (const auto& reply : run.replies) {
    INFO((reply ? std::string() : reply.error().text));
    REQUIRE(reply);
    CHECK(reply->outcome == JobOutcome::kMissing);
  }
}

TEST_CASE("rights that the policy forbids are not given, and the delivery waits") {
  const Place place;
  Run run;
  BrokerPolicy policy;
  policy.minimum_uid = somebody().uid + 1;
  run_all(run, policy, {place.job(JobKind::kMaildir, "dir/")}, place.message.get());
  REQUIRE(run.replies.size() == 1);
  REQUIRE_FALSE(run.replies.front());
  CHECK(run.replies.front().error().kind == Error::Kind::kTemporary);
}

TEST_CASE("the broker believes nothing about a request") {
  BrokerPolicy policy;
  policy.minimum_uid = 100;
  policy.forbidden_uids = {150};
  policy.must_be_user = true;
  policy.fallback.name = "nobody";
  policy.fallback.uid = 65534;
  policy.fallback.gid = 65534;
  struct Case {
    std::int64_t uid, gid;
    std::string user;
  };
  const auto c = GENERATE(values<Case>({
      {-1, 1000, ""},
      {std::int64_t{1} << 40, 1000, ""},
      {1, 1, ""},                 // below the minimum
      {150, 150, ""},             // forbidden
      {4'000'000'001, 1000, ""},  // in no passwd
      {1234, 0, ""},              // root's group
      {1234, 1234, "root"},       // not that user's uid
      {1234, 1234, "no-such-user-here"},
      {1234, 1234, "../x"},
  }));
  BrokerRequest request;
  request.uid = c.uid;
  request.gid = c.gid;
  request.user = c.user;
  INFO(c.uid << " " << c.gid << " " << c.user);
  CHECK_FALSE(check_request(request, policy));
}

TEST_CASE("what is done for root is done as somebody else") {
  if (::geteuid() != 0) return;
  BrokerPolicy policy;
  policy.must_be_user = true;
  policy.fallback.name = "nobody";
  policy.fallback.uid = 65534;
  policy.fallback.gid = 65534;
  BrokerRequest request;
  request.user = "root";
  const auto account = check_request(request, policy);
  REQUIRE(account);
  CHECK(account->uid == 65534);
}

TEST_CASE("of root's files only .forward is given") {
  if (::geteuid() != 0) return;
  for (const char* name : {"", ".", "..", ".bashrc", ".forward/x", "../etc/shadow", "x.forward",
                           ".forward/../.bashrc"}) {
    INFO(name);
    CHECK_FALSE(open_root_forward("root", name));
  }
  CHECK_FALSE(open_root_forward("nobody", ".forward"));
  const auto missing = open_root_forward("root", ".forward-that-nobody-has");
  REQUIRE(missing);
  CHECK_FALSE(*missing);
}

TEST_CASE("a loop is seen by its Delivered-To") {
  constexpr std::string_view kHeader =
      "Received: x\nDelivered-To: Alice@parity.test\nSubject: Delivered-To: bob@parity.test\n";
  CHECK(was_delivered_to(kHeader, "alice@parity.test"));
  CHECK_FALSE(was_delivered_to(kHeader, "bob@parity.test"));
  CHECK_FALSE(was_delivered_to("", "alice@parity.test"));
}

}  // namespace postern::agent
