#include "common/mailauth/signature.h"

#include <algorithm>

#include "common/base/encode.h"
#include "common/base/keyed_hash.h"
#include "common/base/number.h"
#include "common/base/text.h"
#include "common/mail/idna.h"

namespace postern::mailauth {

namespace {

constexpr std::size_t kMaxSignedFields = 500;

Refusal permanent(std::string problem) { return {Verdict::kPermerror, std::move(problem)}; }

std::string a_labels_of(const std::string& name) { return mail::to_a_labels(name).value_or(name); }

bool is_same_or_below(std::string_view name, std::string_view domain) {
  if (!ends_with_nocase(name, domain)) return false;
  return name.size() == domain.size() || name[name.size() - domain.size() - 1] == '.';
}

std::optional<Canon> parse_canon(std::string_view name) {
  if (name == "simple") return Canon::kSimple;
  if (name == "relaxed") return Canon::kRelaxed;
  return std::nullopt;
}

bool parse_canons(std::string_view value, Signature& out) {
  const auto [header, body] = split_at_first(value, '/');
  const auto header_canon = parse_canon(header);
  const auto body_canon =
      body.data() == nullptr || body.empty() ? Canon::kSimple : parse_canon(body);
  if (!header_canon || !body_canon) return false;
  if (value.ends_with('/')) return false;
  out.header_canon = *header_canon;
  out.body_canon = *body_canon;
  return true;
}

// A tag that is a number, absent or wrong.
bool take_number(const TagList& tags, std::string_view name, std::optional<std::int64_t>& out) {
  const auto value = tags.value(name);
  if (!value) return true;
  out = parse_integer<std::int64_t>(*value, 0);
  return out.has_value();
}

std::optional<Refusal> parse_algorithm(const TagList& tags, Signature& out) {
  const auto algorithm = tags.value("a");
  if (!algorithm) return permanent("no a= tag");
  if (equal_nocase(*algorithm, "rsa-sha256")) {
    out.algorithm = SignAlgorithm::kRsaSha256;
  } else if (equal_nocase(*algorithm, "ed25519-sha256")) {
    out.algorithm = SignAlgorithm::kEd25519Sha256;
  } else if (equal_nocase(*algorithm, "rsa-sha1")) {
    return permanent("rsa-sha1 is not accepted");  // RFC 8301 3.1
  } else {
    return permanent("unknown algorithm");
  }
  return std::nullopt;
}

// What covers the message: bh=, h=, l=, c=.
std::optional<Refusal> parse_coverage(const TagList& tags, SignatureKind kind, Signature& out) {
  if (const auto canon = tags.value("c"); canon && !parse_canons(*canon, out)) {
    return permanent("unknown canonicalization");
  }
  if (const auto length = tags.value("l")) {
    out.length = parse_integer<std::uint64_t>(*length);
    if (!out.length) return permanent("bad l= tag");
  }
  const auto hash = tags.value("bh");
  const auto bytes = hash ? base64_decode_folded(*hash) : std::nullopt;
  constexpr std::size_t kSha256Size = 32;
  if (!bytes || bytes->size() != kSha256Size) return permanent("bad bh= tag");
  out.body_hash = *bytes;
  const auto fields = tags.value("h");
  if (!fields) return permanent("no h= tag");
  for (const std::string_view name : split_colons(*fields)) {
    if (name.empty()) return permanent("bad h= tag");
    if (out.signed_fields.size() == kMaxSignedFields) return permanent("too many fields in h=");
    out.signed_fields.push_back(to_lower(name));
  }
  const auto has = [&](std::string_view name) {
    return std::ranges::find(out.signed_fields, name) != out.signed_fields.end();
  };
  if (!has("from")) return permanent("From is not signed");
  if (kind == SignatureKind::kArcMessage && has("arc-seal")) {
    return permanent("ARC-Seal is signed");
  }
  return std::nullopt;
}

std::optional<Refusal> parse_dkim_only(const TagList& tags, Signature& out) {
  const auto version = tags.value("v");
  if (!version) return permanent("no v= tag");
  if (*version != "1") return permanent("unknown version");
  out.identity = tags.value("i") ? without_blanks(*tags.value("i")) : "@" + out.domain;
  const std::string identity = mail::with_a_labels(out.identity);
  const auto [local_part, domain] = split_at_last(identity, '@');
  if (identity.find('@') == std::string::npos || !is_same_or_below(domain, out.domain)) {
    return permanent("i= is not within d=");
  }
  if (const auto query = tags.value("q")) {
    const auto methods = split_colons(*query);
    if (std::ranges::find(methods, "dns/txt") == methods.end()) {
      return permanent("unknown query method");
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<Refusal> parse_signature(const TagList& tags, SignatureKind kind, Signature& seen) {
  const auto domain = tags.value("d");
  const auto selector = tags.value("s");
  // RFC 8616 3: d= and s= may have U-labels, DNS has none.
  if (domain) seen.domain = a_labels_of(without_blanks(*domain));
  if (selector) {
    seen.selector = without_blanks(*selector);
    if (!is_all_ascii(seen.selector)) seen.selector = a_labels_of(seen.selector);
  }
  if (auto refusal = parse_algorithm(tags, seen)) return refusal;
  if (!is_query_name(seen.domain) || seen.domain.find('.') == std::string::npos) {
    return permanent("bad d= tag");
  }
  if (!is_query_name(seen.selector) || seen.selector.ends_with('.')) return permanent("bad s= tag");
  const auto signature = tags.value("b");
  const auto bytes = signature ? base64_decode_folded(*signature) : std::nullopt;
  if (!bytes || bytes->empty()) return permanent("bad b= tag");
  seen.signature = *bytes;
  if (!take_number(tags, "t", seen.timestamp)) return permanent("bad t= tag");
  if (!take_number(tags, "x", seen.expiry)) return permanent("bad x= tag");
  if (seen.expiry && seen.timestamp && *seen.expiry < *seen.timestamp) {
    return permanent("x= is before t=");
  }
  if (kind == SignatureKind::kDkim) {
    if (auto refusal = parse_dkim_only(tags, seen)) return refusal;
  }
  if (kind == SignatureKind::kArcSeal) {
    seen.header_canon = Canon::kRelaxed;
    return std::nullopt;
  }
  return parse_coverage(tags, kind, seen);
}

std::string without_signature(const mail::HeaderField& field, const TagList& tags, Canon canon) {
  std::string raw(field.raw);
  if (const Tag* tag = tags.find("b"); tag != nullptr) {
    const auto at = static_cast<std::size_t>(tag->whole.data() - field.raw.data());
    raw.erase(at, tag->whole.size());
  }
  std::string out;
  append_canonical_field(out, field.name, raw, canon);
  return out;
}

FieldPicker::FieldPicker(const std::vector<mail::HeaderField>& header) {
  for (const auto& field : header) fields_[to_lower(field.name)].push_back(&field);
}

std::vector<const mail::HeaderField*> FieldPicker::pick(
    const std::vector<std::string>& names) const {
  StringViewMap<std::size_t> taken;
  std::vector<const mail::HeaderField*> picked;
  for (const auto& name : names) {
    const auto found = fields_.find(name);
    if (found == fields_.end()) continue;
    const auto& all = found->second;
    std::size_t& count = taken[name];
    if (count < all.size()) picked.push_back(all[all.size() - ++count]);
  }
  return picked;
}

std::optional<KeyRecord> parse_key_record(std::string_view text, SignAlgorithm algorithm,
                                          Refusal& refusal) {
  const auto refuse = [&refusal](std::string_view why) {
    refusal = permanent(std::string(why));
    return std::nullopt;
  };
  const auto tags = TagList::parse(text);
  if (!tags) return refuse("bad key record");
  // v= may be missing; where it stands, it stands first.
  if (const Tag* version = tags->find("v");
      version != nullptr && (version != tags->tags().data() || version->value != "DKIM1")) {
    return refuse("unknown version of the key record");
  }
  const bool is_rsa = algorithm == SignAlgorithm::kRsaSha256;
  if (!equal_nocase(tags->value("k").value_or("rsa"), is_rsa ? "rsa" : "ed25519")) {
    return refuse("the key is of another type");
  }
  if (const auto hashes = tags->value("h")) {
    const auto names = split_colons(*hashes);
    if (std::ranges::find(names, "sha256") == names.end()) {
      return refuse("the key is for another hash");
    }
  }
  if (const auto services = tags->value("s")) {
    const auto names = split_colons(*services);
    const bool is_mail = std::ranges::any_of(
        names, [](std::string_view name) { return name == "*" || name == "email"; });
    if (!is_mail) return refuse("the key is for another service");
  }
  const auto key = tags->value("p");
  if (!key) return refuse("no key in the record");
  if (key->empty()) return refuse("the key is revoked");
  const auto bytes = base64_decode_folded(*key);
  if (!bytes) return refuse("bad key");
  KeyRecord record;
  record.key = PublicKey::parse(algorithm, *bytes);
  if (!record.key) return refuse("bad key");
  if (is_rsa && record.key->bits() < kMinKeyBits) return refuse("the key is too short");
  if (is_rsa && record.key->bits() > kMaxKeyBits) return refuse("the key is too long");
  for (const std::string_view flag : split_colons(tags->value("t").value_or(""))) {
    if (flag == "y") record.is_testing = true;
    if (flag == "s") record.is_strict = true;
  }
  return record;
}

loop::Task<std::optional<KeyRecord>> find_key(DnsSource& dns, std::string selector,
                                              std::string domain, SignAlgorithm algorithm,
                                              Refusal* refusal) {
  const std::string name = selector + "._domainkey." + domain;
  if (!is_query_name(name)) {
    *refusal = permanent("the key's name is too long");
    co_return std::nullopt;
  }
  const DnsAnswer answer = co_await dns.look_up(name, dns::RecordType::kTxt);
  if (answer.status == DnsStatus::kTemporary) {
    *refusal = {Verdict::kTemperror, "no answer for the key"};
    co_return std::nullopt;
  }
  if (answer.records.empty()) {
    *refusal = permanent("no key");
    co_return std::nullopt;
  }
  // Of several records the first that is a key is taken (RFC 6376 3.6.2.2: undefined).
  constexpr std::size_t kMaxRecords = 5;
  std::optional<KeyRecord> record;
  for (std::size_t i = 0; i < answer.records.size() && i < kMaxRecords && !record; ++i) {
    record = parse_key_record(answer.records[i], algorithm, *refusal);
  }
  co_return record;
}

}  // namespace postern::mailauth
