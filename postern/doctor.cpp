#include "postern/doctor.h"

#include <fmt/format.h>
#include <sys/statvfs.h>
#include <sys/timex.h>

#include <algorithm>
#include <set>
#include <string>

#include "common/config/params/address.h"
#include "common/config/params/cleanup.h"
#include "common/config/params/queue.h"
#include "common/config/params/smtpd.h"
#include "common/mail/address.h"
#include "common/mailauth/local_resolver.h"
#include "common/policy/list.h"
#include "postern/certificates.h"
#include "postern/check.h"
#include "postern/dns.h"
#include "postern/mail_system.h"

namespace postern::control {

namespace {

using dns::RecordType;
using mailauth::DnsStatus;

class Doctor {
 public:
  explicit Doctor(const MailSystem& system) : system_(system), values_(system.values()) {}

  int run() {
    look_at_configuration();
    look_at_certificates();
    look_at_relaying();
    look_at_resolver();
    look_at_block_lists();
    look_at_clock();
    look_at_disk();
    look_at_records();
    return is_good_ ? 0 : 1;
  }

 private:
  void good(std::string_view what) { fmt::print("ok      {}\n", what); }
  void advise(std::string_view what) { fmt::print("advised {}\n", what); }
  void wrong(std::string_view what) {
    is_good_ = false;
    fmt::print("wrong   {}\n", what);
  }

  void look_at_configuration() {
    const auto problems = check_configuration(system_.loaded);
    const bool has_error = std::ranges::any_of(problems, [](const config::Problem& problem) {
      return problem.severity == config::Severity::kError;
    });
    fmt::print("{}", print_problems(problems, system_.directory));
    if (has_error) {
      wrong("configuration");
    } else {
      good("configuration");
    }
  }

  void look_at_certificates() {
    const auto problems = check_certificates(system_.loaded.snapshot);
    for (const auto& problem : problems) wrong("certificate: " + problem.text);
    fmt::print("{}", list_certificates(system_.loaded.snapshot));
  }

  // What everybody could use: mynetworks that hold strangers; `check` looks at the lists.
  void look_at_relaying() {
    config::Problems problems;
    const auto address = config::load<config::AddressParams>(values_, problems);
    for (const std::string_view stranger : {"203.0.113.77", "2001:db8:77::77"}) {
      const auto ip = config::parse_ip_address(stranger);
      if (ip && address.mynetworks.contains(*ip)) {
        return wrong(fmt::format("mynetworks has {}: strangers can relay", stranger));
      }
    }
    good("no stranger is in mynetworks");
  }

  void look_at_resolver() {
    const auto root = mailauth::ask_dns("org", RecordType::kNs);
    if (root.status != DnsStatus::kFound)
      return wrong("the name server knows no name servers of org");
    good("the name server answers");
    if (mailauth::is_validated("org", RecordType::kNs)) return good("the name server validates");
    advise("the name server does not validate (DNSSEC), or resolv.conf has no trust-ad: no DANE");
  }

  // RFC 5782 5: 127.0.0.2 is on each list, 127.0.0.1 on none.
  void look_at_block_lists() {
    config::Problems problems;
    const auto params = config::load<config::SmtpdParams>(values_, problems);
    const auto lists = policy::parse_restriction_lists(params, values_, problems);
    std::set<std::string> zones;
    policy::visit_lists(lists, [&](const auto&, const policy::RestrictionList& list, auto) {
      for (const auto& restriction : list) {
        const auto& dns_list = restriction.dns_list;
        if (dns_list && dns_list->by == policy::DnsListBy::kClientAddress &&
            !dns_list->is_allow_list) {
          zones.insert(dns_list->zone);
        }
      }
    });
    for (const auto& zone : zones) look_at_block_list(zone);
  }

  void look_at_block_list(const std::string& zone) {
    const auto listed = mailauth::ask_dns("2.0.0.127." + zone, RecordType::kA);
    const bool is_blocked = std::ranges::any_of(listed.records, [](const std::string& record) {
      return record.starts_with("127.255.255.");
    });
    if (is_blocked) return wrong(zone + " does not serve this name server");
    if (listed.status != DnsStatus::kFound) return wrong(zone + " does not list its test address");
    const auto clean = mailauth::ask_dns("1.0.0.127." + zone, RecordType::kA);
    if (clean.status == DnsStatus::kFound) return wrong(zone + " lists everybody");
    good(zone + " answers");
  }

  void look_at_clock() {
    timex time{};
    const int state = ::adjtimex(&time);
    if (state == TIME_ERROR || (time.status & STA_UNSYNC) != 0) {
      return advise("nobody keeps the clock: signatures, reports and logs need the right time");
    }
    good("the clock is kept");
  }

  void look_at_disk() {
    config::Problems problems;
    const auto queue = config::load<config::QueueParams>(values_, problems);
    const auto cleanup = config::load<config::CleanupParams>(values_, problems);
    const std::string path = values_.text("queue_directory");
    struct statvfs fs{};
    if (::statvfs(path.c_str(), &fs) != 0) return wrong(path + " cannot be looked at");
    const std::uint64_t free = static_cast<std::uint64_t>(fs.f_bavail) * fs.f_frsize;
    const auto wanted = static_cast<std::uint64_t>(
        std::max(queue.queue_minfree, cleanup.message_size_limit * 3 / 2));
    if (free < wanted) {
      return wrong(fmt::format("{}: {} bytes free, {} wanted", path, free, wanted));
    }
    if (fs.f_files != 0 && fs.f_favail == 0) return wrong(path + ": no inode is left");
    good(fmt::format("{}: {} MB free", path, free >> 20U));
  }

  void look_at_records() {
    const std::string domain = values_.text("mydomain");
    if (!mail::is_valid_hostname(domain) || domain == "localdomain") {
      return advise("mydomain is no domain of the Internet: its records are not looked at");
    }
    if (!print_survey(values_, domain)) is_good_ = false;
  }

  const MailSystem& system_;
  const config::Values values_;
  bool is_good_ = true;
};

}  // namespace

int doctor_main(int argc, char** /*argv*/) {
  if (argc != 1) {
    fmt::print(stderr, "usage: postern doctor\n");
    return 1;
  }
  const auto system = open_mail_system();
  if (!system) return 1;
  return Doctor(*system).run();
}

}  // namespace postern::control
