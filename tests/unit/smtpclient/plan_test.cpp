#include "common/smtpclient/plan.h"

#include <catch2/catch.hpp>

namespace postern::smtpclient {

namespace {

const Endpoint kHost{"mx.example.org", "192.0.2.1", 25};

smtpwire::ServerReply reply(int code, std::vector<std::string> lines) {
  return {code, std::move(lines)};
}

}  // namespace

TEST_CASE("a reply is quoted with the code on each line") {
  CHECK(quote_reply(reply(550, {"5.1.1 no such user"})) == "550 5.1.1 no such user");
  CHECK(quote_reply(reply(550, {"5.1.1 one", "5.1.1 two"})) == "550-5.1.1 one 550 5.1.1 two");
  CHECK(quote_reply(reply(250, {""})) == "250");
  CHECK(quote_reply(reply(250, {})) == "250");
  CHECK(quote_reply(reply(250, {"a\r\nb"})).find('\n') == std::string::npos);
  CHECK(quote_reply(reply(250, std::vector<std::string>(128, std::string(2048, 'x')))).size() <=
        4096);
}

TEST_CASE("what a server says decides by its class") {
  struct Case {
    int code;
    std::string_view text, status;
  };
  const auto c = GENERATE(values<Case>({
      {550, "5.1.1 no", "5.1.1"},
      {550, "no code", "5.0.0"},
      {450, "4.2.0 later", "4.2.0"},
      {450, "5.1.1 confused", "4.0.0"},
      {250, "2.0.0 to DATA", "4.5.0"},
      {354, "to the final dot", "4.5.0"},
  }));
  CHECK(said(kHost, reply(c.code, {std::string(c.text)}), Step::kData).status == c.status);
}

TEST_CASE("failures are worded as log readers know them") {
  CHECK(said(kHost, reply(450, {"4.2.0 grey"}), Step::kRcpt).text ==
        "host mx.example.org[192.0.2.1] said: 450 4.2.0 grey (in reply to RCPT TO command)");
  CHECK(connect_failed(kHost, "Connection refused").text ==
        "connect to mx.example.org[192.0.2.1]:25: Connection refused");
  CHECK(stream_failed(kHost, loop::Io::kEof, Step::kGreeting).text ==
        "lost connection with mx.example.org[192.0.2.1] while receiving the initial server "
        "greeting");
  CHECK(stream_failed(kHost, loop::Io::kTimeout, Step::kMail).text ==
        "conversation with mx.example.org[192.0.2.1] timed out while sending MAIL FROM");
  const Verdict soft = refused_to_talk(kHost, reply(554, {"5.3.2 closed"}), true);
  CHECK(soft.text == "host mx.example.org[192.0.2.1] refused to talk to me: 554 5.3.2 closed");
  CHECK(soft.status == "4.3.2");
  CHECK(soft.remote_mta == "dns; mx.example.org");
  CHECK(soft.diagnostic == "554 5.3.2 closed");
  CHECK(refused_to_talk(kHost, reply(554, {"5.7.1 no"}), false).status == "5.7.1");
  CHECK(Endpoint{"mx.example.org", "/run/lmtp", 0}.relay() == "mx.example.org[/run/lmtp]");
}

TEST_CASE("552 5.5.3 to RCPT means too many recipients for now") {
  auto full = reply(552, {"5.5.3 too many"});
  correct_rcpt_reply(full);
  CHECK(said(kHost, full, Step::kRcpt).status == "4.5.3");
  auto over_quota = reply(552, {"5.2.2 full"});
  correct_rcpt_reply(over_quota);
  CHECK(said(kHost, over_quota, Step::kRcpt).status == "5.2.2");
  auto other = reply(550, {"5.1.1 no"});
  correct_rcpt_reply(other);
  CHECK(other.code == 550);
}

TEST_CASE("parameters are given only where they are offered") {
  queuefile::Envelope envelope;
  envelope.encoding = queuefile::ContentEncoding::k8bit;
  envelope.dsn_envid = "abc+3D";
  envelope.dsn_ret = queuefile::DsnReturn::kHeaders;
  envelope.smtputf8 = queuefile::kUtf8Requested;
  const Recipient to{"a b@example.org", "x@example.org", "rfc822;o=rig@example.org",
                     queuefile::kNotifyFailure | queuefile::kNotifyDelay};
  smtpwire::Features features;
  CHECK(mail_command("s@x", envelope, 77, features, true) == "MAIL FROM:<s@x>");
  CHECK(rcpt_command(to, features, true) == "RCPT TO:<\"a b\"@example.org>");
  features.size = features.eight_bit_mime = features.dsn = features.smtputf8 = true;
  CHECK(mail_command("", envelope, 77, features, true) ==
        "MAIL FROM:<> SIZE=77 BODY=8BITMIME SMTPUTF8 ENVID=abc+3D RET=HDRS");
  CHECK(rcpt_command(to, features, true) ==
        "RCPT TO:<\"a b\"@example.org> ORCPT=rfc822;o+3Drig@example.org NOTIFY=FAILURE,DELAY");
  const Recipient plain{"a@x", "b@x", "", 0};
  CHECK(rcpt_command(plain, features, true) == "RCPT TO:<a@x> ORCPT=rfc822;b@x");
}

TEST_CASE("nothing in an envelope can end a command line") {
  CHECK_FALSE(is_sendable("a\r\nRCPT TO:<b>@x"));
  CHECK_FALSE(is_sendable(std::string_view("a\0b", 3)));
  CHECK(is_sendable("\xc3\xa4@example.org"));
  queuefile::Envelope envelope;
  envelope.dsn_envid = "a\r\nb";
  smtpwire::Features features;
  features.dsn = true;
  CHECK(mail_command("s@x", envelope, 1, features, true) == "MAIL FROM:<s@x>");
  const Recipient to{"a@x", "", "rfc\r\n;a@x", 0};
  CHECK(rcpt_command(to, features, true).find('\r') == std::string::npos);
}

TEST_CASE("what cannot be sent to a server is known before it is asked") {
  queuefile::Envelope envelope;
  smtpwire::Features features;
  CHECK(find_obstacle(kHost, envelope, 1000, features).status.empty());
  features.size = true;
  CHECK(find_obstacle(kHost, envelope, 1000, features).status.empty());
  features.size_limit = 1000;
  CHECK(find_obstacle(kHost, envelope, 1000, features).status.empty());
  features.size_limit = 999;
  const Verdict big = find_obstacle(kHost, envelope, 1000, features);
  CHECK(big.status == "5.3.4");
  CHECK(big.text == "message size 1000 exceeds size limit 999 of server mx.example.org[192.0.2.1]");
  features.size_limit.reset();
  envelope.smtputf8 = queuefile::kUtf8Requested;
  CHECK(find_obstacle(kHost, envelope, 1000, features).status.empty());
  envelope.smtputf8 = queuefile::kUtf8Requested | queuefile::kUtf8Sender;
  CHECK(find_obstacle(kHost, envelope, 1000, features).status == "5.6.7");
  features.smtputf8 = true;
  CHECK(find_obstacle(kHost, envelope, 1000, features).status.empty());
}

}  // namespace postern::smtpclient
