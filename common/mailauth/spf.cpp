#include "common/mailauth/spf.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/mailauth/spf_record.h"

namespace postern::mailauth {

namespace {

using dns::RecordType;

constexpr std::array<std::string_view, 7> kNames = {"none",     "neutral",   "pass",     "fail",
                                                    "softfail", "temperror", "permerror"};
constexpr std::size_t kMaxExplanation = 400;

SpfResult result_of(char qualifier) {
  switch (qualifier) {
    case '-':
      return SpfResult::kFail;
    case '~':
      return SpfResult::kSoftfail;
    case '?':
      return SpfResult::kNeutral;
    default:
      return SpfResult::kPass;
  }
}

// "1.2.3.4", or for IPv6 the nibbles with dots between them (RFC 7208 7.3).
std::string dotted(const dns::Address& address) {
  if (!address.is_ipv6) return address.to_text();
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const std::uint8_t byte : address.bytes) {
    for (const unsigned shift : {4U, 0U}) {
      if (!out.empty()) out += '.';
      out += kHex[(byte >> shift) & 0xfU];
    }
  }
  return out;
}

// RFC 7208 4.3: labels that fit, at least two of them.
bool is_checkable(std::string_view domain) {
  if (domain.ends_with('.')) domain.remove_suffix(1);
  return domain.find('.') != std::string_view::npos && is_query_name(domain) &&
         !mail::is_address_literal(domain);
}

bool is_same_or_below(std::string_view name, std::string_view domain) {
  if (!ends_with_nocase(name, domain)) return false;
  return name.size() == domain.size() || name[name.size() - domain.size() - 1] == '.';
}

// One check, with what it has used up so far.
class Check {
 public:
  Check(DnsSource& dns, SpfRequest request) : dns_(dns), request_(std::move(request)) {
    const auto parts = mail::split_address(request_.sender);
    local_part_ = parts.has_domain && !parts.local_part.empty() ? std::string(parts.local_part)
                                                                : "postmaster";
    sender_domain_ = parts.has_domain ? parts.domain : std::string_view(request_.sender);
  }

  loop::Task<SpfVerdict> run() {
    SpfVerdict verdict;
    verdict.domain = sender_domain_;
    Outcome outcome = co_await check_host(sender_domain_, kTopLevel);
    verdict.result = outcome.result;
    verdict.mechanism = std::move(outcome.mechanism);
    verdict.problem = std::move(problem_);
    if (verdict.result == SpfResult::kFail && !outcome.explanation.empty()) {
      verdict.explanation = co_await explain(outcome.explanation, outcome.domain);
    }
    co_return verdict;
  }

 private:
  static constexpr unsigned kTopLevel = 0;

  struct Outcome {
    SpfResult result = SpfResult::kNone;
    std::string mechanism{};
    std::string explanation{};  // the domain-spec of exp=
    std::string domain{};       // in which it was found
  };
  enum class Match : unsigned char { kNo, kYes, kTemperror, kPermerror };

  Outcome give_up(SpfResult result, std::string why) {
    problem_ = std::move(why);
    return Outcome{result, "", "", ""};
  }

  loop::Task<Outcome> check_host(std::string domain, unsigned depth) {
    if (!is_checkable(domain)) co_return Outcome{};
    const DnsAnswer answer = co_await dns_.look_up(domain, RecordType::kTxt);
    if (answer.status == DnsStatus::kTemporary) {
      co_return give_up(SpfResult::kTemperror, "no answer for the record of " + domain);
    }
    const std::string* text = nullptr;
    for (const auto& record : answer.records) {
      if (!is_spf_record(record)) continue;
      if (text != nullptr) {
        co_return give_up(SpfResult::kPermerror, domain + " has several SPF records");
      }
      text = &record;
    }
    if (text == nullptr) co_return Outcome{};
    auto record = parse_spf_record(*text);
    if (!record) co_return give_up(SpfResult::kPermerror, domain + ": " + record.error().text);
    co_return co_await evaluate(*std::move(record), domain, depth);
  }

  loop::Task<Outcome> evaluate(SpfRecord record, std::string domain, unsigned depth) {
    for (const auto& term : record.terms) {
      if (term.asks_dns() && ++terms_ > request_.limits.terms) {
        co_return give_up(SpfResult::kPermerror, "too many DNS look-ups");
      }
      const Match match = co_await matches(term, domain, depth);
      if (match == Match::kTemperror) co_return Outcome{SpfResult::kTemperror, "", "", ""};
      if (match == Match::kPermerror) co_return Outcome{SpfResult::kPermerror, "", "", ""};
      if (match == Match::kYes) {
        co_return Outcome{result_of(term.qualifier), term.text, record.explanation.value_or(""),
                          domain};
      }
    }
    if (!record.redirect) co_return Outcome{SpfResult::kNeutral, "default", "", ""};
    if (++terms_ > request_.limits.terms) {
      co_return give_up(SpfResult::kPermerror, "too many DNS look-ups");
    }
    const auto target = co_await expand(*record.redirect, domain);
    if (!target) co_return give_up(SpfResult::kPermerror, target.error().text);
    Outcome outcome = co_await check_host(*target, depth + 1);
    if (outcome.result == SpfResult::kNone) {
      co_return give_up(SpfResult::kPermerror, "redirect to " + *target + " without a record");
    }
    co_return outcome;
  }

  loop::Task<Match> matches(const SpfTerm& term, const std::string& domain, unsigned depth) {
    if (term.mechanism == SpfMechanism::kAll) co_return Match::kYes;
    if (term.mechanism == SpfMechanism::kIp4 || term.mechanism == SpfMechanism::kIp6) {
      co_return is_match(term.address, term);
    }
    std::string target = domain;
    if (!term.domain_spec.empty()) {
      auto expanded = co_await expand(term.domain_spec, domain);
      if (!expanded) co_return permanent(expanded.error().text);
      target = *std::move(expanded);
    }
    if (term.mechanism == SpfMechanism::kInclude) {
      const Match included = co_await match_include(target, depth);
      co_return included;
    }
    // What nobody could have registered matches nothing.
    if (!is_query_name(target)) co_return Match::kNo;
    if (term.mechanism == SpfMechanism::kMx) {
      const Match match = co_await match_mx(term, target);
      co_return match;
    }
    if (term.mechanism == SpfMechanism::kPtr) {
      const Match match = co_await match_ptr(target);
      co_return match;
    }
    const bool is_exists = term.mechanism == SpfMechanism::kExists;
    const RecordType type = is_exists ? RecordType::kA : address_type();
    const DnsAnswer answer = co_await dns_.look_up(target, type);
    if (answer.status == DnsStatus::kTemporary) co_return temporary(target);
    if (answer.is_void() && is_too_void()) co_return permanent("too many void look-ups");
    if (is_exists) {
      co_return answer.status == DnsStatus::kFound ? Match::kYes : Match::kNo;
    }
    co_return is_any_match(answer, term);
  }

  loop::Task<Match> match_include(std::string target, unsigned depth) {
    const Outcome inner = co_await check_host(target, depth + 1);
    switch (inner.result) {
      case SpfResult::kPass:
        co_return Match::kYes;
      case SpfResult::kTemperror:
        co_return Match::kTemperror;
      case SpfResult::kPermerror:
        co_return Match::kPermerror;
      case SpfResult::kNone:
        co_return permanent("include of " + target + " without a record");
      default:
        co_return Match::kNo;
    }
  }

  loop::Task<Match> match_mx(const SpfTerm& term, std::string target) {
    const DnsAnswer answer = co_await dns_.look_up(target, RecordType::kMx);
    if (answer.status == DnsStatus::kTemporary) co_return temporary(target);
    if (answer.is_void() && is_too_void()) co_return permanent("too many void look-ups");
    if (answer.records.size() > request_.limits.mx_hosts) {
      co_return permanent(target + " has too many MX hosts");
    }
    for (const auto& host : answer.records) {
      if (!is_query_name(host)) continue;
      const DnsAnswer addresses = co_await dns_.look_up(host, address_type());
      if (addresses.status == DnsStatus::kTemporary) co_return temporary(host);
      // A host without an address of the client's family is no mistake of the domain's.
      if (addresses.status == DnsStatus::kNoSuchName && is_too_void()) {
        co_return permanent("too many void look-ups");
      }
      if (is_any_match(addresses, term) == Match::kYes) co_return Match::kYes;
    }
    co_return Match::kNo;
  }

  loop::Task<Match> match_ptr(std::string target) {
    co_await find_names();
    const bool is_match = std::ranges::any_of(
        names_, [&](const std::string& name) { return is_same_or_below(name, target); });
    co_return is_match ? Match::kYes : Match::kNo;
  }

  // The names of the client that lead back to it, once a check (RFC 7208 5.5).
  loop::Task<void> find_names() {
    if (has_names_) co_return;
    has_names_ = true;
    const DnsAnswer answer =
        co_await dns_.look_up(dns::reverse_name(request_.client), RecordType::kPtr);
    std::size_t tried = 0;
    for (const auto& name : answer.records) {
      if (++tried > request_.limits.ptr_names) break;
      if (!is_query_name(name)) continue;
      const DnsAnswer forward = co_await dns_.look_up(name, address_type());
      const bool leads_back = std::ranges::any_of(forward.records, [&](const std::string& text) {
        return dns::parse_address(text) == request_.client;
      });
      if (leads_back) names_.push_back(name);
    }
  }

  // %{p}: a name that is the domain, else one below it, else any.
  loop::Task<std::string> name_for(std::string domain) {
    co_await find_names();
    const auto same = std::ranges::find_if(
        names_, [&](const std::string& name) { return equal_nocase(name, domain); });
    if (same != names_.end()) co_return *same;
    const auto below = std::ranges::find_if(
        names_, [&](const std::string& name) { return is_same_or_below(name, domain); });
    if (below != names_.end()) co_return *below;
    co_return names_.empty() ? std::string("unknown") : names_.front();
  }

  loop::Task<Result<std::string>> expand_in(std::string text, std::string domain, SpfMacroUse use) {
    std::string name = "unknown";
    if (spf_text_uses(text, 'p')) name = co_await name_for(domain);
    co_return expand_spf_macros(text, use,
                                [&](char letter) { return value_of(letter, domain, name); });
  }

  loop::Task<Result<std::string>> expand(std::string spec, std::string domain) {
    Result<std::string> expanded = co_await expand_in(spec, domain, SpfMacroUse::kDomain);
    if (!expanded) co_return expanded;
    if (expanded->ends_with('.')) expanded->pop_back();
    // Too long a name loses labels on the left (RFC 7208 7.3).
    constexpr std::size_t kMaxName = 253;
    while (expanded->size() > kMaxName) {
      const std::size_t dot = expanded->find('.');
      if (dot == std::string::npos) break;
      expanded->erase(0, dot + 1);
    }
    co_return expanded;
  }

  [[nodiscard]] std::string value_of(char letter, const std::string& domain,
                                     const std::string& name) const {
    switch (letter) {
      case 's':
        return local_part_ + "@" + sender_domain_;
      case 'l':
        return local_part_;
      case 'o':
        return sender_domain_;
      case 'd':
        return domain;
      case 'i':
        return dotted(request_.client);
      case 'p':
        return name;
      case 'v':
        return request_.client.is_ipv6 ? "ip6" : "in-addr";
      case 'h':
        return request_.helo;
      case 'c':
        return request_.client.to_text();
      case 'r':
        return request_.receiver.empty() ? "unknown" : request_.receiver;
      case 't':
        return std::to_string(request_.now);
      default:
        return "";
    }
  }

  // Anything wrong with an explanation means that there is none (RFC 7208 6.2).
  loop::Task<std::string> explain(std::string spec, std::string domain) {
    const auto target = co_await expand(spec, domain);
    if (!target || !is_query_name(*target)) co_return "";
    const DnsAnswer answer = co_await dns_.look_up(*target, RecordType::kTxt);
    if (answer.records.size() != 1) co_return "";
    auto text = co_await expand_in(answer.records.front(), domain, SpfMacroUse::kText);
    if (!text || text->size() > kMaxExplanation || !std::ranges::all_of(*text, is_printable)) {
      co_return "";
    }
    co_return *std::move(text);
  }

  [[nodiscard]] RecordType address_type() const {
    return request_.client.is_ipv6 ? RecordType::kAaaa : RecordType::kA;
  }
  [[nodiscard]] Match is_match(const dns::Address& network, const SpfTerm& term) const {
    const unsigned prefix = network.is_ipv6 ? term.prefix6 : term.prefix4;
    return is_in_network(request_.client, network, prefix) ? Match::kYes : Match::kNo;
  }
  [[nodiscard]] Match is_any_match(const DnsAnswer& answer, const SpfTerm& term) const {
    for (const auto& text : answer.records) {
      const auto address = dns::parse_address(text);
      if (address && is_match(*address, term) == Match::kYes) return Match::kYes;
    }
    return Match::kNo;
  }
  [[nodiscard]] bool is_too_void() { return ++void_look_ups_ > request_.limits.void_look_ups; }
  [[nodiscard]] Match temporary(const std::string& name) {
    problem_ = "no answer for " + name;
    return Match::kTemperror;
  }
  [[nodiscard]] Match permanent(std::string why) {
    problem_ = std::move(why);
    return Match::kPermerror;
  }

  DnsSource& dns_;
  SpfRequest request_;
  std::string local_part_;
  std::string sender_domain_;
  unsigned terms_ = 0;
  unsigned void_look_ups_ = 0;
  bool has_names_ = false;
  std::vector<std::string> names_;
  std::string problem_;
};

// A value of Received-SPF: a dot-atom as it is, anything else quoted.
std::string pair_value(std::string_view text) {
  const bool is_plain = !text.empty() && std::ranges::all_of(text, [](char c) {
    return is_alnum(c) ||
           std::string_view("!#$%&'*+-/=?^_`{|}~.").find(c) != std::string_view::npos;
  });
  if (is_plain) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (!is_control(c)) out += c;
  }
  return out + "\"";
}

std::string spf_comment(const SpfVerdict& verdict, const SpfRequest& request) {
  const std::string client = request.client.to_text();
  switch (verdict.result) {
    case SpfResult::kPass:
      return fmt::format("domain of {} designates {} as permitted sender", verdict.domain, client);
    case SpfResult::kFail:
      return fmt::format("domain of {} does not designate {} as permitted sender", verdict.domain,
                         client);
    case SpfResult::kSoftfail:
      return fmt::format("domain of {} discourages use of {}", verdict.domain, client);
    case SpfResult::kNeutral:
      return fmt::format("domain of {} says nothing about {}", verdict.domain, client);
    case SpfResult::kNone:
      return fmt::format("domain of {} publishes no policy", verdict.domain);
    case SpfResult::kTemperror:
    case SpfResult::kPermerror:
      return verdict.problem.empty() ? "error in processing" : verdict.problem;
  }
  return "";
}

// Inside of a comment: no parenthesis, backslash or control of somebody else's.
std::string clean_comment(std::string text) {
  for (char& c : text) {
    if (c == '(' || c == ')' || c == '\\' || is_control(c)) c = '?';
  }
  return text;
}

}  // namespace

std::string_view spf_result_name(SpfResult result) {
  return kNames.at(static_cast<std::size_t>(result));
}

std::optional<SpfResult> find_spf_result(std::string_view name) {
  const auto* found = std::ranges::find_if(
      kNames, [&](std::string_view known) { return equal_nocase(known, name); });
  if (found == kNames.end()) return std::nullopt;
  return static_cast<SpfResult>(found - kNames.begin());
}

dns::Address without_mapping(const dns::Address& address) {
  constexpr std::array<std::uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (!address.is_ipv6 || !std::equal(kMapped.begin(), kMapped.end(), address.bytes.begin())) {
    return address;
  }
  dns::Address plain;
  std::copy(address.bytes.begin() + 12, address.bytes.end(), plain.bytes.begin());
  return plain;
}

loop::Task<SpfVerdict> check_spf(DnsSource& dns, SpfRequest request) {
  request.client = without_mapping(request.client);
  if (request.sender.empty()) request.sender = "postmaster@" + request.helo;
  Check check(dns, std::move(request));
  SpfVerdict verdict = co_await check.run();
  co_return verdict;
}

std::string format_received_spf(const SpfVerdict& verdict, const SpfRequest& request,
                                SpfIdentity identity) {
  std::string name(spf_result_name(verdict.result));
  name.front() = to_upper(name.front());
  return fmt::format(
      "{} ({}: {}) identity={}; client-ip={}; helo={}; envelope-from={}; receiver={}", name,
      clean_comment(request.receiver), clean_comment(spf_comment(verdict, request)),
      identity == SpfIdentity::kHelo ? "helo" : "mailfrom", pair_value(request.client.to_text()),
      pair_value(request.helo), pair_value(request.sender), pair_value(request.receiver));
}

}  // namespace postern::mailauth
