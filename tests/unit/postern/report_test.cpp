#include "postern/report.h"

#include <zlib.h>

#include <catch2/catch.hpp>

#include "common/base/encode.h"

namespace postern::control {

namespace {

constexpr std::string_view kXml = "<?xml version=\"1.0\"?><feedback></feedback>";

// With a header of gzip (window 31) or bare (window -15).
std::string pack(std::string_view text, int window) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string in(text);
  std::string out(in.size() + 1000, '\0');
  stream.next_in = static_cast<Bytef*>(static_cast<void*>(in.data()));
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = static_cast<Bytef*>(static_cast<void*>(out.data()));
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  return out;
}

std::string number(std::size_t value, std::size_t size) {
  std::string out;
  for (std::size_t i = 0; i < size; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

std::string zip(std::string_view text) {
  const std::string data = pack(text, -15);
  const std::string name = "report.xml";
  return "PK\x03\x04" + number(20, 2) + number(0, 2) + number(8, 2) + number(0, 4) + number(0, 4) +
         number(data.size(), 4) + number(text.size(), 4) + number(name.size(), 2) + number(0, 2) +
         name + data + "PK\x01\x02 the directory";
}

}  // namespace

TEST_CASE("a report is found in whatever it came") {
  const std::string packed = pack(kXml, 31);
  const std::string mail =
      "From: a@b\nContent-Type: multipart/mixed; boundary=x\n\npreamble\n--x\nContent-Type: "
      "text/plain\n\nThis is a report.\n--x\nContent-Type: application/gzip\n"
      "Content-Transfer-Encoding: base64\n\n" +
      base64_encode_lines(packed) + "\n--x--\n";
  const std::string only =
      "Content-Type: application/zip\r\nContent-Transfer-Encoding: BASE64\r\n\r\n" +
      base64_encode_lines(zip(kXml), 76, "\r\n") + "\r\n";
  for (const auto& bytes : {std::string(kXml), packed, zip(kXml), mail, only}) {
    const auto texts = unpack_reports(bytes);
    REQUIRE(texts.has_value());
    REQUIRE(texts->size() == 1);
    CHECK(texts->front() == kXml);
  }
}

TEST_CASE("what is cut short, damaged or no report is refused") {
  const std::string packed = pack(kXml, 31);
  const std::string zipped = zip(kXml);
  CHECK_FALSE(unpack_reports("").has_value());
  CHECK_FALSE(unpack_reports("From: a\n\nhello\n").has_value());
  for (std::size_t size = 2; size < packed.size() - 8; ++size) {
    CHECK_FALSE(unpack_reports(packed.substr(0, size)).has_value());
  }
  for (std::size_t size = 4; size < 60; ++size) {
    CHECK_FALSE(unpack_reports(zipped.substr(0, size)).has_value());
  }
}

}  // namespace postern::control
