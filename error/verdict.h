// verdict.h - what the next hop of an error: transport says of its recipients. Pure.
//
// The next hop is a text, with a status code in front or without: "5.1.2 no mail here". What the
// service is called decides whether mail bounces or waits; a code that says otherwise does not
// count.

#pragma once

#include <string_view>

#include "common/agent/delivery.h"

namespace postern::error {

// `service` is the name in master.cf: under the name "retry" all mail waits.
[[nodiscard]] agent::Verdict verdict_of(std::string_view nexthop, std::string_view service);

}  // namespace postern::error
