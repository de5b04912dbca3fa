#include "anvil/bans.h"

#include <catch2/catch.hpp>

namespace postern::anvil {

namespace {

using ipc::anvil::OffenceKind;

Bans bans_of(const BanRules& rules) {
  Bans bans(LineFile(-1, "bans"));
  bans.set_rules(rules);
  return bans;
}

const ipc::anvil::Offence kFailure{"192.0.2.1", OffenceKind::kAuthFailure};
const ipc::anvil::Offence kReject{"192.0.2.1", OffenceKind::kReject};

}  // namespace

TEST_CASE("the third failure within the window bans, for the time given") {
  Bans bans = bans_of({3, 0, 600, 3600});
  CHECK_FALSE(bans.note(kFailure, 1000));
  CHECK_FALSE(bans.note(kFailure, 1100));
  CHECK(bans.note(kFailure, 1200));
  REQUIRE(bans.list(1200).bans.size() == 1);
  CHECK(bans.list(1200).bans[0].client == "192.0.2.1");
  CHECK(bans.list(1200).bans[0].until == 4800);
  CHECK(bans.list(4800).bans.empty());
}

TEST_CASE("failures that are too far apart do not ban, nor do those that no rule counts") {
  Bans bans = bans_of({2, 0, 600, 3600});
  CHECK_FALSE(bans.note(kFailure, 1000));
  CHECK_FALSE(bans.note(kFailure, 1600));
  CHECK_FALSE(bans.note(kReject, 1601));
  CHECK_FALSE(bans.note(kReject, 1602));
  CHECK(bans.list(1602).bans.empty());
}

TEST_CASE("an administrator's bans are addresses, and can be taken back") {
  Bans bans = bans_of({3, 0, 600, 3600});
  CHECK(bans.add("2001:DB8::1", 1000, 5000));
  CHECK_FALSE(bans.add("example.org", 1000, 5000));
  CHECK(bans.list(1000).bans[0].client == "2001:db8::1");
  CHECK(bans.remove("2001:db8::1"));
  CHECK_FALSE(bans.remove("2001:db8::1"));
}

}  // namespace postern::anvil
