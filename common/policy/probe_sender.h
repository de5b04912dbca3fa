// probe_sender.h - the sender of address verification probes, which may change with time
// (postconf(5) address_verify_sender, address_verify_sender_ttl). Pure.
//
// With a time to live the local part ends in the number of the period: an address that spammers
// have found is soon nobody's. The period before counts, too: answers come late.

#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace postern::policy {

// `sender` with what the time adds to its local part; "" and "<>" stay empty.
[[nodiscard]] std::string probe_sender(std::string_view sender, std::chrono::seconds ttl,
                                       std::int64_t now);

// Whether an address, or its local part alone where `sender` is one, is that of a probe.
[[nodiscard]] bool is_probe_sender(std::string_view address, std::string_view sender,
                                   std::chrono::seconds ttl, std::int64_t now);

}  // namespace postern::policy
