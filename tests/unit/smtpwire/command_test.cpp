#include "common/smtpwire/command.h"

#include <catch2/catch.hpp>

namespace postern::smtpwire {

namespace {

std::string answer(std::string_view line) {
  const CommandLine command = split_command(line);
  const Extensions extensions;
  if (command.verb == Verb::kMail) {
    const auto parsed = parse_mail(command.argument, extensions);
    return parsed ? "ok" : parsed.error().to_line();
  }
  if (command.verb == Verb::kRcpt) {
    const auto parsed = parse_rcpt(command.argument, extensions);
    return parsed ? "ok" : parsed.error().to_line();
  }
  if (command.verb == Verb::kBdat) {
    const auto parsed = parse_bdat(command.argument);
    return parsed ? "ok" : parsed.error().to_line();
  }
  if (command.verb == Verb::kHelo || command.verb == Verb::kEhlo) {
    const auto parsed = parse_helo(command.verb, command.argument);
    return parsed ? "ok" : parsed.error().to_line();
  }
  if (command.verb == Verb::kEtrn) {
    const auto parsed = parse_etrn(command.argument);
    return parsed ? "ok" : parsed.error().to_line();
  }
  if (command.verb == Verb::kVrfy) {
    const auto parsed = parse_vrfy(command.argument);
    return parsed ? "ok" : parsed.error().to_line();
  }
  if (command.verb == Verb::kUnknown) return reply_unknown_command().to_line();
  const auto parsed = parse_no_argument(command.verb, command.argument);
  return parsed ? "ok" : parsed.error().to_line();
}

}  // namespace

TEST_CASE("a HELO name has no characters with a meaning in headers and logs") {
  CHECK(parse_helo(Verb::kEhlo, "client.ext.test").value() == "client.ext.test");
  CHECK(parse_helo(Verb::kEhlo, "a@b  (c)").value() == "a?b??c?");
  CHECK(parse_helo(Verb::kHelo, "<x>;\"y\\z").value() == "?x???y?z");
}

TEST_CASE("commands get the replies that Postfix gives") {
  struct Case {
    std::string_view line, reply;
  };
  const auto c = GENERATE(values<Case>({
      {"FOO", "500 5.5.2 Error: command not recognized"},
      {"MAIL", "501 5.5.4 Syntax: MAIL FROM:<address>"},
      {"MAIL FROM", "501 5.5.4 Syntax: MAIL FROM:<address>"},
      {"MAIL FROM:", "501 5.5.4 Syntax: MAIL FROM:<address>"},
      {"MAIL TO:<s@ext.test>", "501 5.5.4 Syntax: MAIL FROM:<address>"},
      {"MAIL FROM:<s@ext.test", "501 5.1.7 Bad sender address syntax"},
      {"MAIL FROM:<s@ext.test> FOO=BAR", "555 5.5.4 Unsupported option: FOO=BAR"},
      {"MAIL FROM:<s@ext.test> SIZE=abc", "501 5.5.4 Bad message size syntax"},
      {"MAIL FROM:<s@ext.test> SIZE=-1", "501 5.5.4 Bad message size syntax"},
      {"MAIL FROM:<s@ext.test> SIZE=18446744073709551616",
       "552 5.3.4 Message size exceeds file system imposed limit"},
      {"MAIL FROM:<s@ext.test> BODY=9BIT", "555 5.5.4 Unsupported option: BODY=9BIT"},
      {"MAIL FROM: <s@ext.test>", "ok"},
      {"mail from:s@ext.test", "ok"},
      {"MAIL FROM:<> BODY=8BITMIME SMTPUTF8 SIZE=0", "ok"},
      {"MAIL FROM:<s@ext.test> RET=FULL ENVID=QQ314159", "ok"},
      {"MAIL FROM:<s@ext.test> RET=SOME", "501 5.5.4 Bad RET parameter syntax"},
      {"MAIL FROM:<s@ext.test> RET=HDRS RET=FULL", "501 5.5.4 Bad RET parameter syntax"},
      {"MAIL FROM:<s@ext.test> ENVID=", "501 5.5.4 Bad ENVID parameter syntax"},
      {"MAIL FROM:<s@ext.test> ENVID=a+ZZ", "501 5.5.4 Bad ENVID parameter syntax"},
      {"MAIL FROM:<s@ext.test> ENVID=a+0Ab", "501 5.5.4 Bad ENVID parameter syntax"},
      {"MAIL FROM:<s@ext.test> ENVID=a+20b", "ok"},
      {"MAIL FROM:<s@ext.test> XVERP", "555 5.5.4 Unsupported option: XVERP"},
      {"RCPT", "501 5.5.4 Syntax: RCPT TO:<address>"},
      {"RCPT TO:", "501 5.5.4 Syntax: RCPT TO:<address>"},
      {"RCPT TO:<>", "501 5.1.3 Bad recipient address syntax"},
      {"RCPT FROM:<alice@parity.test>", "501 5.5.4 Syntax: RCPT TO:<address>"},
      {"RCPT TO:<alice@parity.test> FOO=BAR", "555 5.5.4 Unsupported option: FOO=BAR"},
      {"RCPT TO: alice@parity.test", "ok"},
      {"RCPT TO:<@parity.test>", "ok"},
      {"RCPT TO:<alice bob@parity.test>", "501 5.1.3 Bad recipient address syntax"},
      {"RCPT TO:<a@b> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;alice@parity.test", "ok"},
      {"RCPT TO:<a@b> NOTIFY=NEVER,SUCCESS", "501 5.5.4 Error: Bad NOTIFY parameter syntax"},
      {"RCPT TO:<a@b> NOTIFY=", "501 5.5.4 Error: Bad NOTIFY parameter syntax"},
      {"RCPT TO:<a@b> NOTIFY=SOMETIMES", "501 5.5.4 Error: Bad NOTIFY parameter syntax"},
      {"RCPT TO:<a@b> NOTIFY=DELAY NOTIFY=DELAY", "501 5.5.4 Error: Bad NOTIFY parameter syntax"},
      {"RCPT TO:<a@b> ORCPT=alice", "501 5.5.4 Error: Bad ORCPT parameter syntax"},
      {"RCPT TO:<a@b> ORCPT=rfc822;a+ZZ", "501 5.5.4 Error: Bad ORCPT parameter syntax"},
      {"RCPT TO:<a@b> ORCPT=rfc822;a+0D+0Ab", "501 5.5.4 Error: Bad ORCPT parameter syntax"},
      {"RCPT TO:<a@b> NOTIFY=NEVER", "ok"},
      {"DATA", "ok"},
      {"DATA now", "501 5.5.4 Syntax: DATA"},
      {"RSET now", "501 5.5.4 Syntax: RSET"},
      {"QUIT now", "ok"},
      {"NOOP with words", "ok"},
      {"HELO", "501 Syntax: HELO hostname"},
      {"EHLO", "501 Syntax: EHLO hostname"},
      {"HELO a b c", "ok"},
      {"BDAT", "521 5.5.4 Syntax: BDAT count [LAST]"},
      {"BDAT 1 2 3", "521 5.5.4 Syntax: BDAT count [LAST]"},
      {"BDAT -1", "521 5.5.4 Syntax: BDAT count [LAST]"},
      {"BDAT 18446744073709551616", "521 5.5.4 Syntax: BDAT count [LAST]"},
      {"BDAT 5 LAST", "ok"},
      {"bdat 0 last", "ok"},
      {"VRFY", "501 5.5.4 Syntax: VRFY address"},
      {"VRFY alice", "ok"},
      {"ETRN", "500 Syntax: ETRN domain"},
      {"ETRN bad_domain!", "501 Error: invalid parameter syntax"},
      {"ETRN backup.test", "ok"},
  }));
  INFO(c.line);
  CHECK(answer(c.line) == c.reply);
}

TEST_CASE("what the parameters say reaches the session") {
  Extensions extensions;
  extensions.verp = true;
  const auto mail =
      parse_mail("FROM:<list@x> SIZE=2000 BODY=8BITMIME RET=HDRS ENVID=a+20b AUTH=e+3Dm@x XVERP=-=",
                 extensions);
  REQUIRE(mail.has_value());
  CHECK(mail->sender.address == "list@x");
  CHECK(mail->size == 2000U);
  CHECK(mail->body == BodyType::k8BitMime);
  CHECK(mail->ret == DsnReturn::kHeaders);
  CHECK(mail->envid == "a+20b");
  CHECK(mail->auth == "e=m@x");
  CHECK(mail->verp_delimiters == "-=");
  CHECK(parse_mail("FROM:<l@x> XVERP=xyz", extensions).error().code == 501);
  CHECK(parse_mail("FROM:<> XVERP", extensions).error().code == 503);
  CHECK(parse_mail("FROM:<> AUTH=<> AUTH=a@b", extensions).error().code == 503);

  const auto rcpt = parse_rcpt("TO:<a@b> ORCPT=rfc822;a+2Bb@c NOTIFY=delay,FAILURE", extensions);
  REQUIRE(rcpt.has_value());
  CHECK(rcpt->orcpt_type == "rfc822");
  CHECK(rcpt->orcpt_address == "a+b@c");
  CHECK(print_notify(rcpt->notify) == "FAILURE,DELAY");
  const auto utf8 = parse_rcpt("TO:<a@b> ORCPT=utf-8;j\\x{FC}rgen@c", extensions);
  REQUIRE(utf8.has_value());
  CHECK(utf8->orcpt_address == "j\xc3\xbcrgen@c");

  Extensions none;
  none.dsn = none.smtputf8 = none.auth = false;
  for (const auto option : {"SMTPUTF8", "REQUIRETLS", "FOO=1"}) {
    CHECK(parse_mail(std::string("FROM:<a@b> ") + option, none).error().code == 555);
  }
  for (const auto option : {"RET=FULL", "ENVID=1"}) {
    CHECK(parse_mail(std::string("FROM:<a@b> ") + option, none).error() ==
          mail::make_reply(501, "5.7.1 DSN support is disabled"));
  }
  for (const auto option : {"NOTIFY=NEVER", "ORCPT=rfc822;a"}) {
    CHECK(parse_rcpt(std::string("TO:<a@b> ") + option, none).error() ==
          mail::make_reply(501, "5.7.1 DSN support is disabled"));
  }
  CHECK(parse_mail("FROM:<a@b> SIZE=1 BODY=8BITMIME AUTH=a+", none).has_value());
  none.requiretls = true;
  CHECK(parse_mail("FROM:<a@b> requiretls", none)->requires_tls);
  CHECK_FALSE(parse_mail("FROM:<a@b>", none)->requires_tls);
}

TEST_CASE("AUTH and XCLIENT arguments are taken apart") {
  CHECK(parse_auth("plain AGEAYg==")->mechanism == "PLAIN");
  CHECK(parse_auth("plain AGEAYg==")->initial_response == "AGEAYg==");
  CHECK(parse_auth("").error().code == 501);
  CHECK(parse_auth("a b c").error().code == 501);
  const auto xclient = parse_attributes(Verb::kXclient, "ADDR=192.0.2.1 name=[UNAVAILABLE]");
  REQUIRE(xclient.has_value());
  CHECK(xclient->at(1) == std::pair<std::string, std::string>("NAME", "[UNAVAILABLE]"));
  CHECK(parse_attributes(Verb::kXclient, "").error().code == 501);
  CHECK(parse_attributes(Verb::kXclient, "FOO").error().code == 501);
  CHECK(parse_attributes(Verb::kXclient, "HELO=a+0Ab").error().code == 501);
}

}  // namespace postern::smtpwire
