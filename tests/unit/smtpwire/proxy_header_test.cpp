#include "common/smtpwire/proxy_header.h"

#include <catch2/catch.hpp>

namespace postern::smtpwire {

namespace {

using State = ProxyHeader::State;

constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);

std::string binary(char command, char family, const std::string& block) {
  std::string header(kSignature);
  header += command;
  header += family;
  header += static_cast<char>(block.size() >> 8U);
  header += static_cast<char>(block.size() & 0xffU);
  return header + block;
}

const std::string kBlock4("\xc0\x00\x02\x07\xc6\x33\x64\x01\xc8\x22\x00\x19", 12);

}  // namespace

TEST_CASE("a line of version 1 names both ends") {
  const std::string line = "PROXY TCP4 192.0.2.7 198.51.100.1 51234 25\r\n";
  const auto header = parse_proxy_header(line + "EHLO x\r\n");
  REQUIRE(header.state == State::kDone);
  CHECK(header.consumed == line.size());
  CHECK_FALSE(header.is_local);
  CHECK(header.client_address == "192.0.2.7");
  CHECK(header.client_port == 51234);
  CHECK(header.server_address == "198.51.100.1");
  CHECK(header.server_port == 25);
  CHECK(parse_proxy_header("PROXY TCP6 2001:db8::7 2001:db8::1 1 25\r\n").client_address ==
        "2001:db8::7");
  CHECK(parse_proxy_header("PROXY UNKNOWN\r\n").is_local);
  CHECK(parse_proxy_header("PROXY UNKNOWN ff::1 ff::2 1 2\r\n").is_local);
}

TEST_CASE("version 2 names both ends, and its extras are skipped") {
  const auto plain = parse_proxy_header(binary('\x21', '\x11', kBlock4));
  REQUIRE(plain.state == State::kDone);
  CHECK(plain.client_address == "192.0.2.7");
  CHECK(plain.client_port == 51234);
  CHECK(plain.server_address == "198.51.100.1");
  CHECK(plain.server_port == 25);
  const auto header = binary('\x21', '\x11', kBlock4 + std::string("\x03\x00\x04hash", 7));
  const auto with_extras = parse_proxy_header(header + "EHLO");
  REQUIRE(with_extras.state == State::kDone);
  CHECK(with_extras.consumed == header.size());
  const std::string block6 = std::string(15, '\0') + "\x01" + std::string(15, '\0') + "\x02" +
                             std::string("\x00\x10\x00\x19", 4);
  CHECK(parse_proxy_header(binary('\x21', '\x21', block6)).client_address == "::1");
  CHECK(parse_proxy_header(binary('\x20', '\x00', "")).is_local);
}

TEST_CASE("what is cut off waits for more, at every byte") {
  const std::string header = GENERATE(std::string("PROXY TCP4 192.0.2.7 198.51.100.1 51234 25\r\n"),
                                      binary('\x21', '\x11', kBlock4));
  for (std::size_t cut = 0; cut < header.size(); ++cut) {
    INFO("cut at " << cut);
    CHECK(parse_proxy_header(header.substr(0, cut)).state == State::kMore);
  }
}

TEST_CASE("what is no header is refused") {
  const std::string bytes = GENERATE(
      std::string("EHLO x\r\n"), std::string("PROXY TCP4 192.0.2.7 198.51.100.1 51234\r\n"),
      std::string("PROXY TCP4 192.0.2.7 198.51.100.1 51234 25 7\r\n"),
      std::string("PROXY TCP4 2001:db8::1 198.51.100.1 51234 25\r\n"),
      std::string("PROXY TCP6 192.0.2.7 198.51.100.1 51234 25\r\n"),
      std::string("PROXY TCP4 [192.0.2.7] 198.51.100.1 51234 25\r\n"),
      std::string("PROXY TCP4 192.0.2.7 198.51.100.1 65536 25\r\n"),
      std::string("PROXY TCP4 192.0.2.7 198.51.100.1 -1 25\r\n"),
      std::string("PROXY UDP4 192.0.2.7 198.51.100.1 1 25\r\n"),
      std::string("PROXY TCP4 192.0.2.7 198.51.100.1 1 25\n"), "PROXY " + std::string(200, 'x'),
      binary('\x11', '\x11', kBlock4), binary('\x22', '\x11', kBlock4),
      binary('\x21', '\x11', kBlock4.substr(0, 11)),
      binary('\x21', '\x11', std::string(5000, 'x')));
  const auto header = parse_proxy_header(bytes);
  CHECK(header.state == State::kBad);
  CHECK_FALSE(header.fault.empty());
}

}  // namespace postern::smtpwire
