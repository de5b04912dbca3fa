// spf_record.h - the text of an SPF record, taken apart (RFC 7208 4.6, 5, 6 and 7). Pure.
//
// A record with one syntax error anywhere is no record: the whole of it is parsed before any of it
// is evaluated. Macros are checked here and expanded when they are needed.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/dns/wire.h"

namespace postern::mailauth {

enum class SpfMechanism : unsigned char {
  kAll,
  kInclude,
  kA,
  kMx,
  kPtr,
  kIp4,
  kIp6,
  kExists,
};

struct SpfTerm {
  SpfMechanism mechanism = SpfMechanism::kAll;
  char qualifier = '+';       // one of + - ~ ?
  std::string domain_spec{};  // empty: the domain itself
  unsigned prefix4 = 32;      // of A, MX and IP4
  unsigned prefix6 = 128;     // of A, MX and IP6
  dns::Address address{};     // of IP4 and IP6
  std::string text{};         // as written, for the administrator

  [[nodiscard]] bool asks_dns() const {
    return mechanism != SpfMechanism::kAll && mechanism != SpfMechanism::kIp4 &&
           mechanism != SpfMechanism::kIp6;
  }
};

struct SpfRecord {
  std::vector<SpfTerm> terms{};
  std::optional<std::string> redirect{};     // a domain-spec
  std::optional<std::string> explanation{};  // a domain-spec
};

// Longer ones are refused, as are records of more terms: no DNS answer of an honest domain is so.
inline constexpr std::size_t kMaxSpfRecord = 16384;
inline constexpr std::size_t kMaxSpfTerms = 1000;

// "v=spf1", alone or with a blank behind it.
[[nodiscard]] bool is_spf_record(std::string_view text);

// kPermanent where the record has an error: the result is permerror.
[[nodiscard]] Result<SpfRecord> parse_spf_record(std::string_view text);

// Whether the first `prefix` bits of two addresses of one family are the same.
[[nodiscard]] bool is_in_network(const dns::Address& address, const dns::Address& network,
                                 unsigned prefix);

// --- macros ---

// `kDomain`: of a domain-spec; c, r and t are errors. `kText`: of an explanation, with blanks.
enum class SpfMacroUse : unsigned char { kDomain, kText };

// One %{...}: the letter in lower case, and what is done to its value.
struct SpfMacro {
  char letter = 0;
  bool is_escaped = false;  // an upper-case letter: URL escaping
  unsigned parts = 0;       // of the right, 0 for all
  bool is_reversed = false;
  std::string delimiters{};
};

// Expands `text`; `value` gives what a letter stands for. kPermanent for a syntax error.
[[nodiscard]] Result<std::string> expand_spf_macros(
    std::string_view text, SpfMacroUse use, const std::function<std::string(char letter)>& value);

// Whether any macro in `text` has this letter (in lower case), or the text a syntax error.
[[nodiscard]] bool spf_text_uses(std::string_view text, char letter);

}  // namespace postern::mailauth
