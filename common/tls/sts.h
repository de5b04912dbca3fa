// sts.h - MTA-STS (RFC 8461): what a domain says of the mail servers that speak for it. Pure.
//
//     _mta-sts.example.org TXT "v=STSv1; id=20260101"
//     https://mta-sts.example.org/.well-known/mta-sts.txt:
//         version: STSv1
//         mode: enforce
//         mx: mx1.example.org
//         mx: *.example.net
//         max_age: 604800

#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace postern::tls {

// RFC 8461 3.1: the id of the one record that begins "v=STSv1"; nothing where there is none, more
// than one, or one that is malformed. Each text is a TXT record's, its strings joined.
[[nodiscard]] std::optional<std::string> find_sts_id(const std::vector<std::string>& texts);

enum class StsMode : unsigned char { kNone, kTesting, kEnforce };
[[nodiscard]] std::string_view name_of(StsMode mode);

struct StsPolicy {
  static constexpr std::size_t kMaxBytes = std::size_t{64} << 10;
  static constexpr std::size_t kMaxPatterns = 100;
  static constexpr std::chrono::seconds kMaxAge{31'557'600};

  StsMode mode = StsMode::kNone;
  std::vector<std::string> mx{};  // lower case; "*.example.net" stands for one label
  std::chrono::seconds max_age{0};

  friend bool operator==(const StsPolicy&, const StsPolicy&) = default;
};

// RFC 8461 3.2. Unknown fields are passed over, of a field that is there twice the first counts. An
// error says what is missing or malformed.
[[nodiscard]] Result<StsPolicy> parse_sts_policy(std::string_view text);

// RFC 8461 4.1: whether the patterns have the host.
[[nodiscard]] bool matches_sts_mx(const std::vector<std::string>& patterns, std::string_view host);

}  // namespace postern::tls
