#include "common/log/log.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>

#include "common/log/clean.h"
#include "common/log/event.h"
#include "common/sys/fd.h"

namespace postern::log {

namespace {

struct Pipe {
  sys::Fd read, write;
  Pipe() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0);
    read.reset(ends[0]);
    write.reset(ends[1]);
  }
  std::string drain() const {
    std::string all;
    std::array<char, 65536> piece;
    for (ssize_t n = 0; (n = ::read(read.get(), piece.data(), piece.size())) > 0;) {
      all.append(piece.data(), static_cast<std::size_t>(n));
    }
    return all;
  }
};

std::string after_tag(const std::string& record) {
  const auto at = record.find("]: ");
  return at == std::string::npos ? record : record.substr(at + 3);
}

}  // namespace

TEST_CASE("bytes from outside become one printable line") {
  CHECK(clean("plain") == "plain");
  CHECK(clean("a\r\nb\x1b[31m") == "a??b?[31m");
  CHECK(clean("gr\xc3\xbc\xc3\x9f") == "gr\xc3\xbc\xc3\x9f");
  CHECK(clean("\xff\xfe") == "??");
  CHECK(clean(std::string(1000, 'x'), 10) == "xxxxxxxxxx");
  CHECK(json_quote("a\"b\\c\n\xff") == R"("a\"b\\c\u000a\ufffd")");
}

TEST_CASE("delays are shown with two digits at most") {
  using std::chrono::microseconds;
  struct Case {
    std::int64_t us;
    std::string text;
  };
  const auto c = GENERATE(values<Case>({{0, "0"},
                                        {4'000, "0"},
                                        {50'000, "0.05"},
                                        {500'000, "0.5"},
                                        {1'230'000, "1.2"},
                                        {9'940'000, "9.9"},
                                        {12'400'000, "12"},
                                        {-5, "0"}}));
  CHECK(delay_text(microseconds(c.us)) == c.text);
}

TEST_CASE("delivery and reject lines have the shape that log readers parse") {
  Pipe pipe;
  open({.program = "smtp", .pipe = pipe.write.get()});
  DeliveryLine line;
  line.queue_id = "3A15CA8E012";
  line.recipient = "u@ext.test";
  line.orig_to = "list";
  line.relay = "mx.ext.test[192.0.2.1]:25";
  line.conn_use = 2;
  line.dsn = "2.0.0";
  line.status = "sent";
  line.text = "250 2.0.0 Ok";
  delivered(line);
  CHECK(after_tag(pipe.drain()) ==
        "3A15CA8E012: to=<u@ext.test>, orig_to=<list>, relay=mx.ext.test[192.0.2.1]:25, "
        "conn_use=2, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok)\n");
  RejectLine reject;
  reject.action = "reject";
  reject.where = "RCPT";
  reject.client = "h[192.0.2.9]";
  reject.text = "554 5.7.1 <a@b>: Relay access denied";
  reject.has_sender = reject.has_recipient = true;
  reject.recipient = "a@b";
  reject.protocol = "ESMTP";
  reject.helo = "h";
  rejected(reject);
  CHECK(after_tag(pipe.drain()) ==
        "NOQUEUE: reject: RCPT from h[192.0.2.9]: 554 5.7.1 <a@b>: Relay access denied; from=<> "
        "to=<a@b> proto=ESMTP helo=<h>\n");
  login_failed({"h[192.0.2.9]", "PLAIN", "(reason unavailable)", "alice", false});
  CHECK(after_tag(pipe.drain()) ==
        "warning: h[192.0.2.9]: SASL PLAIN authentication failed: (reason unavailable), "
        "sasl_username=alice\n");
}

TEST_CASE("a reader that has stopped costs lines, is counted, and never blocks the writer") {
  Pipe pipe;
  open({.program = "test", .pipe = pipe.write.get()});
  const auto before = dropped_lines();
  for (int i = 0; i < 5000; ++i) info("line {} {}", i, std::string(100, 'x'));
  CHECK(dropped_lines() > before);
  const std::string seen = pipe.drain();
  CHECK(seen.find("line 0 ") != std::string::npos);
  info("after");
  const std::string told = pipe.drain();
  CHECK(told.find("log lines were dropped") != std::string::npos);
  CHECK(told.find("after") != std::string::npos);
}

TEST_CASE("the JSON sink gets one object an event, with the queue id") {
  Pipe pipe;
  open({.program = "qmgr", .pipe = pipe.write.get(), .text = false, .json = true, .host = "h"});
  activated("ABC", "a@b", 42, 1);
  const std::string record = pipe.drain();
  REQUIRE(record.starts_with("Ji{\"time\":\""));
  CHECK(record.find(R"("event":"queued","queue_id":"ABC","from":"a@b","size":42,"nrcpt":1)") !=
        std::string::npos);
}

}  // namespace postern::log
