#include "common/agent/service.h"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "common/queuefile/writer.h"
#include "common/sys/socket.h"

namespace postern::agent {

namespace {

constexpr std::chrono::seconds kTestTime{20};

std::shared_ptr<config::Snapshot> snapshot_with(
    const std::vector<std::pair<std::string, std::string>>& settings) {
  auto snapshot = std::make_shared<config::Snapshot>();
  for (const auto& [name, value] : settings) {
    config::Setting setting;
    setting.name = name;
    setting.value = value;
    snapshot->settings.push_back(setting);
  }
  snapshot->index();
  return snapshot;
}

// A queue manager as far as agents see it, and the agent, in one loop.
struct World {
  std::string path = "/tmp/postern-agent-XXXXXX";
  loop::Loop loop;
  std::vector<std::string> seen;  // "credits 5", "report 1 last alice=sent", ...
  bool answers = true;
  std::unique_ptr<ipc::Dispatcher> dispatcher;
  ipc::ChannelPtr qmgr;
  std::size_t stop_at = 0;

  World() {
    REQUIRE(::mkdtemp(path.data()) != nullptr);
    dispatcher = std::make_unique<ipc::Dispatcher>();
    dispatcher->notice<ipc::agent::Credits>(
        [this](ipc::agent::Credits& credits, const ipc::ChannelPtr&) {
          note("credits " + std::to_string(credits.deliveries));
          if (const auto call = std::exchange(on_credits, {})) call();
        });
    dispatcher->serve<ipc::agent::Report>(
        [this](ipc::agent::Report report, ipc::ChannelPtr channel) {
          return take(std::move(report), std::move(channel));
        });
  }
  ~World() { std::filesystem::remove_all(path); }

  loop::Task<Result<ipc::Done>> take(ipc::agent::Report report, ipc::ChannelPtr channel) {
    std::string text = fmt::format("report {}{}{}", report.delivery, report.is_last ? " last" : "",
                                   report.is_damaged ? " damaged" : "");
    for (const auto& each : report.recipients) {
      text +=
          fmt::format(" {}={}/{}", each.state_offset, static_cast<int>(each.outcome), each.status);
    }
    if (!answers) channel->close();
    note(text);
    co_return ipc::Done{};
  }

  // What is offered as soon as there are credits.
  std::function<void()> on_credits;

  void note(std::string text) {
    seen.push_back(std::move(text));
    if (seen.size() >= stop_at) loop.stop();
  }

  [[nodiscard]] sys::Fd listen() {
    auto fd = sys::listen_unix(path + "/agent", 0600, 10);
    REQUIRE(fd);
    return *std::move(fd);
  }

  void connect() {
    auto fd = sys::connect_unix(path + "/agent");
    REQUIRE(fd);
    qmgr = std::make_shared<ipc::Channel>(*std::move(fd), *dispatcher);
    qmgr->start();
  }

  // A new loop run would turn at once: Loop::stop() is for good, so each test runs once.
  void run_until(std::size_t notes) {
    stop_at = notes;
    loop::CallbackTimer watchdog([this] { loop.stop(); });
    watchdog.arm(loop::Clock::now() + kTestTime);
    loop.run();
  }

  [[nodiscard]] sys::Fd queue_file(bool is_damaged) {
    const std::string name = path + "/message";
    queuefile::Envelope envelope;
    envelope.sender = "s@ext.test";
    envelope.arrival = {1'700'000'000, 0};
    envelope.recipients.push_back({.address = "alice@x.org"});
    queuefile::Writer writer(envelope);
    writer.append_body("hello\n");
    writer.finish("Subject: x\n", 20);
    std::string bytes = writer.take();
    if (is_damaged) bytes[bytes.find("hello")] = 'j';
    sys::Fd fd(::open(name.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0700));
    REQUIRE(queuefile::write_all(fd.get(), bytes));
    return fd;
  }

  void offer(std::int64_t number, std::size_t recipients, bool is_damaged = false) {
    on_credits = [=, this] { offer_now(number, recipients, is_damaged); };
  }

  void offer_now(std::int64_t number, std::size_t recipients, bool is_damaged) {
    ipc::agent::Deliver delivery;
    delivery.delivery = number;
    delivery.queue_id = "3A15C12345";
    for (std::size_t i = 0; i < recipients; ++i) {
      auto& recipient = delivery.recipients.emplace_back();
      recipient.state_offset = static_cast<std::int64_t>(10 + i);
      recipient.address = "alice@x.org";
    }
    std::vector<sys::Fd> fds;
    fds.push_back(queue_file(is_damaged));
    qmgr->notify(delivery, std::move(fds));
  }
};

loop::Task<void> deliver_all(std::shared_ptr<Delivery> delivery) {
  const queuefile::Message* message = co_await delivery->open();
  if (message == nullptr) co_return;
  for (std::size_t i = 0; i < delivery->recipients().size(); ++i) {
    delivery->delivered(i, {.status = "2.0.0", .text = "done"});
  }
}

loop::Task<void> bounce_all(std::shared_ptr<Delivery> delivery) {
  delivery->fail_rest({.status = "5.1.1", .text = "nobody"});
  co_return;
}

loop::Task<void> forget_all(std::shared_ptr<Delivery>) { co_return; }

// The second recipient takes longer.
loop::Task<void> deliver_slowly(std::shared_ptr<Delivery> delivery) {
  for (std::size_t i = 0; i < delivery->recipients().size(); ++i) {
    delivery->delivered(i, {.status = "2.0.0", .text = "done"});
    co_await loop::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace

TEST_CASE("credits come first, and the recipients of one turn travel in one report") {
  World world;
  AgentService service(
      world.listen(), config::Values(snapshot_with({{"default_process_limit", "7"}})), deliver_all);
  service.start();
  world.connect();
  world.offer(1, 3);
  world.run_until(2);
  CHECK(world.seen ==
        std::vector<std::string>{"credits 7", "report 1 last 10=1/2.0.0 11=1/2.0.0 12=1/2.0.0"});
}

TEST_CASE("recipients that become ready one after the other are reported each at once") {
  World world;
  AgentService service(world.listen(), config::Values(snapshot_with({})), deliver_slowly);
  service.start();
  world.connect();
  world.offer(4, 2);
  world.run_until(3);
  CHECK(world.seen ==
        std::vector<std::string>{"credits 100", "report 4 10=1/2.0.0", "report 4 last 11=1/2.0.0"});
}

TEST_CASE("a damaged file is reported and delivered to nobody") {
  World world;
  AgentService service(world.listen(), config::Values(snapshot_with({})), deliver_all);
  service.start();
  world.connect();
  world.offer(1, 1, true);
  world.run_until(2);
  CHECK(world.seen.back() == "report 1 last damaged");
}

TEST_CASE("soft_bounce makes failures wait") {
  World world;
  AgentService service(world.listen(), config::Values(snapshot_with({{"soft_bounce", "yes"}})),
                       bounce_all);
  service.start();
  world.connect();
  world.offer(1, 1);
  world.run_until(2);
  CHECK(world.seen.back() == "report 1 last 10=2/4.1.1");
}

TEST_CASE("a recipient without a result is deferred") {
  World world;
  AgentService service(world.listen(), config::Values(snapshot_with({})), forget_all);
  service.start();
  world.connect();
  world.offer(1, 1);
  world.run_until(2);
  CHECK(world.seen.back() == "report 1 last 10=2/4.3.0");
}

TEST_CASE("a report that was not answered is repeated to the next queue manager, before credits") {
  World world;
  AgentService service(world.listen(), config::Values(snapshot_with({})), deliver_all);
  service.start();
  world.connect();
  world.answers = false;  // dies when it reads the report
  world.offer(9, 1);
  loop::CallbackTimer reconnect([&world] {
    world.answers = true;
    world.connect();
  });
  reconnect.arm(loop::Clock::now() + std::chrono::milliseconds(200));
  world.run_until(4);
  REQUIRE(world.seen.size() == 4);
  CHECK(world.seen[1] == "report 9 last 10=1/2.0.0");
  CHECK(world.seen[2] == "report 0 last 10=1/2.0.0");
  CHECK(world.seen[3].starts_with("credits"));
}

TEST_CASE("a draining agent takes no more and ends with its last report") {
  World world;
  AgentService service(world.listen(), config::Values(snapshot_with({})), deliver_slowly);
  service.start();
  world.connect();
  world.offer(1, 2);
  bool is_done = false;
  loop::CallbackTimer drain([&] {
    service.drain([&] {
      is_done = true;
      world.loop.stop();
    });
  });
  drain.arm(loop::Clock::now() + std::chrono::milliseconds(2));
  world.run_until(100);
  CHECK(is_done);
  CHECK(std::ranges::find(world.seen, "credits -1") != world.seen.end());
  CHECK(std::ranges::find(world.seen, "report 1 last 11=1/2.0.0") != world.seen.end());
}

}  // namespace postern::agent
