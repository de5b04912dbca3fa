// spf.h - may this client send for this domain? RFC 7208, check_host() and what it needs.
//
// Pure but for the DNS source handed in. However a record is written, one check asks for no more
// than the RFC allows: 10 terms that cause look-ups, 10 hosts of an MX term, 10 names of an
// address, and 2 look-ups that find nothing.

#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "common/dns/wire.h"
#include "common/loop/task.h"
#include "common/mailauth/dns_source.h"

namespace postern::mailauth {

enum class SpfResult : unsigned char {
  kNone,
  kNeutral,
  kPass,
  kFail,
  kSoftfail,
  kTemperror,
  kPermerror,
};
// "pass", as in Authentication-Results.
[[nodiscard]] std::string_view spf_result_name(SpfResult result);
[[nodiscard]] std::optional<SpfResult> find_spf_result(std::string_view name);

struct SpfLimits {
  unsigned terms = 10;
  unsigned void_look_ups = 2;
  unsigned mx_hosts = 10;
  unsigned ptr_names = 10;
};

struct SpfRequest {
  dns::Address client{};
  std::string helo{};      // what the client said
  std::string sender{};    // the whole address; `postmaster@HELO` for the HELO identity and for <>
  std::string receiver{};  // our name, for %{r}
  std::int64_t now = 0;    // seconds, for %{t}
  SpfLimits limits{};
};

struct SpfVerdict {
  SpfResult result = SpfResult::kNone;
  std::string domain{};       // the one that was judged
  std::string mechanism{};    // the term that matched, "default" without one
  std::string problem{};      // of temperror and permerror
  std::string explanation{};  // of a fail, where the domain has one; printable ASCII
};

// The domain judged is that of the sender; a sender without a local part gets `postmaster`.
[[nodiscard]] loop::Task<SpfVerdict> check_spf(DnsSource& dns, SpfRequest request);

// The value of a Received-SPF field (RFC 7208 9.1), one line: "pass (host: domain of a@b designates
// 192.0.2.1 as permitted sender) receiver=host; identity=mailfrom; client-ip=...".
enum class SpfIdentity : unsigned char { kHelo, kMailFrom };
[[nodiscard]] std::string format_received_spf(const SpfVerdict& verdict, const SpfRequest& request,
                                              SpfIdentity identity);

// What an IPv4 address looks like that came in as IPv6 (::ffff:192.0.2.1).
[[nodiscard]] dns::Address without_mapping(const dns::Address& address);

}  // namespace postern::mailauth
