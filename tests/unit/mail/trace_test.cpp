#include <catch2/catch.hpp>
#include <cstdlib>
#include <ctime>

#include "common/mail/date.h"
#include "common/mail/message_id.h"
#include "common/mail/received.h"
#include "common/mail/reply.h"
#include "common/mail/status.h"

namespace postern::mail {

namespace {

void set_zone(const char* zone) {
  ::setenv("TZ", zone, 1);
  ::tzset();
}

const WallTime kWhen =
    std::chrono::system_clock::from_time_t(1793552855);  // 2026-11-01 17:07:35 UTC

}  // namespace

TEST_CASE("dates have the zone as number and name") {
  set_zone("UTC");
  CHECK(format_date(kWhen) == "Sun,  1 Nov 2026 17:07:35 +0000 (UTC)");
  CHECK(format_ctime(kWhen) == "Sun Nov  1 17:07:35 2026");
  CHECK(format_listing_date(kWhen) == "Sun Nov  1 17:07:35");
  CHECK(format_stamp(kWhen) == "20261101170735");
  set_zone("XST+3:30");
  CHECK(format_date(kWhen) == "Sun,  1 Nov 2026 13:37:35 -0330 (XST)");
  set_zone("UTC");
}

TEST_CASE("a message id is made of time, queue id and host, and found in a field") {
  CHECK(make_message_id(kWhen, "3A15CA8E012", "mx.parity.test") ==
        "<20261101170735.3A15CA8E012@mx.parity.test>");
  CHECK(find_message_id(" (c) <1@x> y\n") == "<1@x>");
  CHECK(find_message_id("no\n brackets ") == "no brackets");
  CHECK(find_message_id("").empty());
}

TEST_CASE("Received fields have Postfix's lines") {
  set_zone("UTC");
  ReceivedTrace trace;
  trace.helo = "client.ext.test";
  trace.client_name = "client.ext.test";
  trace.client_address = "203.0.113.10";
  trace.myhostname = "mx.parity.test";
  trace.mail_name = "Postfix";
  trace.protocol = "ESMTP";
  trace.queue_id = "3A15CA8E012";
  trace.recipient = "odd name@parity.test";
  trace.arrival = kWhen;
  CHECK(format_received(trace) ==
        "Received: from client.ext.test (client.ext.test [203.0.113.10])\n"
        "\tby mx.parity.test (Postfix) with ESMTP id 3A15CA8E012\n"
        "\tfor <\"odd name\"@parity.test>; Sun,  1 Nov 2026 17:07:35 +0000 (UTC)");
  trace.recipient.clear();
  trace.helo = "evil\n(x";
  trace.tls = {"using TLSv1.3 with cipher X (256/256 bits)", "key-exchange X25519"};
  trace.sasl_username = "alice";
  CHECK(format_received(trace) ==
        "Received: from evil?(x (client.ext.test [203.0.113.10])\n"
        "\t(using TLSv1.3 with cipher X (256/256 bits)\n"
        "\t key-exchange X25519)\n"
        "\t(Authenticated sender: alice)\n"
        "\tby mx.parity.test (Postfix) with ESMTP id 3A15CA8E012;\n\t"
        "Sun,  1 Nov 2026 17:07:35 +0000 (UTC)");
  CHECK(format_received_local("h", "Postfix", 1000, "Q", kWhen) ==
        "Received: by h (Postfix, from userid 1000)\n"
        "\tid Q; Sun,  1 Nov 2026 17:07:35 +0000 (UTC)");
}

TEST_CASE("enhanced status codes are read strictly") {
  CHECK(parse_status("5.1.1") == Status{5, 1, 1});
  CHECK(parse_status("4.7.27 x") == Status{4, 7, 27});
  for (const std::string_view bad :
       {"", "5", "5.1", "3.1.1", "5.1.1x", "5..1", "5.1234.1", "5.1.", "x5.1.1"}) {
    INFO(bad);
    CHECK_FALSE(parse_status(bad).has_value());
  }
  CHECK(split_status("5.1.1  no user", {4, 0, 0}).text == "no user");
  CHECK(split_status("no user", {4, 0, 0}).status == Status{4, 0, 0});
  CHECK(status_of_reply(450, "5.1.1 x").status == Status{4, 0, 0});
  CHECK(status_of_reply(550, "5.1.1 x").status == Status{5, 1, 1});
  CHECK(status_of_reply(354, "go").status == Status{5, 0, 0});
}

TEST_CASE("replies go out with their status on each line, and nothing breaks a line") {
  CHECK(make_reply(554, "5.7.1 No\nReally").to_wire() == "554-5.7.1 No\r\n554 5.7.1 Really\r\n");
  CHECK(make_reply(250, "mx").to_wire() == "250 mx\r\n");
  Reply evil = make_reply(550, Status{5, 7, 1}, "a\r\n250 ok");
  CHECK(evil.to_wire() == "550 5.7.1 a??250 ok\r\n");
  CHECK(parse_reply_text("450 4.7.1 later")->to_line() == "450 4.7.1 later");
  for (const std::string_view bad : {"", "45", "4500 x", "999 x", "abc", "450x"}) {
    CHECK_FALSE(parse_reply_text(bad).has_value());
  }
}

}  // namespace postern::mail
