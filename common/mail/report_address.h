// report_address.h - where a domain wants its reports: the rua= of DMARC (RFC 7489 6.2) and of
// TLSRPT (RFC 8460 3). Pure.
//
//     mailto:reports@example.org!10m, https://reports.example.org/v1/tlsrpt

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::mail {

struct ReportAddress {
  enum class Kind : unsigned char { kMail, kHttps };
  Kind kind = Kind::kMail;
  std::string target{};        // user@example.org, or the whole URL
  std::string host{};          // example.org
  std::uint64_t max_size = 0;  // bytes of what is sent; 0: not said

  friend bool operator==(const ReportAddress&, const ReportAddress&) = default;
};

// More of them are not written to: each costs us a message a day.
inline constexpr std::size_t kMaxReportAddresses = 5;

// One URI, with the size limit of DMARC behind it. Nothing for another scheme, for an address or a
// URL that we would not use: a port but 443, a password, control characters.
[[nodiscard]] std::optional<ReportAddress> parse_report_address(std::string_view uri);

// A list with commas; what is no address of ours is left out.
[[nodiscard]] std::vector<ReportAddress> parse_report_addresses(std::string_view list);

// A TXT record at _smtp._tls.DOMAIN: "v=TLSRPTv1; rua=...". Nothing for a record of another kind.
[[nodiscard]] std::optional<std::vector<ReportAddress>> parse_tlsrpt_record(std::string_view text);

// Of all TXT records there. Nothing: none, or more than one of the kind (RFC 8460 3).
[[nodiscard]] std::vector<ReportAddress> find_tlsrpt_addresses(
    const std::vector<std::string>& texts);

}  // namespace postern::mail
