// sender_quota.h - how many recipients a sender may have: values of smtpd_sender_quota and of its
// maps. Pure.
//
//     quota := "none" | limit *([","] limit)      limit := number "/" ("hour" | "day")
//
// Each unit once, in any order; a number is from 1 to a thousand million.

#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "common/base/result.h"
#include "common/config/values.h"

namespace postern::policy {

struct SenderQuota {
  std::int64_t per_hour = 0;  // recipients; 0: no limit
  std::int64_t per_day = 0;

  [[nodiscard]] bool is_limited() const { return per_hour > 0 || per_day > 0; }
  friend bool operator==(const SenderQuota&, const SenderQuota&) = default;
};

// Garbage, nothing included, is an Error of kind kConfig.
[[nodiscard]] Result<SenderQuota> parse_sender_quota(std::string_view text);

// smtpd_sender_quota; without limits where it is empty. Nothing, and a problem, where it is wrong.
[[nodiscard]] std::optional<SenderQuota> read_sender_quota(const config::Values& values,
                                                           config::Problems& problems);

}  // namespace postern::policy
