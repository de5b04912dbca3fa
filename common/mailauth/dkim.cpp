#include "common/mailauth/dkim.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "common/base/encode.h"
#include "common/base/text.h"

namespace postern::mailauth {

namespace {

constexpr std::size_t kSignatureStart = 8;
constexpr std::size_t kLineWidth = 72;

void decide(DkimResult& result, Refusal refusal) {
  result.verdict = refusal.verdict;
  result.problem = std::move(refusal.problem);
}

}  // namespace

DkimVerifier::DkimVerifier(const std::vector<mail::HeaderField>& header, std::int64_t now,
                           DkimLimits limits)
    : header_(header), picker_(header) {
  for (const auto& field : header_) {
    if (!equal_nocase(field.name, "DKIM-Signature")) continue;
    if (candidates_.size() == limits.reported) break;
    Candidate& candidate = candidates_.emplace_back();
    candidate.field = &field;
    read(candidate, now);
    if (candidates_.size() > limits.verified && candidate.result.verdict == Verdict::kNone) {
      decide(candidate.result, {Verdict::kNeutral, "too many signatures"});
    }
  }
}

void DkimVerifier::read(Candidate& candidate, std::int64_t now) const {
  candidate.tags = TagList::parse(candidate.field->body);
  DkimResult& result = candidate.result;
  if (!candidate.tags) {
    decide(result, {Verdict::kPermerror, "bad tag list"});
    return;
  }
  auto refusal = parse_signature(*candidate.tags, SignatureKind::kDkim, candidate.signature);
  const Signature& signature = candidate.signature;
  result.domain = signature.domain;
  result.selector = signature.selector;
  result.identity = signature.identity;
  result.algorithm = to_lower(candidate.tags->value("a").value_or(""));
  result.signature_start =
      without_blanks(candidate.tags->value("b").value_or("")).substr(0, kSignatureStart);
  if (!refusal && signature.length) {
    refusal = Refusal{Verdict::kPolicy, "l= does not cover what may stand behind"};
  }
  if (!refusal && signature.expiry && *signature.expiry < now) {
    refusal = Refusal{Verdict::kFail, "signature has expired"};
  }
  if (refusal) decide(result, *std::move(refusal));
}

void DkimVerifier::plan(BodyHashes& hashes) {
  for (auto& candidate : candidates_) {
    if (candidate.result.verdict != Verdict::kNone) continue;
    candidate.body_hash = hashes.want(candidate.signature.body_canon, candidate.signature.length);
  }
}

loop::Task<std::vector<DkimResult>> DkimVerifier::verify(DnsSource& dns, const BodyHashes& hashes) {
  std::vector<DkimResult> results;
  for (auto& candidate : candidates_) {
    if (candidate.body_hash) co_await judge(dns, hashes, &candidate);
    results.push_back(candidate.result);
  }
  co_return results;
}

loop::Task<void> DkimVerifier::judge(DnsSource& dns, const BodyHashes& hashes,
                                     Candidate* candidate) {
  const Signature& signature = candidate->signature;
  DkimResult& result = candidate->result;
  if (hashes.digest(*candidate->body_hash) != signature.body_hash) {
    decide(result, {Verdict::kFail, "body hash did not verify"});
    co_return;
  }
  Refusal refusal;
  const auto record =
      co_await find_key(dns, signature.selector, signature.domain, signature.algorithm, &refusal);
  if (!record) {
    decide(result, std::move(refusal));
    co_return;
  }
  result.is_testing = record->is_testing;
  const auto [local_part, identity_domain] = split_at_last(signature.identity, '@');
  if (record->is_strict && !equal_nocase(identity_domain, signature.domain)) {
    decide(result, {Verdict::kPermerror, "the key is for its own domain only"});
    co_return;
  }
  const std::string bytes =
      signed_bytes(picker_, signature.signed_fields, signature.header_canon,
                   without_signature(*candidate->field, *candidate->tags, signature.header_canon));
  if (record->key->verify(sha256(bytes), signature.signature)) {
    result.verdict = Verdict::kPass;
  } else {
    decide(result, {Verdict::kFail, "signature did not verify"});
  }
}

std::string signed_bytes(const FieldPicker& picker, const std::vector<std::string>& names,
                         Canon canon, std::string_view own_field) {
  std::string bytes;
  for (const auto* field : picker.pick(names)) {
    append_canonical_field(bytes, *field, canon);
    bytes += "\r\n";
  }
  bytes += own_field;
  return bytes;
}

const std::vector<std::string>& default_signed_fields() {
  static const std::vector<std::string> fields = {"from",
                                                  "reply-to",
                                                  "subject",
                                                  "date",
                                                  "to",
                                                  "cc",
                                                  "sender",
                                                  "message-id",
                                                  "in-reply-to",
                                                  "references",
                                                  "mime-version",
                                                  "content-type",
                                                  "content-transfer-encoding",
                                                  "content-id",
                                                  "content-description",
                                                  "resent-date",
                                                  "resent-from",
                                                  "resent-sender",
                                                  "resent-to",
                                                  "resent-cc",
                                                  "resent-message-id",
                                                  "list-id",
                                                  "list-help",
                                                  "list-unsubscribe",
                                                  "list-unsubscribe-post",
                                                  "list-subscribe",
                                                  "list-post",
                                                  "list-owner",
                                                  "list-archive"};
  return fields;
}

std::vector<std::string> names_to_sign(const std::vector<mail::HeaderField>& header,
                                       const std::vector<std::string>& fields,
                                       const std::vector<std::string>& oversigned) {
  constexpr std::size_t kMost = 400;  // as many as are verified, with room
  std::map<std::string, std::size_t> counts;
  for (const auto& field : header) ++counts[to_lower(field.name)];
  std::vector<std::string> names;
  const auto add = [&](const std::string& name, std::size_t count) {
    for (std::size_t i = 0; i < count && names.size() < kMost; ++i) names.push_back(to_lower(name));
  };
  for (const auto& name : fields) {
    const auto count = counts.find(to_lower(name));
    if (count != counts.end()) add(name, std::exchange(count->second, 0));
  }
  // What is oversigned but no field to be signed is signed as often as it is there, too.
  for (const auto& name : oversigned) {
    const auto count = counts.find(to_lower(name));
    if (count != counts.end()) add(name, std::exchange(count->second, 0));
    add(name, 1);
  }
  return names;
}

DkimSignature::DkimSignature(const std::vector<mail::HeaderField>& header, DkimSigning how)
    : header_(header), how_(std::move(how)) {}

void DkimSignature::plan(BodyHashes& hashes) { body_hash_ = hashes.want(how_.body_canon); }

loop::Task<Result<std::string>> DkimSignature::sign(Signer& signer, const BodyHashes& hashes) {
  const auto names = names_to_sign(header_, how_.fields, how_.oversigned);
  const auto canon_name = [](Canon canon) {
    return canon == Canon::kSimple ? "simple" : "relaxed";
  };
  std::string field = fmt::format("DKIM-Signature: v=1; a={}; c={}/{};\n\td={}; s={};",
                                  algorithm_name(how_.algorithm), canon_name(how_.header_canon),
                                  canon_name(how_.body_canon), how_.domain, how_.selector);
  field += fmt::format(" t={};", how_.now);
  if (how_.lifetime) field += fmt::format(" x={};", how_.now + how_.lifetime->count());
  if (!how_.identity.empty()) field += fmt::format("\n\ti={};", how_.identity);
  field += fmt::format("\n\tbh={};\n\th={};\n\tb=", base64_encode(hashes.digest(body_hash_)),
                       fold_names(names));
  const auto own = mail::parse_field(field);
  const FieldPicker picker(header_);
  std::string own_bytes;
  append_canonical_field(own_bytes, *own, how_.header_canon);
  const std::string bytes = signed_bytes(picker, names, how_.header_canon, own_bytes);
  CO_TRY(const std::string signature, co_await signer.sign(how_.key, how_.algorithm, bytes));
  co_return field + fold_base64(signature);
}

std::string fold_base64(std::string_view bytes) {
  const std::string text = base64_encode(bytes);
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += kLineWidth) {
    if (at > 0) out += "\n\t ";
    out += std::string_view(text).substr(at, kLineWidth);
  }
  return out;
}

std::string fold_names(const std::vector<std::string>& names) {
  std::string out;
  std::size_t column = 0;
  for (const auto& name : names) {
    if (!out.empty()) {
      out += ':';
      ++column;
      if (column + name.size() > kLineWidth) {
        out += "\n\t ";
        column = 0;
      }
    }
    out += name;
    column += name.size();
  }
  return out;
}

}  // namespace postern::mailauth
