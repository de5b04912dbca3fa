#include "smtpd/settings.h"

#include <catch2/catch.hpp>

#include "smtpd/escape.h"

namespace postern::smtpd {

TEST_CASE("EHLO keywords are known by name, in any case") {
  std::vector<std::string> unknown;
  const auto bits =
      parse_ehlo_keywords({"pipelining", "Chunking", "silent-discard", "bogus"}, &unknown);
  CHECK(bits == (kEhloPipelining | kEhloChunking | kEhloSilentDiscard));
  CHECK(unknown == std::vector<std::string>{"bogus"});
  CHECK(print_ehlo_keywords(kEhloChunking | kEhloPipelining) == "PIPELINING CHUNKING");
}

TEST_CASE("what a client sent is logged without its control characters") {
  CHECK(escape_text("EHLO x\r\n") == "EHLO x\\r\\n");
  CHECK(escape_text(std::string_view("\0\x1b\xff\\", 4)) == "\\000\\033\\377\\\\");
  CHECK(escape_text(std::string(200, 'a')).size() == 100);
}

}  // namespace postern::smtpd
