#include <catch2/catch.hpp>

#include "common/smtpwire/chunk.h"
#include "common/smtpwire/dot.h"
#include "common/smtpwire/line.h"

namespace postern::smtpwire {

namespace {

struct Decoded {
  std::string text;
  std::string rest;
  bool done = false;
  bool bare_lf = false;
  bool bare_cr = false;
};

// Feeds pieces of `step` bytes.
Decoded decode(std::string_view wire, const DecodeRules& rules, std::size_t step) {
  DotDecoder decoder(rules);
  Decoded out;
  std::size_t at = 0;
  while (at < wire.size() && !decoder.done()) {
    at += decoder.decode(wire.substr(at, step), out.text);
  }
  out.rest = wire.substr(at);
  out.done = decoder.done();
  out.bare_lf = decoder.seen_bare_lf();
  out.bare_cr = decoder.seen_bare_cr();
  return out;
}

std::string encode(std::string_view text, std::size_t limit, std::size_t room) {
  DotEncoder encoder(limit);
  std::string out;
  std::vector<char> buffer(room);
  while (!text.empty()) {
    const std::size_t written = encoder.encode(text, buffer);
    REQUIRE(written > 0);
    out.append(buffer.data(), written);
  }
  out.append(buffer.data(), encoder.finish(buffer));
  return out;
}

}  // namespace

TEST_CASE("line ends are counted, those of the end of the data not with them") {
  DotDecoder data({});
  std::string text;
  for (const std::string_view piece : {"A: b\r", "\n\r\n..x\r\n.", "\r\nmore"}) {
    (void)data.decode(piece, text);
  }
  CHECK(data.done());
  CHECK(text == "A: b\n\n.x\n");
  CHECK(data.lines() == 3);
  ChunkDecoder chunks({});
  text.clear();
  chunks.decode("a\r\nb\nc", text);
  CHECK(chunks.lines() == 2);
}

TEST_CASE("DATA is decoded the same however it is cut") {
  struct Case {
    BareLf bare_lf;
    BareCr bare_cr;
    std::string_view wire;
    Decoded expected;
  };
  const auto c = GENERATE(values<Case>({
      {BareLf::kNormalize,
       BareCr::kSpace,
       "A: b\r\n\r\n..x\r\n.y\r\n.\r\nQUIT",
       {"A: b\n\n.x\ny\n", "QUIT", true}},
      {BareLf::kNormalize, BareCr::kSpace, ".\r\n", {"", "", true}},
      {BareLf::kNormalize, BareCr::kSpace, "x\n.\nMAIL\r\n.\r\nZ", {"x\nMAIL\n", "Z", true, true}},
      {BareLf::kNormalize, BareCr::kSpace, "x\n.\r\ny\r\n.\r\n", {"x\ny\n", "", true, true}},
      {BareLf::kNormalize, BareCr::kSpace, "x\r\n.\ny\r\n.\r\n", {"x\ny\n", "", true, true}},
      {BareLf::kReject, BareCr::kSpace, "x\n.\nMAIL\r\n.\r\n", {"x\nMAIL\n", "", true, true}},
      {BareLf::kAllow, BareCr::kSpace, "x\n.\nMAIL", {"x\n", "MAIL", true, true}},
      {BareLf::kAllow, BareCr::kSpace, "x\r\n.\nMAIL", {"x\n", "MAIL", true, true}},
      {BareLf::kAllow, BareCr::kSpace, "x\n\r\n.\r\n", {"x\n\n", "", true, true}},
      {BareLf::kNormalize,
       BareCr::kSpace,
       "x\r\n.\r\r\ny\r\n.\r\n",
       {"x\n\ny\n", "", true, false, true}},
      {BareLf::kNormalize, BareCr::kSpace, "x\r.\r\n.\r\n", {"x .\n", "", true, false, true}},
      {BareLf::kNormalize,
       BareCr::kSpace,
       "x\r\n.\ry\r\n.\r\n",
       {"x\n y\n", "", true, false, true}},
      {BareLf::kNormalize, BareCr::kSpace, "a\rb\r\r\n.\r\n", {"a b\n", "", true, false, true}},
      {BareLf::kNormalize, BareCr::kKeep, "a\rb\r\r\n.\r\n", {"a\rb\n", "", true, false, true}},
      {BareLf::kNormalize, BareCr::kSpace, "\rx\r\n.\r\n", {" x\n", "", true, false, true}},
      {BareLf::kNormalize, BareCr::kSpace, "no end\r\n.", {"no end\n", "", false}},
      {BareLf::kNormalize, BareCr::kSpace, "x\r\n...\r\n. \r\n.\r\n", {"x\n..\n \n", "", true}},
  }));
  const auto step = GENERATE(std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{1000});
  INFO(c.wire << " by " << step);
  const Decoded got = decode(c.wire, {c.bare_lf, c.bare_cr}, step);
  CHECK(got.text == c.expected.text);
  CHECK(got.rest == c.expected.rest);
  CHECK(got.done == c.expected.done);
  CHECK(got.bare_lf == c.expected.bare_lf);
  CHECK(got.bare_cr == c.expected.bare_cr);
}

TEST_CASE("a long line is kept whole, a NUL is noticed") {
  const std::string line(5000, 'y');
  CHECK(decode(line + "\r\n.\r\n", {}, 100).text == line + "\n");
  DotDecoder decoder({});
  std::string out;
  decoder.decode(std::string_view("a\0b\r\n", 5), out);
  CHECK(decoder.seen_nul());
}

TEST_CASE("BDAT lines may be cut anywhere, dots mean nothing") {
  ChunkDecoder decoder({});
  std::string out;
  for (const auto chunk : {"Subject: chunked\r\n\r", "\none\r\n.\r\ntw", "o\r\n"}) {
    decoder.decode(chunk, out);
  }
  decoder.finish(out);
  CHECK(out == "Subject: chunked\n\none\n.\ntwo\n");
  out.clear();
  ChunkDecoder open({});
  open.decode("no end\r", out);
  open.finish(out);
  CHECK(out == "no end\n");
}

TEST_CASE("content is encoded the same whatever the room") {
  const std::string longest(998, 'a');
  struct Case {
    std::string text, wire;
  };
  const auto c = GENERATE_COPY(values<Case>({
      {"", ".\r\n"},
      {"a\n", "a\r\n.\r\n"},
      {"a", "a\r\n.\r\n"},
      {".\n..\n.x", "..\r\n...\r\n..x\r\n.\r\n"},
      {"\n\n", "\r\n\r\n.\r\n"},
      {"a\r\nb\rc\n", "a \r\nb c\r\n.\r\n"},
      {longest + "\n", longest + "\r\n.\r\n"},
      {longest, longest + "\r\n.\r\n"},
      {longest + "89X\n", longest + "\r\n 89X\r\n.\r\n"},
      {"." + longest,
       "."
       "." +
           longest.substr(1) + "\r\n a\r\n.\r\n"},
      {longest + ".x\n", longest + "\r\n .x\r\n.\r\n"},
      {longest + longest + "\n", longest + "\r\n " + longest.substr(1) + "\r\n a\r\n.\r\n"},
  }));
  const auto room = GENERATE(std::size_t{8}, std::size_t{9}, std::size_t{100}, std::size_t{5000});
  INFO(c.text << " in " << room);
  CHECK(encode(c.text, 998, room) == c.wire);
}

TEST_CASE("what the encoder writes the decoder reads back") {
  const std::string text = ".\n..a\n\nb\n.\n" + std::string(3000, 'z') + "\n";
  CHECK(decode(encode(text, 0, 64), {}, 7).text == text);
}

TEST_CASE("lines come out whole, within the limit, with what is wrong about them") {
  LineSplitter splitter(10);
  CHECK(splitter.next("EHLO").state == Line::State::kMore);
  Line line = splitter.next("EHLO x\r\nMAIL");
  CHECK(line.text == "EHLO x");
  CHECK(line.consumed == 8);
  CHECK_FALSE(line.bare_lf);
  line = splitter.next("RSET\n");
  CHECK(line.bare_lf);
  line = splitter.next(std::string_view("a\rb\0\r\n", 6));
  CHECK(line.bare_cr);
  CHECK(line.nul);
  CHECK(splitter.next("0123456789\r\n").state == Line::State::kLine);
  line = splitter.next("0123456789A\r\n");
  CHECK(line.state == Line::State::kTooLong);
  CHECK(line.consumed == 13);
  CHECK(line.text == "0123456789");
}

TEST_CASE("an endless line is reported once and costs no memory") {
  LineSplitter splitter(10);
  Line line = splitter.next(std::string(12, 'x'));
  CHECK(line.state == Line::State::kTooLong);
  CHECK(line.consumed == 12);
  line = splitter.next(std::string(100000, 'x'));
  CHECK(line.state == Line::State::kMore);
  CHECK(line.consumed == 100000);
  line = splitter.next("end\r\nNOOP\r\n");
  CHECK(line.state == Line::State::kLine);
  CHECK(line.text == "NOOP");
  CHECK(line.consumed == 11);
}

TEST_CASE(
    "another limit counts for the lines that come, not for the rest of one that was too long") {
  LineSplitter splitter(10);
  splitter.set_limit(20);
  CHECK(splitter.next("0123456789ABCDEFGHIJ\r\n").state == Line::State::kLine);
  CHECK(splitter.next(std::string(30, 'x')).state == Line::State::kTooLong);
  splitter.set_limit(10);
  Line line = splitter.next("end\r\nNOOP\r\n");
  CHECK(line.state == Line::State::kLine);
  CHECK(line.text == "NOOP");
  CHECK(splitter.next("0123456789A\r\n").state == Line::State::kTooLong);
}

}  // namespace postern::smtpwire
