#include "postern/dns.h"

#include <fmt/format.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "common/base/encode.h"
#include "common/base/text.h"
#include "common/config/load.h"
#include "common/mail/address.h"
#include "common/mailauth/dmarc.h"
#include "common/mailauth/local_resolver.h"
#include "common/mailauth/spf.h"
#include "common/mailauth/spf_record.h"
#include "postern/dkim_keys.h"
#include "postern/mail_system.h"

namespace postern::control {

namespace {

using dns::RecordType;
using mailauth::DnsAnswer;

// Needed: mail does not work well without it. Advised: the rest.
enum class Weight : unsigned char { kNeeded, kAdvised };

struct Finding {
  std::string what;                 // "MX of example.org"
  std::string fault;                // empty: as it should be
  std::vector<std::string> wanted;  // lines of a zone file
  Weight weight = Weight::kNeeded;
};

// An address that others could reach.
bool is_public(const dns::Address& address) {
  constexpr std::array<std::pair<std::string_view, unsigned>, 9> kPrivate = {
      std::pair{std::string_view("0.0.0.0"), 8U},
      {"10.0.0.0", 8},
      {"127.0.0.0", 8},
      {"169.254.0.0", 16},
      {"172.16.0.0", 12},
      {"192.168.0.0", 16},
      {"::", 120},
      {"fc00::", 7},
      {"fe80::", 10}};
  return std::ranges::none_of(kPrivate, [&](const auto& network) {
    return mailauth::is_in_network(address, *dns::parse_address(network.first), network.second);
  });
}

// "3 1 1 HASH" of a certificate; empty where there is none.
std::string tlsa_of(const std::string& path) {
  constexpr std::size_t kMaxFile = std::size_t{1} << 20;
  const auto pem = config::read_file(path, kMaxFile);
  if (!pem) return "";
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(
      BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size())), BIO_free);
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(
      PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), X509_free);
  if (certificate == nullptr) return "";
  unsigned char* bytes = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate.get()), &bytes);
  if (size <= 0) return "";
  const std::string key(static_cast<const char*>(static_cast<const void*>(bytes)),
                        static_cast<std::size_t>(size));
  OPENSSL_free(bytes);
  return "3 1 1 " + hex_encode(mailauth::sha256(key));
}

class Survey {
 public:
  Survey(const config::Values& values, std::string domain)
      : values_(values), domain_(std::move(domain)), host_(to_lower(values.text("myhostname"))) {
    for (const auto& text : values.snapshot().own_addresses) {
      const auto address = dns::parse_address(text);
      if (address && is_public(*address)) addresses_.push_back(*address);
    }
  }

  // `asks`: also what DNS has.
  std::vector<Finding> run(bool asks) {
    asks_ = asks;
    look_at_mx();
    look_at_host();
    look_at_spf();
    look_at_dkim();
    look_at_dmarc();
    look_at_transport();
    return std::move(findings_);
  }

 private:
  static constexpr std::string_view kNoAnswer = "DNS does not answer";

  Finding& add(std::string what, Weight weight, std::vector<std::string> wanted) {
    findings_.push_back({std::move(what), "", std::move(wanted), weight});
    return findings_.back();
  }

  // Some fault where no record is as `is_good` says.
  template <typename IsGood>
  void judge(Finding& finding, const std::string& name, RecordType type, const IsGood& is_good) {
    if (!asks_) return;
    const DnsAnswer answer = mailauth::ask_dns(name, type);
    if (answer.status == mailauth::DnsStatus::kTemporary) {
      finding.fault = kNoAnswer;
    } else if (answer.records.empty()) {
      finding.fault = "missing";
    } else if (std::ranges::none_of(answer.records, is_good)) {
      finding.fault = fmt::format("is {}", answer.records.front().substr(0, 200));
    }
  }

  void look_at_mx() {
    Finding& finding =
        add("MX of " + domain_, Weight::kNeeded, {fmt::format("{}. IN MX 10 {}.", domain_, host_)});
    judge(finding, domain_, RecordType::kMx,
          [&](const std::string& host) { return equal_nocase(host, host_); });
  }

  void look_at_host() {
    for (const auto& address : addresses_) {
      const std::string text = address.to_text();
      const auto type = address.is_ipv6 ? RecordType::kAaaa : RecordType::kA;
      Finding& forward = add(fmt::format("{} of {}", dns::type_name(type), host_), Weight::kNeeded,
                             {fmt::format("{}. IN {} {}", host_, dns::type_name(type), text)});
      judge(forward, host_, type, [&](const std::string& found) { return found == text; });
      const std::string reverse = dns::reverse_name(address);
      Finding& back =
          add("PTR of " + text, Weight::kNeeded, {fmt::format("{}. IN PTR {}.", reverse, host_)});
      judge(back, reverse, RecordType::kPtr,
            [&](const std::string& name) { return equal_nocase(name, host_); });
    }
  }

  void look_at_spf() {
    Finding& finding = add("SPF of " + domain_, Weight::kNeeded,
                           {fmt::format("{}. IN TXT \"v=spf1 mx -all\"", domain_)});
    if (!asks_) return;
    const DnsAnswer answer = mailauth::ask_dns(domain_, RecordType::kTxt);
    const auto count = std::ranges::count_if(answer.records, mailauth::is_spf_record);
    if (answer.status == mailauth::DnsStatus::kTemporary) {
      finding.fault = kNoAnswer;
      return;
    }
    if (count != 1) {
      finding.fault = count == 0 ? "missing" : "there are several records";
      return;
    }
    for (const auto& address : addresses_) {
      mailauth::SpfRequest request;
      request.client = address;
      request.helo = host_;
      request.sender = "postmaster@" + domain_;
      mailauth::LocalResolver dns;
      const auto verdict = mailauth::result_of(mailauth::check_spf(dns, std::move(request)));
      if (verdict.result == mailauth::SpfResult::kPass) continue;
      finding.fault =
          fmt::format("{} for {}{}{}", mailauth::spf_result_name(verdict.result), address.to_text(),
                      verdict.problem.empty() ? "" : ": ", verdict.problem);
      return;
    }
  }

  void look_at_dkim() {
    bool has_key = false;
    for (const auto& key : dkim_keys(values_)) {
      if (key.domain != domain_) continue;
      has_key = true;
      const auto read = read_dkim_key(key.path);
      if (!read) {
        add("DKIM " + dkim_record_name(key), Weight::kNeeded, {}).fault = read.error().text;
        continue;
      }
      Finding& finding = add("DKIM " + dkim_record_name(key), Weight::kNeeded,
                             {dkim_zone_line(key, dkim_record(*read))});
      if (!asks_) continue;
      const Published published = find_published(key, *read);
      if (published != Published::kYes) finding.fault = words_of(published);
    }
    if (has_key) return;
    Finding& finding = add("DKIM of " + domain_, Weight::kNeeded, {});
    finding.fault = fmt::format("there is no key: postern dkim new {} s1", domain_);
  }

  void look_at_dmarc() {
    const std::string name = "_dmarc." + domain_;
    Finding& finding =
        add("DMARC of " + domain_, Weight::kNeeded,
            {fmt::format("{}. IN TXT \"v=DMARC1; p=quarantine; rua=mailto:postmaster@{}\"", name,
                         domain_)});
    judge(finding, name, RecordType::kTxt,
          [](const std::string& text) { return mailauth::parse_dmarc_record(text).has_value(); });
  }

  // What makes mail to us travel with TLS, and clients find us.
  void look_at_transport() {
    const std::string sts = "_mta-sts." + domain_;
    Finding& policy = add("MTA-STS of " + domain_, Weight::kAdvised,
                          {fmt::format("{}. IN TXT \"v=STSv1; id=1\"", sts),
                           fmt::format("mta-sts.{}. IN CNAME {}.", domain_, host_)});
    judge(policy, sts, RecordType::kTxt,
          [](const std::string& text) { return text.starts_with("v=STSv1"); });
    const std::string report = "_smtp._tls." + domain_;
    Finding& reports =
        add("TLSRPT of " + domain_, Weight::kAdvised,
            {fmt::format("{}. IN TXT \"v=TLSRPTv1; rua=mailto:postmaster@{}\"", report, domain_)});
    judge(reports, report, RecordType::kTxt,
          [](const std::string& text) { return text.starts_with("v=TLSRPTv1"); });
    std::string path = values_.text("smtpd_tls_cert_file");
    const auto chains = values_.list("smtpd_tls_chain_files");
    if (!chains.empty()) path = chains.front();
    if (const std::string tlsa = path.empty() ? "" : tlsa_of(path); !tlsa.empty()) {
      const std::string place = "_25._tcp." + host_;
      Finding& dane =
          add("TLSA of " + host_, Weight::kAdvised, {fmt::format("{}. IN TLSA {}", place, tlsa)});
      judge(dane, place, RecordType::kTlsa,
            [&](const std::string& found) { return equal_nocase(found, tlsa); });
    }
    const std::string place = "_submissions._tcp." + domain_;
    Finding& submission = add("SRV of " + place, Weight::kAdvised,
                              {fmt::format("{}. IN SRV 0 1 465 {}.", place, host_),
                               fmt::format("autoconfig.{}. IN CNAME {}.", domain_, host_)});
    judge(submission, place, RecordType::kSrv,
          [&](const std::string& target) { return equal_nocase(target, host_); });
  }

  const config::Values& values_;
  std::string domain_;
  std::string host_;
  std::vector<dns::Address> addresses_;
  bool asks_ = true;
  std::vector<Finding> findings_;
};

}  // namespace

bool print_survey(const config::Values& values, const std::string& domain) {
  bool is_good = true;
  Survey survey(values, to_lower(domain));
  for (const auto& finding : survey.run(true)) {
    if (finding.fault.empty()) {
      fmt::print("ok      {}\n", finding.what);
      continue;
    }
    const bool is_needed = finding.weight == Weight::kNeeded;
    is_good = is_good && !is_needed;
    fmt::print("{} {}: {}\n", is_needed ? "wrong  " : "advised", finding.what, finding.fault);
    for (const auto& line : finding.wanted) fmt::print("          {}\n", line);
  }
  return is_good;
}

int dns_main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  const bool is_zone = std::erase(words, "--zone") > 0;
  if (words.size() != 1 || !mail::is_valid_hostname(words[0])) {
    fmt::print(stderr, "usage: postern dns DOMAIN [--zone]\n");
    return 1;
  }
  const auto system = open_mail_system();
  if (!system) return 1;
  const config::Values values = system->values();
  if (!is_zone) return print_survey(values, words[0]) ? 0 : 1;
  Survey survey(values, to_lower(words[0]));
  for (const auto& finding : survey.run(false)) {
    for (const auto& line : finding.wanted) fmt::print("{}\n", line);
  }
  return 0;
}

}  // namespace postern::control
