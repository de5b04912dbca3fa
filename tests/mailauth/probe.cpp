// probe.cpp - the library of mail authentication behind a pipe, so that scripts can hold it against
// other implementations. One JSON object a line, with "op" and what that takes; one comes back.

#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "common/base/encode.h"
#include "common/mail/header.h"
#include "common/mailauth/arc.h"
#include "common/mailauth/batv.h"
#include "common/mailauth/dkim.h"
#include "common/mailauth/dmarc.h"
#include "common/mailauth/results_header.h"
#include "common/mailauth/spf.h"
#include "common/mailauth/srs.h"
#include "tests/support/table_dns.h"

namespace postern::mailauth {

namespace {

using nlohmann::json;

class PemSigner final : public Signer {
 public:
  loop::Task<Result<std::string>> sign(std::string key, SignAlgorithm /*algorithm*/,
                                       std::string bytes) override {
    CO_TRY(const PrivateKey parsed, PrivateKey::parse_pem(key));
    co_return parsed.sign(bytes);
  }
};

void fill(TableDns& dns, const json& zone) {
  for (const auto& [name, records] : zone.items()) {
    for (const auto& record : records) {
      if (record.is_string()) {
        if (record == "TIMEOUT") dns.fail(name);
        continue;
      }
      const auto type = dns::find_type(record[0].get<std::string>());
      if (type) dns.add(name, *type, record[1].get<std::string>());
    }
  }
}

struct Message {
  std::string text;
  std::string header;
  std::string body;
  std::vector<mail::HeaderField> fields;
};

Message split_message(const json& request) {
  Message message;
  message.text = base64_decode(request["message"].get<std::string>()).value_or("");
  mail::HeaderScanner scanner(message.text.size() + 1);
  scanner.scan(message.text, true);
  message.header = message.text.substr(0, scanner.header_size());
  message.body = message.text.substr(scanner.body_start());
  message.fields = mail::split_header(message.header);
  return message;
}

// In odd pieces, as content arrives.
void feed(BodyHashes& hashes, const std::string& body, std::size_t piece) {
  std::string_view rest = body;
  while (!rest.empty()) {
    const auto chunk = rest.substr(0, piece);
    hashes.append(chunk);
    rest.remove_prefix(chunk.size());
  }
  hashes.finish();
}

DkimSigning signing_of(const json& request) {
  DkimSigning how;
  how.algorithm = request.value("algorithm", "rsa-sha256") == "rsa-sha256"
                      ? SignAlgorithm::kRsaSha256
                      : SignAlgorithm::kEd25519Sha256;
  how.domain = request["domain"];
  how.selector = request["selector"];
  how.key = request["key"];
  how.header_canon =
      request.value("header", "relaxed") == "simple" ? Canon::kSimple : Canon::kRelaxed;
  how.body_canon = request.value("body", "relaxed") == "simple" ? Canon::kSimple : Canon::kRelaxed;
  how.fields = default_signed_fields();
  how.oversigned = request.value("oversigned", std::vector<std::string>{"from"});
  how.now = request.value("now", std::int64_t{1'700'000'000});
  return how;
}

json do_spf(const json& request, TableDns& dns) {
  SpfRequest spf;
  const auto client = dns::parse_address(request["client"].get<std::string>());
  if (!client) return {{"error", "client"}};
  spf.client = *client;
  spf.helo = request.value("helo", "");
  spf.sender = request.value("sender", "");
  spf.receiver = request.value("receiver", "receiver.example");
  spf.now = 1'700'000'000;
  const SpfVerdict verdict = result_of(check_spf(dns, spf));
  return {{"result", spf_result_name(verdict.result)},
          {"explanation", verdict.explanation},
          {"problem", verdict.problem},
          {"header", format_received_spf(verdict, spf, SpfIdentity::kMailFrom)},
          {"questions", dns.questions}};
}

json do_verify(const json& request, TableDns& dns) {
  const Message message = split_message(request);
  BodyHashes hashes;
  DkimVerifier dkim(message.fields, request.value("now", std::int64_t{1'700'000'000}));
  ArcVerifier arc(message.fields);
  dkim.plan(hashes);
  arc.plan(hashes);
  feed(hashes, message.body, request.value("piece", std::size_t{65536}));
  json out;
  for (const auto& result : result_of(dkim.verify(dns, hashes))) {
    out["dkim"].push_back({{"result", verdict_name(result.verdict)},
                           {"problem", result.problem},
                           {"domain", result.domain},
                           {"selector", result.selector}});
  }
  const ArcVerdict verdict = result_of(arc.verify(dns, hashes));
  out["arc"] = verdict_name(verdict.verdict);
  out["arc_problem"] = verdict.problem;
  return out;
}

json do_sign(const json& request, TableDns& /*dns*/) {
  const Message message = split_message(request);
  BodyHashes hashes;
  DkimSignature signature(message.fields, signing_of(request));
  signature.plan(hashes);
  feed(hashes, message.body, request.value("piece", std::size_t{65536}));
  PemSigner signer;
  const auto field = result_of(signature.sign(signer, hashes));
  if (!field) return {{"error", field.error().text}};
  return {{"field", base64_encode(*field)}};
}

json do_seal(const json& request, TableDns& dns) {
  const Message message = split_message(request);
  BodyHashes hashes;
  ArcVerifier arc(message.fields);
  ArcSealing sealing(message.fields, arc, signing_of(request), request["results"]);
  arc.plan(hashes);
  sealing.plan(hashes);
  feed(hashes, message.body, request.value("piece", std::size_t{65536}));
  PemSigner signer;
  const ArcVerdict chain = result_of(arc.verify(dns, hashes));
  const auto fields = result_of(sealing.seal(signer, hashes, chain));
  if (!fields) return {{"error", fields.error().text}};
  return {{"fields", base64_encode(*fields)}, {"arc", verdict_name(chain.verdict)}};
}

json do_dmarc(const json& request, TableDns& dns) {
  static const PublicSuffixes suffixes = PublicSuffixes::built_in();
  const std::string header = request["header"];
  const auto author = author_domains(mail::split_header(header));
  DmarcRequest dmarc;
  dmarc.from_domains = author.domains;
  dmarc.is_from_odd = author.is_odd;
  dmarc.spf = find_spf_result(request.value("spf", "none")).value_or(SpfResult::kNone);
  dmarc.spf_domain = request.value("spf_domain", "");
  const DmarcVerdict verdict = result_of(check_dmarc(dns, suffixes, dmarc));
  return {{"result", verdict_name(verdict.verdict)}, {"policy", dmarc_policy_name(verdict.policy)}};
}

json do_srs(const json& request, TableDns& /*dns*/) {
  SrsRules rules;
  rules.domain = request["domain"];
  rules.secrets = request["secrets"];
  const std::int64_t now = request["now"];
  const std::string address = request["address"];
  const auto result = request["direction"] == "forward" ? srs_forward(rules, address, now)
                                                        : srs_reverse(rules, address, now);
  if (!result) return {{"error", result.error().text}};
  return {{"address", *result}};
}

json answer(const json& request) {
  TableDns dns;
  if (request.contains("zone")) fill(dns, request["zone"]);
  const std::string op = request["op"];
  if (op == "spf") return do_spf(request, dns);
  if (op == "verify") return do_verify(request, dns);
  if (op == "sign") return do_sign(request, dns);
  if (op == "seal") return do_seal(request, dns);
  if (op == "dmarc") return do_dmarc(request, dns);
  if (op == "srs") return do_srs(request, dns);
  return {{"error", "unknown op"}};
}

}  // namespace

}  // namespace postern::mailauth

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    const auto request = nlohmann::json::parse(line, nullptr, false);
    const auto reply = request.is_discarded() ? nlohmann::json{{"error", "no JSON"}}
                                              : postern::mailauth::answer(request);
    std::cout << reply.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) << std::endl;
  }
  return 0;
}
