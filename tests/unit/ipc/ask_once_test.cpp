#include "common/ipc/ask_once.h"

#include <sys/socket.h>

#include <catch2/catch.hpp>

#include "common/ipc/flush.h"

namespace postern::ipc {

using namespace std::chrono_literals;

namespace {

std::pair<sys::Fd, sys::Fd> socket_pair() {
  int fds[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
  return {sys::Fd(fds[0]), sys::Fd(fds[1])};
}

// The seconds that asking takes; it fails.
std::chrono::duration<double> time_of_failure(sys::Fd service, std::chrono::seconds limit) {
  const auto before = std::chrono::steady_clock::now();
  const Dispatcher dispatcher;
  const auto answer =
      ask_once(std::move(service), flush::SendSite{.site = "x.test"}, dispatcher, limit);
  CHECK_FALSE(answer.has_value());
  return std::chrono::steady_clock::now() - before;
}

}  // namespace

TEST_CASE("a service that has gone is told at once, one that is silent at the limit") {
  auto [ours, theirs] = socket_pair();
  theirs = sys::Fd();
  CHECK(time_of_failure(std::move(ours), 60s) < 10s);

  auto [asking, silent] = socket_pair();
  CHECK(time_of_failure(std::move(asking), 1s) < 10s);
}

TEST_CASE("a socket that cannot be written to is no reason to wait") {
  auto [ours, theirs] = socket_pair();
  REQUIRE(::shutdown(ours.get(), SHUT_RDWR) == 0);
  CHECK(time_of_failure(std::move(ours), 60s) < 10s);
}

}  // namespace postern::ipc
