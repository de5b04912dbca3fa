// arc.h - what happened to a message at the hosts that forwarded it (RFC 8617): verified, and
// sealed by us.
//
// A chain passes when its sets are complete, the newest message signature and every seal verify,
// and each said that the chain was good when it was added.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/mailauth/dkim.h"

namespace postern::mailauth {

struct ArcVerdict {
  Verdict verdict = Verdict::kNone;  // none, pass, fail or temperror
  std::string problem{};
  unsigned instance = 0;               // of the newest set
  bool can_be_sealed = true;           // not behind a chain that is beyond repair
  std::vector<std::string> sealers{};  // d= of the seals, oldest first, when it passed
  std::vector<std::string> results{};  // values of ARC-Authentication-Results, oldest first
};

class ArcVerifier {
 public:
  // `header` stays where it is until verify() has ended.
  explicit ArcVerifier(const std::vector<mail::HeaderField>& header);

  void plan(BodyHashes& hashes);
  [[nodiscard]] loop::Task<ArcVerdict> verify(DnsSource& dns, const BodyHashes& hashes);

  [[nodiscard]] bool has_sets() const { return !sets_.empty() || !problem_.empty(); }

 private:
  static constexpr unsigned kMaxInstance = 50;  // RFC 8617 4.2.1

  struct Part {
    const mail::HeaderField* field = nullptr;
    std::optional<TagList> tags{};
    Signature signature{};
  };
  struct Set {
    Part results, message, seal;
    std::string chain{};  // cv=
  };
  friend class ArcSealing;

  void read(const mail::HeaderField& field);
  void check_sets();
  void refuse(std::string problem);
  [[nodiscard]] std::optional<unsigned> instance_of(const mail::HeaderField& field,
                                                    const std::optional<TagList>& tags) const;

  const std::vector<mail::HeaderField>& header_;
  FieldPicker picker_;
  std::vector<Set> sets_;
  std::string problem_;
  bool is_incomplete_ = false;
  std::optional<std::size_t> body_hash_;
};

// One set of ours on top of the chain.
class ArcSealing {
 public:
  // `results` is the value of our Authentication-Results field, the authserv-id in front. `header`
  // and `verifier` (which has verified) stay where they are until seal() has ended.
  ArcSealing(const std::vector<mail::HeaderField>& header, const ArcVerifier& verifier,
             DkimSigning how, std::string results);
  void plan(BodyHashes& hashes);
  // The three fields, seal first, LF between lines and at the end. Empty where the chain must not
  // grow any more.
  [[nodiscard]] loop::Task<Result<std::string>> seal(Signer& signer, const BodyHashes& hashes,
                                                     ArcVerdict chain);

 private:
  const std::vector<mail::HeaderField>& header_;
  const ArcVerifier& verifier_;
  DkimSigning how_;
  std::string results_;
  std::size_t body_hash_ = 0;
};

}  // namespace postern::mailauth
