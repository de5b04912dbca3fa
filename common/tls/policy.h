// policy.h - what the TLS parameters of main.cf mean, in the spellings that postconf(5) has had.
//
// Pure: texts in, values out. context.h and session.h take the values.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace postern::tls {

// A range of protocol versions with holes, in OpenSSL's terms.
struct Protocols {
  int lowest = 0;               // TLS1_VERSION and the like; 0: the library's own
  int highest = 0;              // the same
  std::uint64_t forbidden = 0;  // SSL_OP_NO_TLSv1_1 and the like: what an old list leaves out

  [[nodiscard]] bool allows(int version) const;
  friend bool operator==(const Protocols&, const Protocols&) = default;
};

// ">=TLSv1.2", "<=TLSv1.2", ">=0303", "!SSLv2, !SSLv3", "TLSv1.2 TLSv1.3" (only these), or several
// of them, parted by white space, commas or colons. SSLv2 is never spoken. Words that nobody knows
// and lists that leave nothing are a kConfig error.
[[nodiscard]] Result<Protocols> parse_protocols(std::string_view text);

// The tls_*_cipherlist parameters.
struct CipherLists {
  std::string high;
  std::string medium;
  std::string low;
  std::string export_grade;
  std::string null;
};

// OpenSSL's cipher string for a grade ("export", "low", "medium", "high", "null") without what the
// exclusions name: each is an OpenSSL cipher or type, several joined by "+" mean those that are all
// of these. Error: an unknown grade, or an exclusion with characters that no cipher name has.
[[nodiscard]] Result<std::string> cipher_string(const CipherLists& lists, std::string_view grade,
                                                std::span<const std::string> exclusions);

// tls_ssl_options: names ("NO_RENEGOTIATION") or a number in hexadecimal, as bits to set.
[[nodiscard]] Result<std::uint64_t> parse_ssl_options(std::span<const std::string> words);
// tls_disable_workarounds: names or a number, as bits of SSL_OP_ALL to leave unset. A name that
// this OpenSSL does not have any more is no error: there is nothing to switch off.
[[nodiscard]] Result<std::uint64_t> parse_workarounds(std::span<const std::string> words);

// Which of the names this OpenSSL can use for key exchange, in the order given, joined by ":".
[[nodiscard]] std::string usable_groups(std::span<const std::string> names);

// Whether a certificate for `presented` (a dNSName, or a CN) is one for what is wanted: a host name
// or, with a leading dot, any name below that domain. "*.example.com" as presented stands for one
// label, or with `wildcard_spans_labels` for one or more (tls_wildcard_matches_multiple_labels).
[[nodiscard]] bool matches_name(std::string_view wanted, std::string_view presented,
                                bool wildcard_spans_labels);

// Names of digests as smtpd_tls_fingerprint_digest takes them: what OpenSSL has.
[[nodiscard]] bool is_known_digest(std::string_view name);

}  // namespace postern::tls
