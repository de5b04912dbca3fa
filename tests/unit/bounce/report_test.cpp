#include "bounce/report.h"

#include <stdlib.h>
#include <time.h>
#include <catch2/catch.hpp>

#include "common/queuefile/envelope.h"

namespace postern::bounce {

namespace {

Report example() {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  Report report;
  report.mail_name = "Postfix";
  report.myhostname = "mx.parity.test";
  report.to = "sender@ext.test";
  report.queue_id = "3A15CA8E012";
  report.sender = "sender@ext.test";
  report.arrival = WallTime(std::chrono::seconds(1795367255));
  report.now = WallTime(std::chrono::seconds(1795367260));
  report.words = built_in_templates().failure;
  report.words.text = "Words.\n";
  report.recipients = {
      {.address = "bad@ext.test",
       .dsn_orcpt = "rfc822;bad@ext.test",
       .action = "failed",
       .status = "5.1.1",
       .text = "host mx.ext.test[198.51.100.25] said: 550 5.1.1 no such user (in reply to RCPT TO "
               "command)",
       .remote_mta = "dns; mx.ext.test",
       .diagnostic_type = "smtp",
       .diagnostic = "550 5.1.1 no such user"}};
  report.header = "Subject: to be returned\n";
  report.body = "line 1\nline 2\n";
  return report;
}

bool has(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++n;
  return n;
}

}  // namespace

TEST_CASE("a failure report, line by line") {
  const std::string expected = R"(Date: Sun, 22 Nov 2026 17:07:40 +0000 (UTC)
From: Mail Delivery System <MAILER-DAEMON>
Subject: Undelivered Mail Returned to Sender
To: sender@ext.test
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="3A15CA8E012.1795367260/mx.parity.test"
Content-Transfer-Encoding: 8bit

This is a MIME-encapsulated message.

--3A15CA8E012.1795367260/mx.parity.test
Content-Description: Notification
Content-Type: text/plain; charset=utf-8

Words.

<bad@ext.test>: host mx.ext.test[198.51.100.25] said: 550 5.1.1 no such user
    (in reply to RCPT TO command)

--3A15CA8E012.1795367260/mx.parity.test
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.parity.test
X-Postfix-Queue-ID: 3A15CA8E012
X-Postfix-Sender: rfc822; sender@ext.test
Arrival-Date: Sun, 22 Nov 2026 17:07:35 +0000 (UTC)

Final-Recipient: rfc822; bad@ext.test
Original-Recipient: rfc822;bad@ext.test
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.ext.test
Diagnostic-Code: smtp; 550 5.1.1 no such user

--3A15CA8E012.1795367260/mx.parity.test
Content-Description: Undelivered Message
Content-Type: message/rfc822
Content-Transfer-Encoding: 8bit

Return-Path: <sender@ext.test>
Subject: to be returned

line 1
line 2

--3A15CA8E012.1795367260/mx.parity.test--
)";
  CHECK(compose_report(example()) == expected);
}

TEST_CASE("a delay report names the time until which delivery is tried") {
  Report report = example();
  report.kind = NoticeKind::kDelay;
  report.words = built_in_templates().delay;
  report.returned = Returned::kHeaders;
  report.retry_until = report.arrival + std::chrono::days(5);
  const std::string text = compose_report(report);
  CHECK(has(text, "Subject: Delayed Mail (still being retried)\n"));
  CHECK(has(text, "Will-Retry-Until: Fri, 27 Nov 2026 17:07:35 +0000 (UTC)\n"));
  CHECK(has(text,
            "Content-Description: Delayed Message Headers\nContent-Type: text/rfc822-headers\n"));
  CHECK_FALSE(has(text, "line 1"));
}

TEST_CASE("the postmaster's copy of a bounce without sender") {
  Report report = example();
  report.audience = Audience::kPostmaster;
  report.sender.clear();
  const std::string text = compose_report(report);
  CHECK(has(text, "Subject: Postmaster Copy: Undelivered Mail\n"));
  CHECK(has(text, "Auto-Submitted: auto-generated\n"));
  CHECK(has(text, "X-Postfix-Sender: rfc822; MAILER-DAEMON@mx.parity.test\n"));
  CHECK(has(text, "Return-Path: <MAILER-DAEMON@mx.parity.test>\n"));
}

TEST_CASE("envelope id, original addresses and our own diagnostics") {
  Report report = example();
  report.dsn_envid = "env-id+1";
  report.recipients = {{.address = "bob@x.test",
                        .orig_to = "team@x.test",
                        .action = "delivered",
                        .status = "2.0.0",
                        .text = "delivered to mailbox"}};
  const std::string text = compose_report(report);
  CHECK(has(text, "Reporting-MTA: dns; mx.parity.test\nOriginal-Envelope-Id: env-id+1\n"));
  CHECK(has(text, "<bob@x.test> (expanded from <team@x.test>): delivered to mailbox\n"));
  CHECK(has(text, "X-Postfix-Original-Recipient: rfc822; team@x.test\n"));
  CHECK(has(text, "Diagnostic-Code: X-Postfix; delivered to mailbox\n"));
  CHECK_FALSE(has(text, "Remote-MTA"));
}

TEST_CASE("what another host said cannot add fields or parts") {
  Report report = example();
  const std::string boundary = "--3A15CA8E012.1795367260/mx.parity.test";
  const std::string evil =
      "550\r\nStatus: 2.0.0\n\n" + boundary + "\nContent-Type: text/html\x1b[2J\xff";
  report.recipients[0].text = evil;
  report.recipients[0].diagnostic = evil;
  report.recipients[0].remote_mta = "dns; x\nAction: delivered";
  report.recipients[0].address = "bad\n@ext.test";
  report.recipients[0].status = "5.1.1\nX: y";
  report.sender = "a\nX: y@b";
  report.to = "a\nBcc: all@b";
  report.dsn_envid = "x\nX: y";
  const std::string text = compose_report(report);
  CHECK(count(text, "\nStatus: ") == 1);
  CHECK(count(text, "\nAction: ") == 1);
  CHECK(count(text, "\n" + boundary) == 4);
  CHECK_FALSE(has(text, "\nX: y"));
  CHECK_FALSE(has(text, "\nBcc:"));
  CHECK(text.find('\x1b') == text.npos);
  CHECK(text.find('\xff') == text.npos);
}

TEST_CASE("internationalised reports have the types of RFC 6533") {
  Report report = example();
  report.is_utf8 = true;
  report.recipients[0].address = "bäd@ext.test";
  const std::string text = compose_report(report);
  CHECK(has(text, "report-type=delivery-status;"));
  CHECK(has(text, "Content-Type: message/global-delivery-status\n"));
  CHECK(has(text, "Content-Type: message/global\n"));
  CHECK(has(text, "Final-Recipient: utf-8; bäd@ext.test\n"));
  CHECK(has(text, "X-Postfix-Sender: rfc822; sender@ext.test\n"));
}

TEST_CASE("lines are wrapped at blanks, and long words are cut") {
  std::string out;
  append_wrapped(out, std::string(70, 'a') + "  " + std::string(8, 'b') + " c");
  CHECK(out == std::string(70, 'a') + " " + std::string(8, 'b') + "\n    c\n");
  out.clear();
  append_wrapped(out, std::string(2000, 'x'));
  for (std::size_t at = 0; at < out.size();) {
    const std::size_t end = out.find('\n', at);
    CHECK(end - at < 998);
    at = end + 1;
  }
  CHECK(count(out, "x") == 2000);
}

TEST_CASE("who wants to know what") {
  using namespace queuefile;
  struct Case {
    std::uint8_t notify;
    bool failure, delay, success;
  };
  const auto c = GENERATE(values<Case>({
      {0, true, true, false},
      {kNotifyNever, false, false, false},
      {kNotifyFailure, true, false, false},
      {kNotifyDelay, false, true, false},
      {kNotifySuccess, false, false, true},
      {kNotifySuccess | kNotifyFailure | kNotifyDelay, true, true, true},
  }));
  CHECK(is_wanted(NoticeKind::kFailure, c.notify) == c.failure);
  CHECK(is_wanted(NoticeKind::kDelay, c.notify) == c.delay);
  CHECK(is_wanted(NoticeKind::kSuccess, c.notify) == c.success);
}

TEST_CASE("only a failure within the limit returns the whole message") {
  CHECK(what_to_return(NoticeKind::kFailure, false, 50'000, 50'000) == Returned::kFull);
  CHECK(what_to_return(NoticeKind::kFailure, false, 50'001, 50'000) == Returned::kHeaders);
  CHECK(what_to_return(NoticeKind::kFailure, false, 50'001, 0) == Returned::kFull);
  CHECK(what_to_return(NoticeKind::kFailure, true, 1, 50'000) == Returned::kHeaders);
  CHECK(what_to_return(NoticeKind::kSuccess, false, 1, 50'000) == Returned::kHeaders);
  CHECK(what_to_return(NoticeKind::kDelay, false, 1, 50'000) == Returned::kHeaders);
}

}  // namespace postern::bounce
