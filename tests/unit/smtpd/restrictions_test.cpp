#include <catch2/catch.hpp>

#include "common/config/endpoints.h"
#include "common/config/snapshot.h"
#include "common/policy/dns_list.h"
#include "common/policy/list.h"
#include "common/policy/policy_settings.h"
#include "smtpd/restrictions/policy_client.h"
#include "smtpd/restrictions/run.h"

namespace postern::smtpd {

using namespace policy;

namespace {

config::Values values_of(std::vector<std::pair<std::string, std::string>> settings) {
  auto snapshot = std::make_shared<config::Snapshot>();
  unsigned line = 0;
  for (auto& [name, value] : settings) {
    snapshot->settings.push_back({name, value, "/etc/postern/main.cf", ++line});
  }
  snapshot->index();
  return config::Values(std::move(snapshot));
}

RestrictionLists lists_of(const config::Values& values, config::Problems& problems) {
  const auto params = config::load<config::SmtpdParams>(values, problems);
  return parse_restriction_lists(params, values, problems);
}

}  // namespace

TEST_CASE("a DNS list filter takes numbers, lists and ranges") {
  struct Case {
    std::string_view filter;
    std::array<std::uint8_t, 4> address;
    bool matches;
  };
  const auto c = GENERATE(values<Case>({
      {"127.0.0.2", {127, 0, 0, 2}, true},
      {"127.0.0.2", {127, 0, 0, 3}, false},
      {"127.0.0.[2..11]", {127, 0, 0, 2}, true},
      {"127.0.0.[2..11]", {127, 0, 0, 11}, true},
      {"127.0.0.[2..11]", {127, 0, 0, 12}, false},
      {"127.0.0.[2..5;9]", {127, 0, 0, 9}, true},
      {"127.0.0.[2..5;9]", {127, 0, 0, 7}, false},
      {"127.[0;1].[0..255].4", {127, 1, 77, 4}, true},
  }));
  const auto filter = DnsListFilter::parse(c.filter);
  REQUIRE(filter.has_value());
  CHECK(filter->matches(c.address) == c.matches);
}

TEST_CASE("a DNS list filter that is none is refused") {
  const auto text = GENERATE(
      values<std::string_view>({"", "127", "127.0.0", "127.0.0.2.3", "127.0.0.256", "127.0.0.[]",
                                "127.0.0.[2", "127.0.0.[5..2]", "127.0.0.[2..]", "127.0.0.x",
                                "127.0.0.1 ", "[1;2;].0.0.1", "127.0.0.[2,3]"}));
  INFO(text);
  CHECK_FALSE(DnsListFilter::parse(text).has_value());
}

TEST_CASE("what a DNS list answers counts only where lists have their codes") {
  const auto list =
      parse_dns_list("zen.example.org=127.0.0.[2..11]", DnsListBy::kClientAddress, false);
  REQUIRE(list.has_value());
  CHECK(judge_dns_list_answer(*list, "127.0.0.4") == DnsListAnswer::kListed);
  CHECK(judge_dns_list_answer(*list, "127.0.1.4") == DnsListAnswer::kOtherCode);
  CHECK(judge_dns_list_answer(*list, "127.255.255.254") == DnsListAnswer::kNotServed);
  CHECK(judge_dns_list_answer(*list, "203.0.113.1") == DnsListAnswer::kNoListCode);
  CHECK(judge_dns_list_answer(*list, "::1") == DnsListAnswer::kNoListCode);
  CHECK(judge_dns_list_answer(*list, "") == DnsListAnswer::kNoListCode);
  // Also where no filter is written.
  const auto plain = parse_dns_list("bl.example.org.", DnsListBy::kClientAddress, false);
  REQUIRE(plain.has_value());
  CHECK(plain->zone == "bl.example.org");
  CHECK(judge_dns_list_answer(*plain, "127.255.255.1") == DnsListAnswer::kNotServed);
  CHECK(judge_dns_list_answer(*plain, "127.0.0.1") == DnsListAnswer::kListed);
  CHECK_FALSE(parse_dns_list("no zone", DnsListBy::kSender, false).has_value());
  CHECK_FALSE(parse_dns_list("a.b=1.2", DnsListBy::kSender, false).has_value());
}

TEST_CASE("a policy server's reply is one action, or it is none") {
  struct Case {
    std::string_view text;
    PolicyReply::State state;
    std::string_view action;
  };
  using State = PolicyReply::State;
  const auto c = GENERATE(values<Case>({
      {"action=DUNNO\n\n", State::kAction, "DUNNO"},
      {"action=REJECT no = never\n\n", State::kAction, "REJECT no = never"},
      {"action = OK \r\n\r\n", State::kAction, "OK"},
      {"other=1\naction=DUNNO\n\n", State::kAction, "DUNNO"},
      {"", State::kMore, ""},
      {"action=DUN", State::kMore, ""},
      {"action=DUNNO\n", State::kMore, ""},
      {"\n", State::kBad, ""},
      {"action=\n\n", State::kAction, ""},
      {"ACTION\n\n", State::kBad, ""},
      {"action=OK\naction=REJECT\n\n", State::kBad, ""},
      {"=x\n\n", State::kBad, ""},
  }));
  INFO(c.text);
  const PolicyReply reply = parse_policy_reply(c.text);
  CHECK(reply.state == c.state);
  CHECK(reply.action == c.action);
  if (c.state == State::kAction) CHECK(reply.consumed == c.text.size());
  CHECK(parse_policy_reply(std::string(kMaxPolicyReply + 1, 'a')).state == State::kBad);
}

TEST_CASE("no value that a client chooses makes a second attribute") {
  std::string request;
  append_attribute(request, "helo_name", "a\naction=OK\r\n");
  CHECK(request == "helo_name=a?action=OK??\n");
}

TEST_CASE("a policy service has settings of its own") {
  PolicySettings defaults;
  defaults.default_action = "451 4.3.5 Server configuration problem";
  const auto plain = parse_policy_service("inet:127.0.0.1:10040", defaults);
  REQUIRE(plain.has_value());
  CHECK(plain->endpoint == "inet:127.0.0.1:10040");
  CHECK(plain->default_action == defaults.default_action);
  const auto own = parse_policy_service(
      "{ unix:private/policy, timeout=10s, default_action=DUNNO, { policy_context = a b } }",
      defaults);
  REQUIRE(own.has_value());
  CHECK(own->endpoint == "unix:private/policy");
  CHECK(own->timeout == std::chrono::seconds(10));
  CHECK(own->default_action == "DUNNO");
  CHECK(own->policy_context == "a b");
  CHECK_FALSE(parse_policy_service("{ inet:h:1, bogus=1 }", defaults).has_value());
  CHECK_FALSE(parse_policy_service("{ inet:h:1, timeout=soon }", defaults).has_value());
  CHECK_FALSE(parse_policy_service("unix:", defaults).has_value());
}

TEST_CASE("an endpoint goes by one number, however it is written") {
  using config::canonical_endpoint;
  CHECK(canonical_endpoint("localhost:25").value() == "inet:localhost:25");
  CHECK(canonical_endpoint("inet:25").value() == "inet:localhost:25");
  CHECK(canonical_endpoint("inet:[::1]:25").value() == "inet:[::1]:25");
  CHECK(canonical_endpoint("local:/run/x").value() == "unix:/run/x");
  CHECK_FALSE(canonical_endpoint("inet:h:").has_value());
  CHECK_FALSE(canonical_endpoint("inet:[::1]25").has_value());
  const auto found = config::configured_endpoints(values_of(
      {{"smtpd_recipient_restrictions",
        "reject_unauth_destination, check_policy_service { localhost:10023, timeout=1s }"},
       {"strict", "check_policy_service unix:private/p"}}));
  REQUIRE(found.size() == 2);
  CHECK(found.contains(config::endpoint_number("inet:localhost:10023")));
  CHECK(found.contains(config::endpoint_number("unix:private/p")));
}

TEST_CASE("every word of a list does something, or answers 451") {
  config::Problems problems;
  const auto values = values_of(
      {{"smtpd_restriction_classes", "strict"},
       {"strict", "reject_unknown_client, reject"},
       {"smtpd_recipient_restrictions",
        "permit_mynetworks, hash:/etc/x, strict, reject_unath_destination, check_sender_access, "
        "reject_rbl_client bl.test=127.0.0.2"}});
  const auto lists = lists_of(values, problems);
  REQUIRE(lists.recipient.size() == 6);
  CHECK(lists.recipient[0].check == Check::kPermitMynetworks);
  CHECK(lists.recipient[1].check == Check::kAccess);
  CHECK(lists.recipient[1].by == AccessBy::kRecipient);
  CHECK(lists.recipient[2].check == Check::kClass);
  CHECK(lists.recipient[3].check == Check::kConfigError);
  // The argument of check_sender_access is the next word, which is no table.
  CHECK(lists.recipient[4].check == Check::kConfigError);
  CHECK(lists.recipient[5].check == Check::kConfigError);
  CHECK(has_relay_guard(lists));  // through the class
  const auto says = [&](std::string_view text) {
    return std::any_of(problems.begin(), problems.end(), [&](const config::Problem& problem) {
      return problem.text.find(text) != std::string::npos && problem.line > 0;
    });
  };
  CHECK(says("did you mean reject_unauth_destination?"));
  CHECK(says("is an old name; use reject_unknown_client_hostname"));
}

TEST_CASE("check_ccert_access looks fingerprints up in the order that it is given") {
  struct Case {
    std::string_view list;
    std::string_view table;  // empty: refused
    std::vector<Fingerprint> order;
    std::string_view complaint;
  };
  const auto kBoth = std::vector{Fingerprint::kCertificate, Fingerprint::kPublicKey};
  const auto c = GENERATE_COPY(values<Case>({
      {"check_ccert_access hash:/x", "hash:/x", {}, ""},
      {"check_ccert_access { hash:/x }", "hash:/x", {}, ""},
      {"check_ccert_access { hash:/x, { search_order = cert_fingerprint, pubkey_fingerprint } }",
       "hash:/x", kBoth, ""},
      {"check_ccert_access {hash:/x {search_order=cert_fingerprint pubkey_fingerprint}}", "hash:/x",
       kBoth, ""},
      {"check_ccert_access { hash:/x, search_order=PUBKEY_FINGERPRINT }",
       "hash:/x",
       {Fingerprint::kPublicKey},
       ""},
      {"check_ccert_access { inline:{ a=b }, { search_order = pubkey_fingerprint } }",
       "inline:{ a=b }",
       {Fingerprint::kPublicKey},
       ""},
      {"check_client_access { hash:/x }", "hash:/x", {}, ""},
      {"check_ccert_access { hash:/x, { search_order = fingerprint } }",
       "",
       {},
       "expected cert_fingerprint or pubkey_fingerprint, not \"fingerprint\""},
      {"check_ccert_access { hash:/x, { search_order = } }", "", {}, "search_order is empty"},
      {"check_ccert_access { hash:/x, { search_order = cert_fingerprint cert_fingerprint } }",
       "",
       {},
       "cert_fingerprint stands there twice"},
      {"check_ccert_access { hash:/x, { order = cert_fingerprint } }",
       "",
       {},
       "attribute \"order\" is not known here"},
      {"check_ccert_access { hash:/x, { cert_fingerprint } }", "", {}, "expected { name = value }"},
      {"check_client_access { hash:/x, { search_order = cert_fingerprint } }",
       "",
       {},
       "attribute \"search_order\" is not known here"},
      {"check_ccert_access { }", "", {}, "no table in { }"},
      {"check_ccert_access { x }", "", {}, "a type and a colon are missing"},
  }));
  INFO(c.list);
  config::Problems problems;
  const auto lists =
      lists_of(values_of({{"smtpd_client_restrictions", std::string(c.list)}}), problems);
  REQUIRE(lists.client.size() == 1);
  if (c.table.empty()) {
    CHECK(lists.client[0].check == Check::kConfigError);
    REQUIRE(problems.size() == 1);
    CHECK(problems[0].text.find(c.complaint) != std::string::npos);
    return;
  }
  CHECK(problems.empty());
  CHECK(lists.client[0].check == Check::kAccess);
  CHECK(lists.client[0].argument == c.table);
  CHECK(lists.client[0].search_order == c.order);
}

TEST_CASE("warn_if_reject in front guards nothing") {
  config::Problems problems;
  const auto lists = lists_of(
      values_of({{"smtpd_relay_restrictions", ""},
                 {"smtpd_recipient_restrictions", "warn_if_reject reject_unauth_destination"}}),
      problems);
  CHECK_FALSE(has_relay_guard(lists));
}

TEST_CASE("lists that can never decide as they are written are found") {
  config::Problems problems;
  const auto values =
      values_of({{"smtpd_restriction_classes", "a b"},
                 {"a", "b"},
                 {"b", "a"},
                 {"smtpd_client_restrictions", "permit, reject_unknown_client_hostname"},
                 {"smtpd_helo_restrictions", "warn_if_reject"}});
  const auto lists = lists_of(values, problems);
  problems.clear();
  find_odd_restrictions(lists, values, problems);
  std::string all;
  for (const auto& problem : problems) all += problem.text + "\n";
  CHECK(all.find("\"permit\" stands before it") != std::string::npos);
  CHECK(all.find("nothing to stand before") != std::string::npos);
  CHECK(all.find("restriction class a leads back to itself") != std::string::npos);
}

TEST_CASE("an access table's action may name restrictions, but no tables") {
  std::string_view wrong;
  const std::vector<std::string> classes = {"strict"};
  const auto good =
      parse_action_list("reject_unknown_sender_domain, strict permit", classes, wrong);
  REQUIRE(good.has_value());
  CHECK(good->size() == 3);
  CHECK_FALSE(parse_action_list("NOSUCHACTION", classes, wrong).has_value());
  CHECK(wrong == "NOSUCHACTION");
  CHECK_FALSE(parse_action_list("hash:/etc/x", classes, wrong).has_value());
  CHECK_FALSE(parse_action_list("check_sender_access hash:/etc/x", classes, wrong).has_value());
}

TEST_CASE("a status code is made to fit what it is said of") {
  struct Case {
    mail::Status status;
    AccessBy by;
    mail::Status fitted;
  };
  const auto c = GENERATE(values<Case>({
      {{5, 1, 1}, AccessBy::kSender, {5, 1, 7}},
      {{4, 1, 2}, AccessBy::kSender, {4, 1, 8}},
      {{5, 1, 3}, AccessBy::kSender, {5, 1, 7}},
      {{5, 1, 7}, AccessBy::kRecipient, {5, 1, 3}},
      {{5, 1, 8}, AccessBy::kRecipient, {5, 1, 2}},
      {{5, 1, 1}, AccessBy::kRecipient, {5, 1, 1}},
      {{5, 1, 1}, AccessBy::kHelo, {5, 0, 0}},
      {{5, 7, 1}, AccessBy::kHelo, {5, 7, 1}},
  }));
  const bool is_address = c.by == AccessBy::kSender || c.by == AccessBy::kRecipient;
  CHECK(fit_status(c.status, c.by, is_address) == c.fitted);
}

}  // namespace postern::smtpd
