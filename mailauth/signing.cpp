#include "mailauth/signing.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/mailauth/content.h"
#include "common/mailauth/dmarc.h"
#include "common/mailauth/tag_list.h"

namespace postern::mailauthd {

namespace {

using namespace mailauth;
using ipc::keyring::Purpose;
using ipc::mailauth::Wanted;

// RFC 8446 4.2.3
constexpr std::int64_t kRsaPkcs1Sha256 = 0x0401;
constexpr std::int64_t kEd25519 = 0x0807;

constexpr std::size_t kMaxSignatures = 10;

// The keyring, for one purpose. Keys go by their ids.
class KeyringSigner final : public Signer {
 public:
  KeyringSigner(ipc::Client& keyring, Purpose purpose, loop::Deadline deadline)
      : keyring_(keyring), purpose_(purpose), deadline_(deadline) {}

  loop::Task<Result<std::string>> sign(std::string key, SignAlgorithm algorithm,
                                       std::string bytes) override {
    ipc::keyring::Sign request;
    request.key = std::move(key);
    request.scheme = algorithm == SignAlgorithm::kRsaSha256 ? kRsaPkcs1Sha256 : kEd25519;
    request.purpose = purpose_;
    request.bytes = std::move(bytes);
    CO_TRY(auto answer, co_await keyring_.call(std::move(request), deadline_));
    co_return std::move(answer.signature);
  }

 private:
  ipc::Client& keyring_;
  Purpose purpose_;
  loop::Deadline deadline_;
};

// The address that the message says it is from; empty where it does not say it plainly.
std::string author_of(const std::vector<mail::HeaderField>& header) {
  std::string author;
  for (const auto& field : header) {
    if (!equal_nocase(field.name, "From")) continue;
    const auto addresses = mail::AddressList::parse(field.body).addresses();
    if (!author.empty() || addresses.empty()) return "";
    author = mail::unquote_address(addresses.front());
  }
  return mail::split_address(author).has_domain ? author : "";
}

bool is_signed_by(const std::vector<mail::HeaderField>& header, const config::DkimKey& key) {
  return std::ranges::any_of(header, [&](const mail::HeaderField& field) {
    if (!equal_nocase(field.name, "DKIM-Signature")) return false;
    const auto tags = TagList::parse(field.body);
    return tags && equal_nocase(tags->value("d").value_or(""), key.domain) &&
           tags->value("s").value_or("") == key.selector;
  });
}

// "*@example.org", ".example.org", "example.org": the domain behind a pattern, else the author's.
std::string domain_of(std::string_view pattern, std::string_view author_domain) {
  if (const auto at = pattern.rfind('@'); at != std::string_view::npos)
    pattern.remove_prefix(at + 1);
  if (pattern.starts_with('.')) pattern.remove_prefix(1);
  const bool is_domain = mail::is_valid_hostname(pattern);
  return is_domain ? std::string(pattern) : to_lower(author_domain);
}

// The header with its lines broken as the SMTP client breaks them.
std::string broken_header(std::string header, std::size_t limit) {
  if (header.find('\r') != std::string::npos) std::ranges::replace(header, '\r', ' ');
  if (limit == 0) return header;
  std::string out;
  std::size_t start = 0;
  for (std::size_t at = 0; at < header.size();) {
    const std::size_t end = std::min(header.find('\n', at), header.size());
    if (end - at <= limit) {
      at = end + 1;
      continue;
    }
    std::size_t room = limit;
    while (end - at > room) {
      out += std::string_view(header).substr(start, at + room - start);
      out += "\n ";
      start = at = at + room;
      room = limit - 1;
    }
  }
  return out + header.substr(start);
}

// The body as `outgoing` leaves it.
loop::Task<Result<void>> hash_changed_body(loop::WorkerPool& pool,
                                           const ipc::mailauth::Content& content, int file,
                                           smtpclient::Outgoing& outgoing, BodyHashes& hashes) {
  if (!hashes.is_wanted()) co_return Result<void>{};
  BodyReader reader(pool, content, file);
  for (;;) {
    CO_TRY(const std::string piece, co_await reader.next());
    if (piece.empty()) break;
    CO_TRY(const std::string changed, co_await outgoing.change_body(piece));
    hashes.append(changed);
  }
  CO_TRY(const std::string rest, co_await outgoing.finish_body());
  hashes.append(rest);
  hashes.finish();
  co_return Result<void>{};
}

config::DkimKey arc_key(const config::Values& values, const config::MailauthParams& params,
                        const std::string& key_path) {
  config::DkimKey key;
  key.domain = to_lower(params.arc_seal_domain);
  key.selector = params.arc_seal_selector;
  key.path = params.arc_seal_key_file;
  if (key.path.empty()) {
    key.path = config::dkim_key_path(key_path, key.domain, key.selector,
                                     values.snapshot().config_directory);
  }
  return key;
}

}  // namespace

SigningRules read_signing_rules(const config::Values& values, const config::MailauthParams& params,
                                config::Problems& problems) {
  SigningRules rules;
  rules.key_path =
      replace_all(params.dkim_key_path, "$config_directory", values.snapshot().config_directory);
  const auto text_of = [&](std::string_view value) {
    const auto path = config::dkim_table_file(value);
    return path ? values.file(config::dkim_file_name(*path)) : std::nullopt;
  };
  const auto complain = [&](std::string_view parameter, const std::vector<unsigned>& wrong) {
    for (const unsigned line : wrong) {
      problems.push_back(values.problem(parameter, fmt::format("line {} is wrong", line)));
    }
  };
  rules.has_key_table = !params.dkim_key_table.empty();
  std::vector<unsigned> wrong;
  if (const auto text = text_of(params.dkim_key_table)) {
    rules.keys = config::parse_dkim_keys(*text, wrong);
    complain("dkim_key_table", wrong);
  } else if (!config::dkim_table_file(params.dkim_key_table)) {
    rules.key_table = params.dkim_key_table;
  }
  wrong.clear();
  if (const auto text = text_of(params.dkim_signing_table)) {
    rules.rules = config::parse_dkim_rules(*text, wrong);
    complain("dkim_signing_table", wrong);
  } else if (!config::dkim_table_file(params.dkim_signing_table)) {
    rules.signing_table = params.dkim_signing_table;
  }
  rules.fields =
      params.dkim_sign_headers.empty() ? default_signed_fields() : params.dkim_sign_headers;
  rules.oversigned = params.dkim_oversign_headers;
  const auto [header, body] = split_at_first(params.dkim_canonicalization, '/');
  rules.header_canon = header == "simple" ? Canon::kSimple : Canon::kRelaxed;
  rules.body_canon = body == "simple" ? Canon::kSimple : Canon::kRelaxed;
  rules.lifetime = params.dkim_signature_lifetime;
  rules.line_limit = static_cast<std::size_t>(values.count("smtp_line_length_limit"));
  config::Problems of_client;  // told by the client itself
  rules.outgoing = smtpclient::Settings::load(values, smtpclient::Protocol::kSmtp, of_client);
  rules.seal = arc_key(values, params, rules.key_path);
  return rules;
}

std::int64_t Signing::now() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

loop::Task<Result<std::optional<std::string>>> Signing::look_up(std::string table,
                                                                std::vector<std::string> keys,
                                                                std::size_t* which) {
  ipc::tables::Lookup question;
  question.tables.push_back(std::move(table));
  for (auto& key : keys) question.keys.push_back({std::move(key), !question.keys.empty()});
  CO_TRY(auto found, co_await tables_.lookup(std::move(question), deadline_));
  if (!found.is_found) co_return std::nullopt;
  if (which != nullptr) *which = static_cast<std::size_t>(found.key);
  co_return std::optional<std::string>(std::move(found.value));
}

loop::Task<Result<Signing::Named>> Signing::find_names(std::string author) {
  const std::string author_domain = to_lower(mail::split_address(author).domain);
  Named named;
  if (rules_.signing_table.empty()) {
    const auto* rule = config::find_dkim_rule(rules_.rules, author);
    if (rule != nullptr) named = {rule->keys, domain_of(rule->pattern, author_domain)};
    co_return named;
  }
  std::vector<std::string> keys = {to_lower(author), author_domain};
  std::vector<std::string> domains = {author_domain, author_domain};
  std::string_view rest = author_domain;
  while (rest.find('.') != std::string_view::npos) {
    rest.remove_prefix(rest.find('.'));
    keys.emplace_back(rest);
    rest.remove_prefix(1);
    domains.emplace_back(rest);
  }
  std::size_t which = 0;
  CO_TRY(const auto found, co_await look_up(rules_.signing_table, std::move(keys), &which));
  if (!found) co_return named;
  for (const auto word : split_words(*found)) named.keys.emplace_back(word);
  named.domain = which < domains.size() ? domains[which] : author_domain;
  co_return named;
}

loop::Task<Result<std::vector<config::DkimKey>>> Signing::find_keys(std::string author) {
  CO_TRY(const Named named, co_await find_names(author));
  std::vector<config::DkimKey> keys;
  for (const auto& name : named.keys) {
    if (keys.size() == kMaxSignatures) break;
    config::DkimKey key;
    if (!rules_.has_key_table) {
      key = {named.domain, name, config::dkim_key_path(rules_.key_path, named.domain, name, "")};
    } else if (rules_.key_table.empty()) {
      const auto found = rules_.keys.find(name);
      if (found == rules_.keys.end()) {
        co_return fail_temporary(fmt::format("dkim_key_table has no key {}", name));
      }
      key = found->second;
    } else {
      CO_TRY(const auto value, co_await look_up(rules_.key_table, {name}, nullptr));
      auto parsed = value ? config::parse_dkim_key(*value) : std::nullopt;
      if (!parsed) co_return fail_temporary(fmt::format("dkim_key_table has no key {}", name));
      key = *std::move(parsed);
    }
    if (key.domain == "%") key.domain = to_lower(mail::split_address(author).domain);
    keys.push_back(std::move(key));
  }
  co_return keys;
}

loop::Task<Result<DkimSigning>> Signing::prepare(config::DkimKey key, Purpose purpose) {
  ipc::keyring::FindFile question;
  question.path = key.path;
  question.purpose = purpose;
  CO_TRY(auto found, co_await keyring_.call(std::move(question), deadline_));
  if (found.key.empty()) {
    co_return fail_temporary(fmt::format("keyring has no key {}", key.path));
  }
  DkimSigning how;
  how.algorithm =
      found.scheme == kEd25519 ? SignAlgorithm::kEd25519Sha256 : SignAlgorithm::kRsaSha256;
  how.domain = std::move(key.domain);
  how.selector = std::move(key.selector);
  how.key = std::move(found.key);
  how.header_canon = rules_.header_canon;
  how.body_canon = rules_.body_canon;
  how.fields = rules_.fields;
  how.oversigned = rules_.oversigned;
  how.now = now_;
  if (rules_.lifetime.count() > 0) how.lifetime = rules_.lifetime;
  co_return how;
}

loop::Task<Result<ipc::mailauth::Signed>> Signing::sign(ipc::mailauth::Sign request,
                                                        loop::WorkerPool& pool, sys::Fd body_file) {
  ipc::mailauth::Signed answer;
  CO_TRY(answer.fields_on_top,
         co_await sign_edition(request, Edition::kWhole, pool, body_file.get()));
  const bool may_be_converted =
      request.is_8bit && !rules_.outgoing->params.disable_mime_output_conversion;
  if (!may_be_converted || answer.fields_on_top.empty()) co_return answer;
  CO_TRY(std::string converted,
         co_await sign_edition(request, Edition::kConverted, pool, body_file.get()));
  if (converted != answer.fields_on_top) answer.converted_fields = std::move(converted);
  co_return answer;
}

loop::Task<Result<std::string>> Signing::sign_edition(const ipc::mailauth::Sign& request,
                                                      Edition edition, loop::WorkerPool& pool,
                                                      int body_file) {
  const auto wants = [&](Wanted what) { return (request.wanted & what) != 0; };
  smtpclient::Outgoing outgoing(rules_.outgoing, &tables_, request.queue_id,
                                edition == Edition::kConverted);
  outgoing.rehearse();
  std::string sent = request.content.header;
  if (outgoing.is_needed()) {
    CO_TRY(sent, co_await outgoing.change_header(std::move(sent)));
  }
  const std::string block = broken_header(std::move(sent), rules_.line_limit);
  const auto header = mail::split_header(block);

  BodyHashes hashes;
  hashes.break_lines(rules_.line_limit);
  std::vector<std::unique_ptr<mailauth::DkimSignature>> signatures;
  const std::string author = author_of(header);
  if (wants(Wanted::kSign) && !author.empty()) {
    CO_TRY(const auto keys, co_await find_keys(author));
    for (const auto& key : keys) {
      if (is_signed_by(header, key)) continue;
      CO_TRY(auto how, co_await prepare(key, Purpose::kDkim));
      signatures.push_back(std::make_unique<mailauth::DkimSignature>(header, std::move(how)));
      signatures.back()->plan(hashes);
    }
  }
  const ArcVerifier chain(header);
  std::optional<ArcSealing> sealing;
  if (wants(Wanted::kSeal) && request.chain.can_be_sealed) {
    CO_TRY(auto how, co_await prepare(rules_.seal, Purpose::kArc));
    sealing.emplace(header, chain, std::move(how), request.chain.results);
    sealing->plan(hashes);
  }
  if (outgoing.changes_body()) {
    CO_DO(co_await hash_changed_body(pool, request.content, body_file, outgoing, hashes));
  } else {
    CO_DO(co_await mailauth::hash_body(pool, request.content, body_file, &hashes));
  }

  std::string fields;
  KeyringSigner dkim(keyring_, Purpose::kDkim, deadline_);
  for (const auto& signature : signatures) {
    CO_TRY(const std::string field, co_await signature->sign(dkim, hashes));
    fields += field + "\n";
  }
  if (sealing) {
    ArcVerdict verdict;
    verdict.verdict = request.chain.verdict == "pass"   ? Verdict::kPass
                      : request.chain.verdict == "none" ? Verdict::kNone
                                                        : Verdict::kFail;
    verdict.instance = static_cast<unsigned>(request.chain.instance);
    verdict.can_be_sealed = true;
    KeyringSigner arc(keyring_, Purpose::kArc, deadline_);
    CO_TRY(const std::string set, co_await sealing->seal(arc, hashes, std::move(verdict)));
    fields += set;
  }
  co_return fields;
}

}  // namespace postern::mailauthd
