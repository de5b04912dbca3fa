#include "common/mailauth/arc.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/encode.h"
#include "common/base/number.h"
#include "common/base/text.h"

namespace postern::mailauth {

namespace {

constexpr std::string_view kResults = "ARC-Authentication-Results";
constexpr std::string_view kMessage = "ARC-Message-Signature";
constexpr std::string_view kSeal = "ARC-Seal";

void append_part(std::string& bytes, const mail::HeaderField& field) {
  append_canonical_field(bytes, field, Canon::kRelaxed);
  bytes += "\r\n";
}

}  // namespace

ArcVerifier::ArcVerifier(const std::vector<mail::HeaderField>& header)
    : header_(header), picker_(header) {
  for (const auto& field : header_) read(field);
  if (problem_.empty()) check_sets();
}

void ArcVerifier::refuse(std::string problem) {
  if (problem_.empty()) problem_ = std::move(problem);
}

std::optional<unsigned> ArcVerifier::instance_of(const mail::HeaderField& field,
                                                 const std::optional<TagList>& tags) const {
  std::optional<std::string_view> value;
  if (equal_nocase(field.name, kResults)) {
    const auto [name, number] = split_at_first(split_at_first(field.body, ';').first, '=');
    if (trim(name) == "i") value = trim(number);
  } else if (tags) {
    value = tags->value("i");
  }
  return value ? parse_integer<unsigned>(*value, 1, kMaxInstance) : std::nullopt;
}

void ArcVerifier::read(const mail::HeaderField& field) {
  const bool is_results = equal_nocase(field.name, kResults);
  const bool is_message = equal_nocase(field.name, kMessage);
  const bool is_seal = equal_nocase(field.name, kSeal);
  if (!is_results && !is_message && !is_seal) return;
  Part part;
  part.field = &field;
  if (!is_results) part.tags = TagList::parse(field.body);
  const auto instance = instance_of(field, part.tags);
  if (!instance) {
    is_incomplete_ = true;
    refuse("bad instance");
    return;
  }
  if (sets_.size() < *instance) sets_.resize(*instance);
  Set& set = sets_[*instance - 1];
  Part& place = is_results ? set.results : is_message ? set.message : set.seal;
  if (place.field != nullptr) {
    is_incomplete_ = true;
    refuse(fmt::format("two fields of a kind in set {}", *instance));
    return;
  }
  place = std::move(part);
}

void ArcVerifier::check_sets() {
  for (std::size_t i = 0; i < sets_.size(); ++i) {
    Set& set = sets_[i];
    if (set.results.field == nullptr || set.message.field == nullptr || set.seal.field == nullptr) {
      is_incomplete_ = true;
      refuse(fmt::format("set {} is incomplete", i + 1));
      return;
    }
    set.chain = to_lower(set.seal.tags->value("cv").value_or(""));
    if (set.seal.tags->has("h")) refuse("a seal has h=");
    if (auto bad = parse_signature(*set.seal.tags, SignatureKind::kArcSeal, set.seal.signature)) {
      refuse(fmt::format("seal {}: {}", i + 1, bad->problem));
    }
    if (set.chain != (i == 0 ? "none" : "pass"))
      refuse(fmt::format("cv={} in seal {}", set.chain, i + 1));
  }
  if (sets_.empty()) return;
  Part& newest = sets_.back().message;
  if (auto bad = parse_signature(*newest.tags, SignatureKind::kArcMessage, newest.signature)) {
    refuse("message signature: " + bad->problem);
  } else if (newest.signature.length) {
    refuse("message signature: l= does not cover what may stand behind");
  }
}

void ArcVerifier::plan(BodyHashes& hashes) {
  if (sets_.empty() || !problem_.empty()) return;
  body_hash_ = hashes.want(sets_.back().message.signature.body_canon);
}

loop::Task<ArcVerdict> ArcVerifier::verify(DnsSource& dns, const BodyHashes& hashes) {
  ArcVerdict verdict;
  verdict.instance = static_cast<unsigned>(sets_.size());
  // A chain that somebody declared broken stays so (RFC 8617 5.1): nothing is added.
  verdict.can_be_sealed = !is_incomplete_ && sets_.size() < kMaxInstance &&
                          (sets_.empty() || sets_.back().chain != "fail");
  if (!has_sets()) co_return verdict;
  verdict.verdict = Verdict::kFail;
  verdict.problem = problem_;
  if (!problem_.empty()) co_return verdict;
  const Part& newest = sets_.back().message;
  if (hashes.digest(*body_hash_) != newest.signature.body_hash) {
    verdict.problem = "body hash did not verify";
    co_return verdict;
  }
  const auto accept = [&verdict](const Refusal& refusal) {
    if (refusal.verdict == Verdict::kTemperror) verdict.verdict = Verdict::kTemperror;
    verdict.problem = refusal.problem;
  };
  Refusal refusal;
  const auto key = co_await find_key(dns, newest.signature.selector, newest.signature.domain,
                                     newest.signature.algorithm, &refusal);
  if (!key) {
    accept(refusal);
    co_return verdict;
  }
  const std::string bytes =
      signed_bytes(picker_, newest.signature.signed_fields, newest.signature.header_canon,
                   without_signature(*newest.field, *newest.tags, newest.signature.header_canon));
  if (!key->key->verify(sha256(bytes), newest.signature.signature)) {
    verdict.problem = "message signature did not verify";
    co_return verdict;
  }
  std::string chain;
  for (std::size_t i = 0; i < sets_.size(); ++i) {
    const Set& set = sets_[i];
    append_part(chain, *set.results.field);
    append_part(chain, *set.message.field);
    const Part& seal = set.seal;
    const auto seal_key = co_await find_key(dns, seal.signature.selector, seal.signature.domain,
                                            seal.signature.algorithm, &refusal);
    if (!seal_key) {
      accept(refusal);
      co_return verdict;
    }
    Sha256 hash;
    hash.append(chain);
    hash.append(without_signature(*seal.field, *seal.tags, Canon::kRelaxed));
    if (!seal_key->key->verify(hash.finish(), seal.signature.signature)) {
      verdict.problem = fmt::format("seal {} did not verify", i + 1);
      co_return verdict;
    }
    append_part(chain, *seal.field);
  }
  verdict.verdict = Verdict::kPass;
  for (const auto& set : sets_) {
    verdict.sealers.push_back(set.seal.signature.domain);
    verdict.results.emplace_back(trim(split_at_first(set.results.field->body, ';').second));
  }
  co_return verdict;
}

ArcSealing::ArcSealing(const std::vector<mail::HeaderField>& header, const ArcVerifier& verifier,
                       DkimSigning how, std::string results)
    : header_(header), verifier_(verifier), how_(std::move(how)), results_(std::move(results)) {}

void ArcSealing::plan(BodyHashes& hashes) { body_hash_ = hashes.want(Canon::kRelaxed); }

loop::Task<Result<std::string>> ArcSealing::seal(Signer& signer, const BodyHashes& hashes,
                                                 ArcVerdict chain) {
  // What could not be evaluated now may be good for the next host.
  if (!chain.can_be_sealed || chain.verdict == Verdict::kTemperror) co_return std::string();
  const unsigned instance = chain.instance + 1;
  const std::string results = fmt::format("{}: i={}; {}", kResults, instance, results_);

  std::vector<std::string> fields = how_.fields;
  fields.emplace_back("dkim-signature");
  std::erase_if(fields, [](const std::string& name) {
    return starts_with_nocase(name, "arc-") || equal_nocase(name, "authentication-results");
  });
  const auto names = names_to_sign(header_, fields, how_.oversigned);
  std::string message = fmt::format(
      "{}: i={}; a={}; c=relaxed/relaxed;\n\td={}; s={}; t={};\n\tbh={};\n\th={};\n\tb=", kMessage,
      instance, algorithm_name(how_.algorithm), how_.domain, how_.selector, how_.now,
      base64_encode(hashes.digest(body_hash_)), fold_names(names));
  const FieldPicker picker(header_);
  std::string own;
  append_canonical_field(own, kMessage, message, Canon::kRelaxed);
  const std::string message_bytes = signed_bytes(picker, names, Canon::kRelaxed, own);
  CO_TRY(const std::string message_signature,
         co_await signer.sign(how_.key, how_.algorithm, message_bytes));
  message += fold_base64(message_signature);

  const bool is_broken = chain.verdict != Verdict::kPass && chain.verdict != Verdict::kNone;
  const std::string_view status = is_broken ? "fail" : instance == 1 ? "none" : "pass";
  std::string seal =
      fmt::format("{}: i={}; a={}; t={}; cv={};\n\td={}; s={};\n\tb=", kSeal, instance,
                  algorithm_name(how_.algorithm), how_.now, status, how_.domain, how_.selector);
  std::string bytes;
  // A broken chain is not vouched for: such a seal covers its own set only (RFC 8617 5.1.2).
  if (!is_broken) {
    for (const auto& set : verifier_.sets_) {
      append_part(bytes, *set.results.field);
      append_part(bytes, *set.message.field);
      append_part(bytes, *set.seal.field);
    }
  }
  append_canonical_field(bytes, kResults, results, Canon::kRelaxed);
  bytes += "\r\n";
  append_canonical_field(bytes, kMessage, message, Canon::kRelaxed);
  bytes += "\r\n";
  append_canonical_field(bytes, kSeal, seal, Canon::kRelaxed);
  CO_TRY(const std::string signature, co_await signer.sign(how_.key, how_.algorithm, bytes));
  seal += fold_base64(signature);
  co_return fmt::format("{}\n{}\n{}\n", seal, message, results);
}

}  // namespace postern::mailauth
