#include "common/mail/rewrite.h"

#include <catch2/catch.hpp>

#include "common/mail/address.h"
#include "common/mail/header.h"

namespace postern::mail {

namespace {

RewriteRules rules() {
  RewriteRules out;
  out.append_dot_mydomain = true;
  out.myorigin = "parity.test";
  out.mydomain = "parity.test";
  return out;
}

// A header of a local client as it leaves cleanup.
std::string rewritten(std::string_view name, std::string_view body) {
  AddressList list = AddressList::parse(body);
  list.rewrite([](const std::string& address) {
    return rewrite_external(rules(), RewriteContext::kLocal, address);
  });
  return format_address_header(name, list);
}

ResolvedForm resolved(std::string_view address, ResolveRules resolve = {}) {
  resolve.rewrite = rules();
  return resolve_form(resolve, address,
                      [](const std::string& domain) -> Result<bool> {
                        return domain == "parity.test" || domain == "[192.0.2.1]";
                      })
      .value();
}

}  // namespace

TEST_CASE("header addresses of a local client come out as Postfix rewrites them") {
  CHECK(rewritten("From", "(a comment) bare (another)") ==
        "From: bare@parity.test (a comment) (another)");
  CHECK(rewritten("To",
                  "\"Last, First\" <first.last>, group : one, two@host;, <three>,\n"
                  " four@[192.0.2.9], five @ spaced . test") ==
        "To: \"Last, First\" <first.last@parity.test>, group: one@parity.test,\n"
        "\ttwo@host.parity.test;, <three@parity.test>, four@[192.0.2.9],\n"
        "\tfive@spaced.test");
  CHECK(rewritten("Cc",
                  "\"quoted local\"@host, under_score, a.b.c <x>, "
                  "=?utf-8?q?J=C3=BCrgen?= <juergen>") ==
        "Cc: \"quoted local\"@host.parity.test, under_score@parity.test,\n"
        "\ta.b.c <x@parity.test>, =?utf-8?q?J=C3=BCrgen?= <juergen@parity.test>");
  CHECK(rewritten("Reply-To", "<@route.test:six@dest.test>, seven%hack.test, eight!nine") ==
        "Reply-To: <six@dest.test>, seven@hack.test, nine@eight.parity.test");
  CHECK(rewritten("Sender", "\"\"<empty>") == "Sender: \"\" <empty@parity.test>");
  CHECK(rewritten("Errors-To", "nobody here, but commas") ==
        "Errors-To: nobody@parity.test, here@parity.test, but@parity.test,\n"
        "\tcommas@parity.test");
}

TEST_CASE("envelope addresses are completed by context") {
  const auto local = [](std::string_view address) {
    return rewrite_address(rules(), RewriteContext::kLocal, address);
  };
  CHECK(local("bob") == "bob@parity.test");
  CHECK(local("bob@host") == "bob@host.parity.test");
  CHECK(local("bob@host.") == "bob@host");
  CHECK(local("odd name") == "odd name@parity.test");
  CHECK(local("a@b@c.d") == "a@b@c.d");
  CHECK(local("a!b!c") == "b!c@a.parity.test");
  CHECK(local("u%h%g.x") == "u%h@g.x");
  CHECK(local("alice@") == "alice@");
  CHECK(local("!x") == "!x@parity.test");
  CHECK(local("").empty());
  CHECK(rewrite_address(rules(), RewriteContext::kRemote, "bob@host") == "bob@host");
  RewriteRules remote = rules();
  remote.remote_header_rewrite_domain = "domain.invalid";
  CHECK(rewrite_address(remote, RewriteContext::kRemote, "bob") == "bob@domain.invalid");
}

TEST_CASE("routing in local parts is found wherever it hides") {
  struct Case {
    std::string_view address, local_part, domain;
    bool is_local, is_error;
  };
  const auto c = GENERATE(values<Case>({
      {"alice@parity.test", "alice", "parity.test", true, false},
      {"alice@parity.test.", "alice", "parity.test", true, false},
      {"alice@[192.0.2.1]", "alice", "[192.0.2.1]", true, false},
      {"u@elsewhere.test", "u", "elsewhere.test", false, false},
      {"u%elsewhere.test@parity.test", "u", "elsewhere.test", false, false},
      {"elsewhere.test!u@parity.test", "u", "elsewhere.test", false, false},
      {"u@elsewhere.test@parity.test", "u", "elsewhere.test", false, false},
      {"alice%parity.test@parity.test", "alice", "parity.test", true, false},
      {"@parity.test", "MAILER-DAEMON", "parity.test", true, false},
      {"odd name@parity.test", "odd name", "parity.test", true, false},
      {"alice@", "", "", false, true},
      {"alice@@parity.test", "", "parity.test", false, true},
      {"-dash@ext.test", "-dash", "ext.test", false, true},
      {"-dash@parity.test", "-dash", "parity.test", true, true},
      {"-x%parity.test@parity.test", "-x", "parity.test", true, true},
      {"u@-bad-", "u", "-bad-", false, true},
  }));
  INFO(c.address);
  const ResolvedForm form = resolved(c.address);
  CHECK(form.is_error == c.is_error);
  if (!c.local_part.empty()) {
    CHECK(form.local_part == c.local_part);
    CHECK(form.domain == c.domain);
    CHECK(form.is_local == c.is_local);
  }
}

TEST_CASE("a domain that is a number is an address in brackets, or an error") {
  CHECK(resolved("u@198.51.100.9").is_error);
  ResolveRules rules;
  rules.resolve_numeric_domain = true;
  const auto remote = resolved("u@198.51.100.9", rules);
  CHECK_FALSE(remote.is_error);
  CHECK(remote.recipient == "u@[198.51.100.9]");
  CHECK(remote.domain == "[198.51.100.9]");
  const auto ours = resolved("u@192.0.2.1", rules);
  CHECK(ours.is_local);
  CHECK(ours.local_part == "u");
  CHECK(resolved("u@198.51.100", rules).is_error);
}

TEST_CASE("an address with thousands of operators ends as an error") {
  std::string address = "u";
  for (int i = 0; i < 5000; ++i) address += "%parity.test";
  CHECK(resolved(address + "@parity.test").is_error);
}

TEST_CASE("a table that fails while resolving is an error, not a domain of others") {
  const auto form = resolve_form(
      {}, "a@b.c", [](const std::string&) -> Result<bool> { return fail_temporary("table down"); });
  REQUIRE_FALSE(form.has_value());
  CHECK(form.error().kind == Error::Kind::kTemporary);
}

}  // namespace postern::mail
