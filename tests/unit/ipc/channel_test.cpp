#include "common/ipc/channel.h"

#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "common/ipc/client.h"
#include "common/ipc/server.h"
#include "common/ipc/tables.h"
#include "common/sys/socket.h"

namespace postern::ipc {

using namespace std::chrono_literals;

namespace {

struct Ask {
  static constexpr std::uint16_t kType = 0x7001;
  static constexpr bool kRepeatable = true;
  struct Reply {
    std::string text;
    std::vector<std::int64_t> numbers;
    template <typename Self, typename Fields>
    static void fields(Self& self, Fields& field) {
      field("text", self.text);
      field("numbers", self.numbers);
    }
  };
  std::string text;
  std::int64_t number = 0;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("text", self.text);
    field("number", self.number);
  }
};

// A connected pair of channels; the second serves.
struct Pair {
  loop::Loop loop;
  Dispatcher asking, serving;
  ChannelPtr client, server;

  Pair() {
    auto fds = sys::socket_pair();
    client = std::make_shared<Channel>(std::move(fds->first), asking);
    server = std::make_shared<Channel>(std::move(fds->second), serving);
  }
  void start() {
    client->start();
    server->start();
  }
  ~Pair() {
    client->close();
    server->close();
    loop.post([this] { loop.stop(); });
    loop.run();
  }
};

loop::Task<void> ask_many(ChannelPtr channel, int count, int& good) {
  for (int i = 0; i < count; ++i) {
    Ask ask;
    ask.text = std::string(static_cast<std::size_t>(i) * 100, 'q');
    ask.number = i - 50;
    const auto reply = co_await channel->call(ask, loop::Clock::now() + 5s);
    if (reply && reply->text == ask.text && reply->numbers == std::vector<std::int64_t>{i - 50}) {
      ++good;
    }
  }
  loop::Loop::current().stop();
}

}  // namespace

TEST_CASE("requests of any size are answered by their number") {
  Pair pair;
  pair.serving.answer<Ask>([](Ask& ask, const ChannelPtr&) -> Result<Ask::Reply> {
    return Ask::Reply{ask.text, {ask.number}};
  });
  pair.start();
  int good = 0;
  loop::spawn(ask_many(pair.client, 100, good));
  pair.loop.run();
  CHECK(good == 100);
}

TEST_CASE("an error comes back with its kind and text") {
  Pair pair;
  pair.serving.serve<Ask>([](Ask, ChannelPtr) -> loop::Task<Result<Ask::Reply>> {
    co_await loop::sleep_for(1ms);
    co_return fail(Error::Kind::kPermanent, "no");
  });
  pair.start();
  std::optional<Error> error;
  loop::spawn([](ChannelPtr channel, std::optional<Error>& out) -> loop::Task<void> {
    const auto reply = co_await channel->call(Ask{}, loop::Clock::now() + 5s);
    if (!reply) out = reply.error();
    loop::Loop::current().stop();
  }(pair.client, error));
  pair.loop.run();
  REQUIRE(error);
  CHECK(*error == Error{Error::Kind::kPermanent, "no"});
}

TEST_CASE("a service that never answers runs into the deadline; one that goes away is an error") {
  Pair pair;
  const bool goes_away = GENERATE(false, true);
  pair.serving.raw(Ask::kType, [&](const ChannelPtr& channel, Frame&) {
    if (goes_away) channel->close();
  });
  pair.start();
  bool failed = false;
  loop::spawn([](ChannelPtr channel, bool& out) -> loop::Task<void> {
    const auto reply = co_await channel->call(Ask{}, loop::Clock::now() + 20ms);
    out = !reply;
    loop::Loop::current().stop();
  }(pair.client, failed));
  pair.loop.run();
  CHECK(failed);
}

TEST_CASE("descriptors arrive with their frames, more of them than one message carries") {
  Pair pair;
  constexpr int kFrames = 150;
  int right = 0;
  int seen = 0;
  pair.serving.notice_with_fds<Ask>([&](Ask& ask, const ChannelPtr&, std::vector<sys::Fd> fds) {
    // The pipe holds the number that its frame has.
    std::int64_t number = -1;
    if (fds.size() == 1 && ::read(fds[0].get(), &number, sizeof number) == sizeof number &&
        number == ask.number) {
      ++right;
    }
    if (++seen == kFrames) loop::Loop::current().stop();
  });
  pair.start();
  for (std::int64_t i = 0; i < kFrames; ++i) {
    int ends[2];
    REQUIRE(::pipe2(ends, 0) == 0);
    REQUIRE(::write(ends[1], &i, sizeof i) == sizeof i);
    ::close(ends[1]);
    Ask notice;
    notice.number = i;
    std::vector<sys::Fd> fds;
    fds.emplace_back(ends[0]);
    pair.client->notify(notice, std::move(fds));
  }
  pair.loop.run();
  CHECK(right == kFrames);
}

TEST_CASE("a malformed record ends the channel and nothing else") {
  Pair pair;
  pair.serving.answer<Ask>(
      [](Ask&, const ChannelPtr&) -> Result<Ask::Reply> { return Ask::Reply{}; });
  pair.client->start();
  bool closed = false;
  pair.server->start([&](const ChannelPtr&) {
    closed = true;
    loop::Loop::current().stop();
  });
  pair.client->send(FrameKind::kRequest, Ask::kType, 1, "\x01\xff\xff");
  pair.loop.run();
  CHECK(closed);
}

TEST_CASE("messages survive the way there and back, and unknown fields are skipped") {
  tables::Lookup lookup;
  lookup.tables = {"hash:/a", "inline:{ x=y }"};
  lookup.keys = {{"a@b", false}, {"@b", true}};
  const std::string bytes = encode(lookup);
  const auto copy = decode<tables::Lookup>(bytes);
  REQUIRE(copy);
  CHECK(copy->tables == lookup.tables);
  REQUIRE(copy->keys.size() == 2);
  CHECK(copy->keys[1].text == "@b");
  CHECK(copy->keys[1].is_partial);
  // A field that a newer process has added at the end.
  const auto newer = decode<tables::Lookup>(bytes + "\x21\x03xyz");
  CHECK(newer.has_value());
  for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
    INFO("cut at " << cut);
    const auto part = decode<tables::Lookup>(std::string_view(bytes).substr(0, cut));
    if (part) CHECK(encode(*part).size() < bytes.size());
  }
}

TEST_CASE("a client connects again when its service was restarted, and repeats what it may") {
  loop::Loop loop;
  const std::string path = "/tmp/postern-ipc-test." + std::to_string(::getpid());
  const auto listen = [&] { return *sys::listen_unix(path, 0600, 10); };
  auto first = std::make_unique<Server>(listen());
  int asked = 0;
  // The first incarnation dies with the question in its hands.
  first->dispatcher().raw(Ask::kType, [&](const ChannelPtr& channel, Frame&) {
    ++asked;
    channel->close();
  });
  first->start();
  std::unique_ptr<Server> second;
  Client client(path);
  bool answered = false;
  loop::spawn([](Client& to, bool& out) -> loop::Task<void> {
    const auto reply = co_await to.call(Ask{}, loop::Clock::now() + 5s);
    out = reply.has_value();
    loop::Loop::current().stop();
  }(client, answered));
  loop::CallbackTimer restart([&] {
    first.reset();
    second = std::make_unique<Server>(listen());
    second->dispatcher().answer<Ask>(
        [](Ask&, const ChannelPtr&) -> Result<Ask::Reply> { return Ask::Reply{}; });
    second->start();
  });
  restart.arm(loop::Clock::now() + 50ms);
  loop.run();
  CHECK(asked >= 1);
  CHECK(answered);
  ::unlink(path.c_str());
}

namespace {

// A question that must not be put twice.
struct Order {
  static constexpr std::uint16_t kType = 0x7002;
  using Reply = Ask::Reply;
  template <typename Self, typename Fields>
  static void fields(Self& /*self*/, Fields& /*field*/) {}
};

struct Farewell {
  static constexpr std::uint16_t kType = 0x7009;
  std::int64_t number = 0;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("number", self.number);
  }
};

struct Succession {
  std::vector<std::string> replies;
  int failures = 0;
};

loop::Task<void> order_many(Client& to, int count, Succession& out) {
  for (int i = 0; i < count; ++i) {
    const auto reply = co_await to.call(Order{}, loop::Clock::now() + 5s);
    if (reply) {
      out.replies.push_back(reply->text);
    } else {
      ++out.failures;
    }
  }
  loop::Loop::current().stop();
}

}  // namespace

TEST_CASE("a service that leaves answers what it was asked, and its successor the rest") {
  loop::Loop loop;
  const std::string path = "/tmp/postern-ipc-leave." + std::to_string(::getpid());
  auto listener = *sys::listen_unix(path, 0600, 10);
  Server first(*sys::duplicate(listener.get()));
  Server second(std::move(listener));
  const auto serve = [](Server& server, std::string name) {
    server.dispatcher().serve<Order>([name](Order, ChannelPtr) -> loop::Task<Result<Ask::Reply>> {
      co_await loop::sleep_for(2ms);
      co_return Ask::Reply{name, {}};
    });
  };
  serve(first, "first");
  serve(second, "second");
  first.start();
  Client client(path);
  Succession seen;
  loop::spawn(order_many(client, 20, seen));
  // One question follows the other: with an answer of the second, nothing waits at the first.
  loop::CallbackTimer end([&] {
    if (seen.replies.back() != "second") return end.arm(loop::Clock::now() + 5ms);
    for (const auto& channel : std::unordered_set<ChannelPtr>(first.channels())) channel->close();
  });
  loop::CallbackTimer leave([&] {
    if (seen.replies.empty()) return leave.arm(loop::Clock::now() + 5ms);
    first.leave();
    second.start();
    end.arm(loop::Clock::now() + 5ms);
  });
  leave.arm(loop::Clock::now() + 15ms);
  loop.run();
  CHECK(seen.failures == 0);
  REQUIRE(seen.replies.size() == 20);
  CHECK(seen.replies.front() == "first");
  CHECK(seen.replies.back() == "second");
  ::unlink(path.c_str());
}

TEST_CASE("what the other side said before it went is heard, though nothing can be told to it") {
  loop::Loop loop;
  auto fds = sys::socket_pair();
  Dispatcher here;
  std::vector<std::int64_t> heard;
  here.notice<Farewell>(
      [&](Farewell& notice, const ChannelPtr&) { heard.push_back(notice.number); });
  const Dispatcher there;
  const int peer = fds->second.get();
  const auto gone = std::make_shared<Channel>(std::move(fds->second), there);
  const auto channel = std::make_shared<Channel>(std::move(fds->first), here);
  bool is_closed = false;
  gone->start();
  channel->start([&](const ChannelPtr&) {
    is_closed = true;
    loop.stop();
  });
  gone->notify(Farewell{1});
  gone->notify(Farewell{2});
  gone->flush_now();
  ::shutdown(peer, SHUT_RDWR);
  // Before it is read.
  channel->notify(Farewell{3});
  channel->flush_now();
  channel->notify(Farewell{4});
  loop::CallbackTimer timeout([&] { loop.stop(); });
  timeout.arm(loop::Clock::now() + 10s);
  loop.run();
  CHECK(heard == std::vector<std::int64_t>{1, 2});
  CHECK(is_closed);
  CHECK_FALSE(channel->is_open());
}

TEST_CASE("a service for several users and a group refuses others") {
  loop::Loop loop;
  const std::string path = "/tmp/postern-ipc-peers." + std::to_string(::getpid());
  const bool is_root = ::geteuid() == 0;
  struct Case {
    Peers peers;
    bool is_in;
  };
  const uid_t own = ::geteuid();
  const gid_t own_group = ::getegid();
  const auto c = GENERATE_COPY(values<Case>({
      {{}, true},
      {{.users = {own + 1, own}}, true},
      {{.users = {own + 1}, .group = own_group}, true},
      {{.refused = {own + 1}}, true},
      {{.users = {own + 1, own + 2}}, false},
      {{.users = {own + 1}, .group = own_group + 1}, false},
      {{.refused = {own + 1, own}}, false},
      {{.users = {own + 1}, .refused = {own + 2}}, false},
  }));
  Server server(*sys::listen_unix(path, 0600, 10));
  server.only_for(c.peers);
  server.dispatcher().answer<Order>(
      [](Order&, const ChannelPtr&) -> Result<Ask::Reply> { return Ask::Reply{"x", {}}; });
  server.start();
  Client client(path);
  Succession seen;
  loop::spawn(order_many(client, 2, seen));
  loop.run();
  // Root is let in wherever it knocks.
  CHECK(seen.failures == (c.is_in || is_root ? 0 : 2));
  ::unlink(path.c_str());
}

}  // namespace postern::ipc
