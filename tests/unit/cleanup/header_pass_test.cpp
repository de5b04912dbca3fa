#include "cleanup/header_pass.h"

#include <catch2/catch.hpp>

namespace postern::cleanup {

namespace {

HeaderRules rules() {
  HeaderRules rules;
  rules.rewrite.myorigin = "origin.test";
  rules.rewrite.mydomain = "test";
  rules.message_drop_headers = {"bcc", "content-length", "resent-bcc", "return-path"};
  rules.myhostname = "mx.test";
  rules.header_address_token_limit = 10240;
  rules.header_from_format = "standard";
  return rules;
}

HeaderContext context(bool is_local) {
  HeaderContext context;
  context.is_local = is_local;
  context.sender = "bob@origin.test";
  context.full_name = "Bob Example";
  context.queue_id = "ABC";
  context.received = "Received: here";
  return context;
}

}  // namespace

TEST_CASE("mail of strangers keeps its header but for what must not be brought along") {
  const auto result = pass_header(rules(), context(false),
                                  "From: bare\nBcc: x@y\nReturn-Path: <z>\nSubject : spaced\n"
                                  "To: a,\n b\nMessage-Id: <m@x>\nReceived: there\n\n");
  CHECK(result.header ==
        "Received: here\nFrom: bare\nSubject: spaced\nTo: a,\n b\nMessage-Id: <m@x>\n"
        "Received: there\n");
  CHECK(result.message_id == "<m@x>");
  CHECK(result.hops == 2);
}

TEST_CASE("mail of local clients is completed") {
  const auto result = pass_header(rules(), context(true), "To: alice, carol@elsewhere.test\n");
  CHECK(
      result.header.starts_with("Received: here\nTo: alice@origin.test, carol@elsewhere.test\n"
                                "Message-Id: <"));
  CHECK(result.header.find("\nDate: ") != std::string::npos);
  CHECK(result.header.ends_with("\nFrom: Bob Example <bob@origin.test>\n"));
  CHECK(result.message_id.find(".ABC@mx.test>") != std::string::npos);
}

TEST_CASE("a resent message gets the Resent- forms of what is missing") {
  const auto result =
      pass_header(rules(), context(true), "From: a@b\nResent-From: c@d\nResent-To: e@f\n");
  CHECK(result.header.find("\nResent-Message-Id: ") != std::string::npos);
  CHECK(result.header.find("\nResent-Date: ") != std::string::npos);
  CHECK(result.header.find("\nDate: ") == std::string::npos);
  CHECK(result.is_resent_id);
}

TEST_CASE("a full name that is no plain words is quoted; a null sender has none") {
  auto odd = context(true);
  odd.full_name = "B. \"Bob\" <x>";
  CHECK(pass_header(rules(), odd, "")
            .header.ends_with("From: \"B. \\\"Bob\\\" <x>\" <bob@origin.test>\n"));
  auto null = context(true);
  null.sender = "";
  CHECK(pass_header(rules(), null, "").header.ends_with("From: MAILER-DAEMON\n"));
}

TEST_CASE("a full name beyond ASCII is encoded, with the character set that it is said to be in") {
  struct Case {
    std::string_view name, charset, format, from;
  };
  const auto c = GENERATE(values<Case>({
      {"J\xc3\xbcrgen M\xc3\xbcller", "utf-8", "standard",
       "=?utf-8?Q?J=C3=BCrgen_M=C3=BCller?= <bob@origin.test>"},
      {"J\xc3\xbcrgen", "utf-8", "obsolete", "bob@origin.test (=?utf-8?Q?J=C3=BCrgen?=)"},
      {"J\xfcrgen", "iso-8859-1", "standard", "=?iso-8859-1?Q?J=FCrgen?= <bob@origin.test>"},
      // What it is not is not claimed.
      {"J\xfcrgen", "utf-8", "standard", "J\xfcrgen <bob@origin.test>"},
      {"J\xc3\xbcrgen", "", "standard", "J\xc3\xbcrgen <bob@origin.test>"},
      {"Plain Name", "utf-8", "standard", "Plain Name <bob@origin.test>"},
  }));
  INFO(c.name << " " << c.charset);
  auto with = rules();
  with.full_name_encoding_charset = c.charset;
  with.header_from_format = c.format;
  auto local = context(true);
  local.full_name = c.name;
  CHECK(pass_header(with, local, "").header.ends_with("From: " + std::string(c.from) + "\n"));
}

}  // namespace postern::cleanup
