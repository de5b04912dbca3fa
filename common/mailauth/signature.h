// signature.h - what DKIM-Signature and ARC-Message-Signature share: the tags, the key record, and
// the bytes that are hashed (RFC 6376 3.5 to 3.7). Pure.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/keyed_hash.h"
#include "common/base/result.h"
#include "common/mail/header.h"
#include "common/mailauth/canonical.h"
#include "common/mailauth/crypto.h"
#include "common/mailauth/dns_source.h"
#include "common/mailauth/tag_list.h"
#include "common/mailauth/verdict.h"

namespace postern::mailauth {

struct Signature {
  SignAlgorithm algorithm = SignAlgorithm::kRsaSha256;
  std::string domain{};  // lower case
  std::string selector{};
  std::string identity{};   // i=, or @domain
  std::string signature{};  // bytes
  std::string body_hash{};  // bytes
  Canon header_canon = Canon::kSimple;
  Canon body_canon = Canon::kSimple;
  std::optional<std::uint64_t> length{};
  std::vector<std::string> signed_fields{};  // lower case, in order
  std::optional<std::int64_t> timestamp{};
  std::optional<std::int64_t> expiry{};
};

// Why a signature does not count, and as what.
struct Refusal {
  Verdict verdict = Verdict::kPermerror;
  std::string problem{};
};

enum class SignatureKind : unsigned char { kDkim, kArcMessage, kArcSeal };

// What is in the tags of one signature; `seen` is filled with as much as could be read, whatever
// comes out. For a seal there is neither body hash nor h=.
[[nodiscard]] std::optional<Refusal> parse_signature(const TagList& tags, SignatureKind kind,
                                                     Signature& seen);

// The field as it is hashed for itself: with b= empty, in canonical form, without CRLF.
[[nodiscard]] std::string without_signature(const mail::HeaderField& field, const TagList& tags,
                                            Canon canon);

// Finds the fields that h= names: from the bottom up, each only once.
class FieldPicker {
 public:
  explicit FieldPicker(const std::vector<mail::HeaderField>& header);

  // The fields for `names`, in that order; those that are not there are left out.
  [[nodiscard]] std::vector<const mail::HeaderField*> pick(
      const std::vector<std::string>& names) const;

 private:
  StringMap<std::vector<const mail::HeaderField*>> fields_;
};

// --- keys ---

struct KeyRecord {
  std::optional<PublicKey> key{};
  bool is_testing = false;  // t=y
  bool is_strict = false;   // t=s: i= must have d= as its domain
};

// nullopt and `refusal` where the record does not fit the algorithm or says that the key is gone.
[[nodiscard]] std::optional<KeyRecord> parse_key_record(std::string_view text,
                                                        SignAlgorithm algorithm, Refusal& refusal);

// The key of selector._domainkey.domain, or why there is none. Keys below 1024 bits are refused
// (RFC 8301 3.2), and such as would take too long.
[[nodiscard]] loop::Task<std::optional<KeyRecord>> find_key(DnsSource& dns, std::string selector,
                                                            std::string domain,
                                                            SignAlgorithm algorithm,
                                                            Refusal* refusal);

inline constexpr unsigned kMinKeyBits = 1024;
inline constexpr unsigned kMaxKeyBits = 8192;

}  // namespace postern::mailauth
