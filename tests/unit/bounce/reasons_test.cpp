#include <catch2/catch.hpp>

#include "bounce/service.h"

namespace postern::bounce {

namespace {

queuefile::Reason reason(std::uint64_t offset, std::string status) {
  return {.address = "r" + std::to_string(offset) + "@x.org",
          .state_offset = offset,
          .status = std::move(status)};
}

queuefile::Envelope envelope_of(
    const std::vector<std::pair<std::uint64_t, queuefile::State>>& recipients) {
  queuefile::Envelope envelope;
  for (const auto& [offset, state] : recipients) {
    auto& recipient = envelope.recipients.emplace_back();
    recipient.address = "r" + std::to_string(offset) + "@x.org";
    recipient.state = state;
    recipient.state_offset = offset;
  }
  return envelope;
}

}  // namespace

TEST_CASE("a message that is not expired returns what failed and nothing else") {
  const auto envelope =
      envelope_of({{1, queuefile::State::kReturned}, {2, queuefile::State::kPending}});
  const auto result =
      reasons_to_return({reason(1, "5.1.1")}, {reason(2, "4.4.1")}, &envelope, false);
  REQUIRE(result.size() == 1);
  CHECK(result[0].state_offset == 1);
}

TEST_CASE("an expired message returns those that wait, with the last reason known") {
  using queuefile::State;
  const auto envelope = envelope_of(
      {{1, State::kReturned}, {2, State::kPending}, {3, State::kDone}, {4, State::kPending}});
  const auto result = reasons_to_return({reason(1, "5.1.1")},
                                        {reason(2, "4.4.1"), reason(3, "4.4.1")}, &envelope, true);
  REQUIRE(result.size() == 3);
  CHECK(result[0].status == "5.1.1");
  CHECK(result[1].status == "4.4.1");
  CHECK(result[1].state_offset == 2);
  // Delivered since then: not returned. Never tried: returned as expired.
  CHECK(result[2].state_offset == 4);
  CHECK(result[2].status == "4.4.7");
}

TEST_CASE("a recipient that failed is not returned twice, nor forgotten with an unreadable file") {
  const auto result = reasons_to_return({reason(1, "5.1.1")},
                                        {reason(1, "4.4.1"), reason(2, "4.4.1")}, nullptr, true);
  REQUIRE(result.size() == 2);
  CHECK(result[0].status == "5.1.1");
  CHECK(result[1].state_offset == 2);
}

}  // namespace postern::bounce
