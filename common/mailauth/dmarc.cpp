#include "common/mailauth/dmarc.h"

#include <algorithm>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/mail/idna.h"
#include "common/mailauth/tag_list.h"

namespace postern::mailauth {

namespace {

constexpr std::size_t kMaxDomains = 5;
constexpr std::size_t kMaxUris = 20;
constexpr std::size_t kMaxRecord = 16384;

std::optional<DmarcPolicy> parse_policy(std::string_view value) {
  if (equal_nocase(value, "none")) return DmarcPolicy::kNone;
  if (equal_nocase(value, "quarantine")) return DmarcPolicy::kQuarantine;
  if (equal_nocase(value, "reject")) return DmarcPolicy::kReject;
  return std::nullopt;
}

std::vector<std::string> parse_uris(std::string_view value) {
  std::vector<std::string> uris;
  for (std::string_view uri : split_fields(value, ',')) {
    uri = trim(uri);
    const auto [scheme, rest] = split_at_first(uri, ':');
    if (rest.empty() || scheme.empty() || uris.size() == kMaxUris) continue;
    uris.emplace_back(uri);
  }
  return uris;
}

void take_tag(std::string_view name, std::string_view value, DmarcRecord& record) {
  if (equal_nocase(name, "sp")) {
    record.subdomain_policy = parse_policy(value);
  } else if (equal_nocase(name, "np")) {
    record.nonexistent_policy = parse_policy(value);
  } else if (equal_nocase(name, "adkim")) {
    record.dkim = equal_nocase(value, "s") ? Alignment::kStrict : Alignment::kRelaxed;
  } else if (equal_nocase(name, "aspf")) {
    record.spf = equal_nocase(value, "s") ? Alignment::kStrict : Alignment::kRelaxed;
  } else if (equal_nocase(name, "pct")) {
    record.percent = parse_integer<unsigned>(value, 0, 100).value_or(100);
  } else if (equal_nocase(name, "psd") && value.size() == 1) {
    const char c = to_lower(value.front());
    record.suffix = c == 'y' || c == 'n' ? c : 'u';
  } else if (equal_nocase(name, "t")) {
    record.is_test = equal_nocase(value, "y");
  } else if (equal_nocase(name, "rua")) {
    record.aggregate_reports = parse_uris(value);
  } else if (equal_nocase(name, "ruf")) {
    record.failure_reports = parse_uris(value);
  }
}

// One level less strict (pct=, t=y).
DmarcPolicy relaxed(DmarcPolicy policy) {
  return policy == DmarcPolicy::kReject ? DmarcPolicy::kQuarantine : DmarcPolicy::kNone;
}

std::string parent_of(const std::string& domain) {
  const std::size_t dot = domain.find('.');
  return dot == std::string::npos ? std::string() : domain.substr(dot + 1);
}

struct Found {
  std::string domain{};
  DmarcRecord record{};
};

enum class Ask : unsigned char { kFound, kNothing, kTemporary };

class Evaluation {
 public:
  Evaluation(DnsSource& dns, const PublicSuffixes& suffixes, DmarcRequest request)
      : dns_(dns), suffixes_(suffixes), request_(std::move(request)) {}

  loop::Task<DmarcVerdict> run() {
    DmarcVerdict worst;
    bool is_first = true;
    for (std::size_t i = 0; i < request_.from_domains.size() && i < kMaxDomains; ++i) {
      DmarcVerdict one = co_await judge(request_.from_domains[i]);
      const bool is_worse = is_first || one.disposition > worst.disposition ||
                            (one.disposition == worst.disposition && rank(one) > rank(worst));
      if (is_worse) worst = std::move(one);
      is_first = false;
    }
    if (request_.is_from_odd) {
      if (worst.verdict != Verdict::kFail) {
        worst.verdict = Verdict::kPermerror;
        worst.problem = "From does not name one author domain";
      }
    }
    co_return worst;
  }

 private:
  static int rank(const DmarcVerdict& verdict) {
    return verdict.verdict == Verdict::kFail ? 2 : verdict.verdict == Verdict::kTemperror ? 1 : 0;
  }

  loop::Task<DmarcVerdict> judge(std::string domain) {
    DmarcVerdict verdict;
    verdict.from_domain = domain;
    Found found;
    const Ask ask = co_await discover(domain, &found);
    if (ask == Ask::kTemporary) {
      verdict.verdict = Verdict::kTemperror;
      verdict.problem = "no answer for the policy";
      co_return verdict;
    }
    if (ask == Ask::kNothing) co_return verdict;
    verdict.policy_domain = found.domain;
    verdict.record = found.record;
    verdict.policy = co_await policy_for(domain, found);
    const bool is_unsure = co_await align(domain, &verdict);
    if (!request_.is_from_odd && (verdict.is_spf_aligned || verdict.is_dkim_aligned)) {
      verdict.verdict = Verdict::kPass;
    } else if (is_unsure) {
      verdict.verdict = Verdict::kTemperror;
      verdict.problem = "SPF or DKIM could not be evaluated";
    } else {
      verdict.verdict = Verdict::kFail;
      verdict.disposition = verdict.policy;
      const bool is_sampled = request_.sample < found.record.percent;
      if (!is_sampled || found.record.is_test) verdict.disposition = relaxed(verdict.policy);
    }
    co_return verdict;
  }

  // Sets what is aligned; true where trouble in DNS may have hidden a pass.
  loop::Task<bool> align(std::string domain, DmarcVerdict* verdict) {
    bool is_unsure = false;
    if (request_.spf == SpfResult::kPass || request_.spf == SpfResult::kTemperror) {
      const bool is_aligned = co_await aligned(request_.spf_domain, domain, verdict->record.spf);
      if (is_aligned && request_.spf == SpfResult::kPass) verdict->is_spf_aligned = true;
      if (is_aligned && request_.spf == SpfResult::kTemperror) is_unsure = true;
    }
    for (const auto& signature : request_.dkim) {
      const bool is_temporary = signature.verdict == Verdict::kTemperror;
      if (signature.verdict != Verdict::kPass && !is_temporary) continue;
      const bool is_aligned = co_await aligned(signature.domain, domain, verdict->record.dkim);
      if (is_aligned && !is_temporary) verdict->is_dkim_aligned = true;
      if (is_aligned && is_temporary) is_unsure = true;
    }
    co_return is_unsure;
  }

  loop::Task<bool> aligned(std::string domain, std::string author, Alignment how) {
    if (domain.empty()) co_return false;
    if (equal_nocase(domain, author)) co_return true;
    if (how == Alignment::kStrict) co_return false;
    const std::string ours = co_await organization_of(to_lower(domain));
    const std::string theirs = co_await organization_of(author);
    co_return equal_nocase(ours, theirs);
  }

  loop::Task<Ask> ask(std::string domain, DmarcRecord* record) {
    const std::string name = "_dmarc." + domain;
    if (!is_query_name(name)) co_return Ask::kNothing;
    const DnsAnswer answer = co_await dns_.look_up(name, dns::RecordType::kTxt);
    if (answer.status == DnsStatus::kTemporary) co_return Ask::kTemporary;
    std::size_t count = 0;
    std::optional<DmarcRecord> found;
    for (const auto& text : answer.records) {
      const auto [version, rest] = split_at_first(text, ';');
      const auto [tag, value] = split_at_first(version, '=');
      if (trim(tag) != "v" || trim(value) != "DMARC1") continue;
      ++count;
      found = parse_dmarc_record(text);
    }
    if (count != 1 || !found) co_return Ask::kNothing;
    *record = *std::move(found);
    co_return Ask::kFound;
  }

  loop::Task<Ask> discover(std::string domain, Found* found) {
    found->domain = domain;
    const Ask direct = co_await ask(domain, &found->record);
    if (direct != Ask::kNothing) co_return direct;
    if (request_.discovery == DmarcDiscovery::kPublicSuffixes) {
      found->domain = suffixes_.organizational_domain(domain);
      if (found->domain == domain) co_return Ask::kNothing;
      const Ask above = co_await ask(found->domain, &found->record);
      co_return above;
    }
    std::vector<Found> walked;
    const bool is_known = co_await walk(domain, &walked);
    if (!is_known) co_return Ask::kTemporary;
    const std::string organization = organization_in(domain, walked);
    for (const auto& step : walked) {
      if (step.domain != organization && step.record.suffix != 'y') continue;
      *found = step;
      co_return Ask::kFound;
    }
    co_return Ask::kNothing;
  }

  // The records at a domain and above it, lowest first; at most 8 questions.
  loop::Task<bool> walk(std::string domain, std::vector<Found>* walked) {
    constexpr std::size_t kMostLabels = 8;
    std::string at = domain;
    while (!at.empty()) {
      Found step;
      step.domain = at;
      const Ask answer = co_await ask(at, &step.record);
      if (answer == Ask::kTemporary) co_return false;
      if (answer == Ask::kFound) {
        walked->push_back(step);
        const bool is_end =
            step.record.suffix == 'n' || (step.record.suffix == 'y' && at != domain);
        if (is_end) break;
      }
      at = parent_of(at);
      while (std::ranges::count(at, '.') + 1 >= std::ptrdiff_t{kMostLabels}) at = parent_of(at);
    }
    co_return true;
  }

  static std::string organization_in(const std::string& domain, const std::vector<Found>& walked) {
    std::string organization = domain;
    for (const auto& step : walked) {
      if (step.record.suffix == 'n') return step.domain;
      if (step.record.suffix == 'y' && step.domain != domain) {
        // One label below the public suffix.
        std::string below = domain;
        while (parent_of(below) != step.domain && !below.empty()) below = parent_of(below);
        return below;
      }
      organization = step.domain;
    }
    return organization;
  }

  loop::Task<std::string> organization_of(std::string domain) {
    if (request_.discovery == DmarcDiscovery::kPublicSuffixes) {
      co_return suffixes_.organizational_domain(domain);
    }
    std::vector<Found> walked;
    const bool is_known = co_await walk(domain, &walked);
    co_return is_known ? organization_in(domain, walked) : domain;
  }

  loop::Task<DmarcPolicy> policy_for(std::string domain, const Found& found) {
    const DmarcRecord& record = found.record;
    if (found.domain == domain) co_return record.policy;
    const DmarcPolicy subdomain = record.subdomain_policy.value_or(record.policy);
    if (!record.nonexistent_policy) co_return subdomain;
    for (const auto type : {dns::RecordType::kA, dns::RecordType::kAaaa, dns::RecordType::kMx}) {
      const DnsAnswer answer = co_await dns_.look_up(domain, type);
      if (answer.status != DnsStatus::kNoSuchName) co_return subdomain;
    }
    co_return *record.nonexistent_policy;
  }

  DnsSource& dns_;
  const PublicSuffixes& suffixes_;
  DmarcRequest request_;
};

}  // namespace

std::string_view dmarc_policy_name(DmarcPolicy policy) {
  switch (policy) {
    case DmarcPolicy::kNone:
      return "none";
    case DmarcPolicy::kQuarantine:
      return "quarantine";
    case DmarcPolicy::kReject:
      return "reject";
  }
  return "";
}

std::optional<DmarcRecord> parse_dmarc_record(std::string_view text) {
  if (text.size() > kMaxRecord) return std::nullopt;
  DmarcRecord record;
  bool is_first = true;
  std::optional<DmarcPolicy> policy;
  for (const std::string_view item : split_fields(text, ';')) {
    const auto [tag, rest] = split_at_first(item, '=');
    const std::string_view name = trim(tag);
    const std::string_view value = trim(rest);
    if (std::exchange(is_first, false)) {
      if (name != "v" || value != "DMARC1") return std::nullopt;
    } else if (equal_nocase(name, "p")) {
      policy = parse_policy(value);
    } else {
      take_tag(name, value, record);
    }
  }
  if (!policy && record.aggregate_reports.empty()) return std::nullopt;
  record.policy = policy.value_or(DmarcPolicy::kNone);
  return record;
}

AuthorDomains author_domains(const std::vector<mail::HeaderField>& header) {
  AuthorDomains author;
  std::size_t fields = 0;
  for (const auto& field : header) {
    if (!equal_nocase(field.name, "From")) continue;
    ++fields;
    const auto addresses = mail::AddressList::parse(field.body).addresses();
    if (addresses.empty()) author.is_odd = true;
    for (const auto& external : addresses) {
      const std::string internal = mail::unquote_address(external);
      const auto parts = mail::split_address(internal);
      // RFC 8616 4: records are at the A-labels.
      std::string domain = mail::to_a_labels(parts.domain).value_or(std::string(parts.domain));
      if (domain.ends_with('.')) domain.pop_back();
      if (!is_all_ascii(domain) || !mail::is_valid_hostname(domain)) {
        author.is_odd = true;
        continue;
      }
      if (std::ranges::find(author.domains, domain) == author.domains.end()) {
        author.domains.push_back(std::move(domain));
      }
    }
  }
  if (fields != 1 || author.domains.size() != 1) author.is_odd = true;
  return author;
}

loop::Task<DmarcVerdict> check_dmarc(DnsSource& dns, const PublicSuffixes& suffixes,
                                     DmarcRequest request) {
  Evaluation evaluation(dns, suffixes, std::move(request));
  DmarcVerdict verdict = co_await evaluation.run();
  co_return verdict;
}

}  // namespace postern::mailauth
