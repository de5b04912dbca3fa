#include "smtpd/first_contact.h"

#include <catch2/catch.hpp>

#include "common/config/snapshot.h"

namespace postern::smtpd {

TEST_CASE("DNS lists are scored by zone, filter and weight") {
  const config::Values values(std::make_shared<config::Snapshot>());
  config::Problems problems;
  const auto zones = parse_scored_zones(
      {"bl.example=127.0.0.[2..4]*3", "bl.example=127.0.0.10*2", "wl.example*-5", "plain.example"},
      values, problems);
  CHECK(problems.empty());
  REQUIRE(zones.size() == 3);
  CHECK(zones[0].zone == "bl.example");
  REQUIRE(zones[0].weights.size() == 2);
  CHECK(zones[0].weights[0].weight == 3);
  CHECK(judge_dns_list_answer(zones[0].weights[0].list, "127.0.0.3") == DnsListAnswer::kListed);
  CHECK(judge_dns_list_answer(zones[0].weights[1].list, "127.0.0.3") == DnsListAnswer::kOtherCode);
  CHECK(zones[1].weights[0].weight == -5);
  CHECK(zones[2].weights[0].weight == 1);
}

TEST_CASE("a DNS list that is misspelt is named and left out") {
  const std::string word = GENERATE(std::string("bl.example*x"), std::string("bl.example=127.0*2"),
                                    std::string("*3"), std::string("bl.example*99999999"));
  const config::Values values(std::make_shared<config::Snapshot>());
  config::Problems problems;
  CHECK(parse_scored_zones({word}, values, problems).empty());
  CHECK(problems.size() == 1);
}

TEST_CASE("sessions behind first contact are those of the pass line") {
  config::Snapshot snapshot;
  config::Service first;
  first.name = "smtp";
  first.type = config::ServiceType::kInet;
  first.program = "postscreen";
  config::Service second;
  second.name = "smtpd";
  second.type = config::ServiceType::kPass;
  second.program = "smtpd";
  snapshot.services = {first};
  CHECK(find_pass_service(snapshot) == nullptr);
  snapshot.services = {first, second};
  REQUIRE(find_pass_service(snapshot) != nullptr);
  CHECK(find_pass_service(snapshot)->name == "smtpd");
}

TEST_CASE("an action that is no word of ours lets pass") {
  CHECK(parse_contact_action("drop") == ContactAction::kDrop);
  CHECK(parse_contact_action("enforce") == ContactAction::kEnforce);
  CHECK(parse_contact_action("ignore") == ContactAction::kIgnore);
  CHECK(parse_contact_action("") == ContactAction::kIgnore);
}

}  // namespace postern::smtpd
