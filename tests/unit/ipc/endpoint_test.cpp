#include <catch2/catch.hpp>

#include "common/ipc/connect.h"

namespace postern::ipc {

TEST_CASE("an endpoint has a host and a port, or a path") {
  const Endpoint inet = split_endpoint("inet:mail.example.org:10023");
  CHECK((!inet.is_unix && inet.host == "mail.example.org" && inet.port == "10023"));
  const Endpoint v6 = split_endpoint("inet:[::1]:25");
  CHECK((!v6.is_unix && v6.host == "::1" && v6.port == "25"));
  const Endpoint path = split_endpoint("unix:private/policy");
  CHECK((path.is_unix && path.path == "private/policy"));
}

}  // namespace postern::ipc
