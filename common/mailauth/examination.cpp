#include "common/mailauth/examination.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "common/base/text.h"
#include "common/loop/gather.h"
#include "common/mail/address.h"
#include "common/mail/idna.h"

namespace postern::mailauth {

namespace {

using ipc::mailauth::Wanted;

std::int64_t now_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

bool is_listed(const std::vector<std::string>& list, std::string_view domain) {
  return std::ranges::any_of(list,
                             [&](const std::string& each) { return equal_nocase(each, domain); });
}

// "a;\n\tb" as one line.
std::string on_one_line(std::string_view value) { return replace_all(value, "\n\t", " "); }

}  // namespace

VerdictRules read_verdict_rules(const config::MailauthParams& params, std::string myhostname) {
  const auto has_word = [](const std::vector<std::string>& words, std::string_view wanted) {
    return std::ranges::any_of(words,
                               [&](const std::string& word) { return equal_nocase(word, wanted); });
  };
  VerdictRules rules;
  rules.authserv_id = params.mailauth_authserv_id;
  rules.myhostname = std::move(myhostname);
  rules.has_received_spf = has_word(params.smtpd_spf_headers, "received-spf");
  rules.has_spf_result = has_word(params.smtpd_spf_headers, "authentication-results");
  rules.is_enforced = params.smtpd_dmarc_policy == "enforce";
  rules.quarantine_holds = params.smtpd_dmarc_quarantine_action == "hold";
  rules.exempt_lists = params.smtpd_dmarc_exempt_lists;
  rules.trusted_sealers = params.smtpd_dmarc_trusted_sealers;
  rules.discovery = params.dmarc_discovery == "tree-walk" ? DmarcDiscovery::kTreeWalk
                                                          : DmarcDiscovery::kPublicSuffixes;
  return rules;
}

SpfRequest spf_request(const std::string& client_address, std::string helo, std::string sender,
                       SpfIdentity identity, const std::string& receiver) {
  SpfRequest request;
  request.client = dns::parse_address(client_address).value_or(dns::Address{});
  // RFC 8616 4
  request.helo = is_all_ascii(helo) ? std::move(helo) : mail::to_a_labels(helo).value_or(helo);
  if (identity == SpfIdentity::kMailFrom) request.sender = mail::with_a_labels(sender);
  if (request.sender.empty()) request.sender = "postmaster@" + request.helo;
  request.receiver = receiver;
  request.now = now_seconds();
  return request;
}

Examination::Examination(const VerdictRules& rules, const PublicSuffixes& suffixes,
                         ipc::mailauth::Examine request, unsigned sample)
    : rules_(rules),
      suffixes_(suffixes),
      request_(std::move(request)),
      sample_(sample),
      header_(mail::split_header(request_.content.header)),
      dkim_(header_, now_seconds()),
      arc_(header_) {
  spf_identity_ = request_.sender.empty() ? SpfIdentity::kHelo : SpfIdentity::kMailFrom;
  spf_request_ = spf_request(request_.client_address, request_.helo, request_.sender, spf_identity_,
                             rules_.myhostname);
}

BodyHashes& Examination::plan() {
  if (wants(Wanted::kDkim | Wanted::kDmarc)) dkim_.plan(hashes_);
  if (wants(Wanted::kArc)) arc_.plan(hashes_);
  return hashes_;
}

loop::Task<Result<void>> Examination::read_body(loop::WorkerPool& pool, sys::Fd body_file) {
  BodyHashes* hashes = &plan();
  const Result<void> hashed = co_await hash_body(pool, request_.content, body_file.get(), hashes);
  co_return hashed;
}

loop::Task<void> Examination::judge_spf(DnsSource& dns) {
  spf_verdict_ = co_await check_spf(dns, spf_request_);
}

loop::Task<void> Examination::judge_dkim(DnsSource& dns) {
  dkim_results_ = co_await dkim_.verify(dns, hashes_);
}

loop::Task<void> Examination::judge_arc(DnsSource& dns) {
  arc_verdict_ = co_await arc_.verify(dns, hashes_);
}

loop::Task<void> Examination::judge_dmarc(DnsSource& dns) {
  AuthorDomains author = author_domains(header_);
  DmarcRequest request;
  request.from_domains = std::move(author.domains);
  request.is_from_odd = author.is_odd;
  request.spf = spf_verdict_.result;
  request.spf_domain = spf_verdict_.domain;
  request.dkim = dkim_results_;
  request.discovery = rules_.discovery;
  request.sample = sample_;
  dmarc_verdict_ = co_await check_dmarc(dns, suffixes_, std::move(request));
}

loop::Task<ipc::mailauth::Examined> Examination::judge(DnsSource& dns) {
  loop::Gather all;
  if (wants(Wanted::kSpf | Wanted::kDmarc)) all.add(judge_spf(dns));
  if (wants(Wanted::kDkim | Wanted::kDmarc)) all.add(judge_dkim(dns));
  if (wants(Wanted::kArc)) all.add(judge_arc(dns));
  co_await all.done();
  if (wants(Wanted::kDmarc)) co_await judge_dmarc(dns);
  ipc::mailauth::Examined examined;
  decide(examined);
  examined.fields_on_top = compose_fields() + examined.fields_on_top;
  examined.chain.verdict = verdict_name(arc_verdict_.verdict);
  examined.chain.instance = arc_verdict_.instance;
  examined.chain.can_be_sealed = wants(Wanted::kArc) && arc_verdict_.can_be_sealed &&
                                 arc_verdict_.verdict != Verdict::kTemperror;
  examined.chain.results = results_;
  co_return examined;
}

std::string Examination::override_reason() const {
  if (spf_verdict_.result == SpfResult::kPass &&
      is_listed(rules_.exempt_lists, spf_verdict_.domain)) {
    return "mailing list " + spf_verdict_.domain;
  }
  // What the first host saw, as the last one vouches for it.
  if (arc_verdict_.verdict == Verdict::kPass &&
      is_listed(rules_.trusted_sealers, arc_verdict_.sealers.back()) &&
      find_result(arc_verdict_.results.front(), "dmarc") == "pass") {
    return "ARC seal of " + arc_verdict_.sealers.back();
  }
  return "";
}

void Examination::decide(ipc::mailauth::Examined& examined) {
  if (!wants(Wanted::kDmarc) || !rules_.is_enforced) return;
  if (dmarc_verdict_.disposition == DmarcPolicy::kNone) return;
  override_ = override_reason();
  if (!override_.empty()) {
    dmarc_verdict_.disposition = DmarcPolicy::kNone;
    dmarc_verdict_.problem = "not applied: " + override_;
    return;
  }
  if (dmarc_verdict_.disposition == DmarcPolicy::kReject) {
    examined.is_refused = true;
    examined.text =
        fmt::format("Message rejected due to: DMARC policy of {}", dmarc_verdict_.policy_domain);
  } else if (rules_.quarantine_holds) {
    examined.is_held = true;
  } else {
    examined.fields_on_top = fmt::format("X-DMARC-Quarantine: {}\n", dmarc_verdict_.policy_domain);
  }
}

void Examination::explain_disposition(ipc::reports::DmarcResult& result) const {
  if (dmarc_verdict_.verdict == Verdict::kPass || dmarc_verdict_.policy == DmarcPolicy::kNone) {
    return;
  }
  if (!override_.empty()) {
    result.reason = override_.starts_with("ARC") ? "trusted_forwarder" : "mailing_list";
    result.comment = override_;
  } else if (dmarc_verdict_.disposition != dmarc_verdict_.policy) {
    result.reason = "sampled_out";
  } else if (!rules_.is_enforced) {
    result.reason = "local_policy";
  }
}

std::optional<ipc::reports::DmarcResult> Examination::for_report() const {
  const DmarcRecord& record = dmarc_verdict_.record;
  if (!wants(Wanted::kDmarc) || dmarc_verdict_.policy_domain.empty() ||
      record.aggregate_reports.empty() || dmarc_verdict_.verdict == Verdict::kTemperror) {
    return std::nullopt;
  }
  ipc::reports::DmarcResult result;
  result.domain = dmarc_verdict_.policy_domain;
  result.published.policy = dmarc_policy_name(record.policy);
  if (record.subdomain_policy) {
    result.published.subdomain_policy = dmarc_policy_name(*record.subdomain_policy);
  }
  result.published.is_dkim_strict = record.dkim == Alignment::kStrict;
  result.published.is_spf_strict = record.spf == Alignment::kStrict;
  result.published.percent = record.percent;
  result.published.addresses = record.aggregate_reports;
  result.source = request_.client_address;
  result.disposition =
      dmarc_policy_name(rules_.is_enforced ? dmarc_verdict_.disposition : DmarcPolicy::kNone);
  result.is_dkim_aligned = dmarc_verdict_.is_dkim_aligned;
  result.is_spf_aligned = dmarc_verdict_.is_spf_aligned;
  explain_disposition(result);
  result.header_from = dmarc_verdict_.from_domain;
  result.envelope_from = split_at_last(request_.sender, '@').second;
  for (const auto& signature : dkim_results_) {
    result.dkim.push_back(
        {signature.domain, signature.selector, std::string(verdict_name(signature.verdict))});
  }
  result.spf_domain = spf_verdict_.domain;
  result.spf_scope = spf_identity_ == SpfIdentity::kHelo ? "helo" : "mfrom";
  result.spf_result = spf_result_name(spf_verdict_.result);
  return result;
}

std::string Examination::compose_fields() {
  ResultsHeader results(rules_.authserv_id);
  const bool has_spf = wants(Wanted::kSpf | Wanted::kDmarc);
  if (has_spf && rules_.has_spf_result) {
    results.add_spf(spf_verdict_, spf_identity_,
                    spf_identity_ == SpfIdentity::kHelo ? request_.helo : request_.sender);
  }
  if (wants(Wanted::kDkim | Wanted::kDmarc)) {
    if (dkim_results_.empty()) results.add_dkim_none();
    for (const auto& result : dkim_results_) results.add_dkim(result);
  }
  if (wants(Wanted::kDmarc)) results.add_dmarc(dmarc_verdict_);
  if (wants(Wanted::kArc)) results.add_arc(arc_verdict_);
  results_ = results.value();
  summary_ = on_one_line(std::string_view(results_).substr(results_.find(';') + 1));
  summary_ = trim(summary_);
  std::string fields = "Authentication-Results: " + results_ + "\n";
  if (has_spf && rules_.has_received_spf) {
    const std::string spf = format_received_spf(spf_verdict_, spf_request_, spf_identity_);
    fields += "Received-SPF: " + replace_all(spf, ") identity=", ")\n\tidentity=") + "\n";
  }
  return fields;
}

}  // namespace postern::mailauth
