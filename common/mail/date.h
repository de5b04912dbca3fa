// date.h - dates as mail writes them, in English whatever the locale.

#pragma once

#include <chrono>
#include <string>

#include "common/base/clock.h"

namespace postern::mail {

// "Sun, 22 Nov 2026 17:07:35 +0000 (UTC)", local time; the day is padded with a blank.
[[nodiscard]] std::string format_date(WallTime when);
// "Sun Nov 22 17:07:35", as queue listings have it.
[[nodiscard]] std::string format_listing_date(WallTime when);
// "Sun Nov 22 17:07:35 2026", as in a mailbox's From line.
[[nodiscard]] std::string format_ctime(WallTime when);
// "20261122170735", in UTC.
[[nodiscard]] std::string format_stamp(WallTime when);

}  // namespace postern::mail
