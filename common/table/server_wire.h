// server_wire.h - what is said to the servers behind tcp: and socketmap: tables, and what they
// answer. Pure.
//
//     tcp:host:port                  "get KEY\n", "200 VALUE\n", "500 TEXT\n", "400 TEXT\n"; bytes
//                                    that are no printable ASCII, and %, as %XX: tcp_table(5)
//     socketmap:inet:host:port:map   netstrings "MAP KEY", "OK VALUE", "NOTFOUND ", "TEMP TEXT",
//     socketmap:unix:path:map        "TIMEOUT TEXT", "PERM TEXT": socketmap_table(5)
//
// Whatever a server says that is none of these is an error, temporary like each of theirs: mail
// waits until somebody has mended it.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "common/table/table.h"

namespace postern::table {

// Where a table is, taken from its name.
struct ServerAddress {
  enum class Protocol : unsigned char { kTcp, kSocketmap };
  Protocol protocol = Protocol::kTcp;
  std::string endpoint{};  // "inet:host:port", "unix:path"
  std::string map{};       // kSocketmap: the name there

  friend bool operator==(const ServerAddress&, const ServerAddress&) = default;
};

// Whether the name, without "proxy:", is one of the two types.
[[nodiscard]] bool is_server_table(std::string_view type_and_name);
// Of a name as above; kConfig error otherwise.
[[nodiscard]] Result<ServerAddress> parse_server_table(std::string_view type_and_name);

struct ServerLimits {
  std::size_t max_query = 10'000;   // socketmap_max_query_size
  std::size_t max_reply = 100'000;  // socketmap_max_reply_size
};
// tcp_table(5): a line, with its end.
inline constexpr std::size_t kMaxTcpLine = 4096;

// The request for a key; temporary error for one that is too long for the protocol.
[[nodiscard]] Result<std::string> encode_request(const ServerAddress& server, std::string_view key,
                                                 const ServerLimits& limits);

struct ServerReply {
  enum class State : unsigned char {
    kMore,  // wait for more bytes
    kDone,  // `found` is the answer; `consumed` bytes of the input are used up
    kBad,   // no answer at all: the connection is of no use any more; `found` has the error
  };
  State state = State::kMore;
  std::size_t consumed = 0;
  Found found = std::nullopt;
};
[[nodiscard]] ServerReply parse_server_reply(const ServerAddress& server, std::string_view input,
                                             const ServerLimits& limits);

}  // namespace postern::table
