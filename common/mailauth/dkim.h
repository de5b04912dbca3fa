// dkim.h - DKIM signatures (RFC 6376, 8301, 8463): verified and made.
//
// Both read the header first, say which hashes of the body they need, and end when the body was
// read. What never passes, whatever its signature: l= (somebody may have added text behind), SHA-1,
// keys under 1024 bits, a From that is not signed. Trouble in DNS is temperror.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/mailauth/signature.h"

namespace postern::mailauth {

struct DkimResult {
  Verdict verdict = Verdict::kNone;
  std::string problem{};
  std::string domain{};
  std::string selector{};
  std::string identity{};
  std::string algorithm{};        // as in a=
  std::string signature_start{};  // of b=, enough to tell signatures apart (RFC 6008)
  bool is_testing = false;
};

struct DkimLimits {
  std::size_t verified = 10;  // signatures that are verified; the others are neutral
  std::size_t reported = 50;  // signatures that get a result at all
};

class DkimVerifier {
 public:
  // `header` stays where it is until verify() has ended. `now` in seconds.
  DkimVerifier(const std::vector<mail::HeaderField>& header, std::int64_t now,
               DkimLimits limits = {});

  void plan(BodyHashes& hashes);
  // After hashes.finish(): a result for each signature, from the top of the header.
  [[nodiscard]] loop::Task<std::vector<DkimResult>> verify(DnsSource& dns,
                                                           const BodyHashes& hashes);

  [[nodiscard]] bool has_signatures() const { return !candidates_.empty(); }

 private:
  struct Candidate {
    const mail::HeaderField* field = nullptr;
    std::optional<TagList> tags{};
    Signature signature{};
    std::optional<std::size_t> body_hash{};  // planned
    DkimResult result{};                     // kNone: not decided yet
  };
  void read(Candidate& candidate, std::int64_t now) const;
  [[nodiscard]] loop::Task<void> judge(DnsSource& dns, const BodyHashes& hashes,
                                       Candidate* candidate);

  const std::vector<mail::HeaderField>& header_;
  FieldPicker picker_;
  std::vector<Candidate> candidates_;
};

// The bytes that a DKIM or ARC message signature signs: the fields of h=, then the signature's own
// with b= empty.
[[nodiscard]] std::string signed_bytes(const FieldPicker& picker,
                                       const std::vector<std::string>& names, Canon canon,
                                       std::string_view own_field);

// --- signing ---

// Signs with a key that it knows by a name; the keyring in a daemon.
class Signer {
 public:
  Signer() = default;
  Signer(const Signer&) = delete;
  Signer& operator=(const Signer&) = delete;
  virtual ~Signer() = default;
  // The signature over the SHA-256 digest of `bytes`.
  [[nodiscard]] virtual loop::Task<Result<std::string>> sign(std::string key,
                                                             SignAlgorithm algorithm,
                                                             std::string bytes) = 0;
};

struct DkimSigning {
  SignAlgorithm algorithm = SignAlgorithm::kRsaSha256;
  std::string domain{};
  std::string selector{};
  std::string identity{};  // i=; empty: none is written
  std::string key{};       // for the Signer
  Canon header_canon = Canon::kRelaxed;
  Canon body_canon = Canon::kSimple;
  std::vector<std::string> fields{};      // signed where they are there, all of them
  std::vector<std::string> oversigned{};  // and once more, so that none can be added
  std::int64_t now = 0;
  std::optional<std::chrono::seconds> lifetime{};  // x=
};

// The fields that make up what a reader sees (RFC 6376 5.4.1), without those that change on the
// way.
[[nodiscard]] const std::vector<std::string>& default_signed_fields();

// h= of a header: each field of `fields` as often as it is there, each of `oversigned` once more.
[[nodiscard]] std::vector<std::string> names_to_sign(const std::vector<mail::HeaderField>& header,
                                                     const std::vector<std::string>& fields,
                                                     const std::vector<std::string>& oversigned);

class DkimSignature {
 public:
  // `header` stays where it is until sign() has ended.
  DkimSignature(const std::vector<mail::HeaderField>& header, DkimSigning how);
  void plan(BodyHashes& hashes);
  // The field "DKIM-Signature: ...", folded, with LF between its lines and none at the end.
  [[nodiscard]] loop::Task<Result<std::string>> sign(Signer& signer, const BodyHashes& hashes);

 private:
  const std::vector<mail::HeaderField>& header_;
  DkimSigning how_;
  std::size_t body_hash_ = 0;
};

// Base64 in lines that fit below a field's name, and lists of names between colons.
[[nodiscard]] std::string fold_base64(std::string_view bytes);
[[nodiscard]] std::string fold_names(const std::vector<std::string>& names);

}  // namespace postern::mailauth
