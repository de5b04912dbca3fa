#include "postern/certificates.h"

#include <fmt/format.h>

#include <set>

#include "common/base/text.h"
#include "common/config/load.h"
#include "common/log/clean.h"
#include "common/tls/tls.h"

namespace postern::control {

namespace {

using namespace config;
using tls::FileKind;

constexpr std::chrono::days kNotice{14};
constexpr std::size_t kMaxFile = std::size_t{4} << 20;

std::string date_of(std::chrono::system_clock::time_point when) {
  const std::chrono::year_month_day day(std::chrono::floor<std::chrono::days>(when));
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(day.year()),
                     static_cast<unsigned>(day.month()), static_cast<unsigned>(day.day()));
}

// The files of one role of one service; what several services share is looked at once.
class Checker {
 public:
  explicit Checker(Problems& problems) : problems_(problems) {}

  void check(const Values& values, tls::Role role) {
    std::string chain;
    std::string chain_parameter;
    std::string chain_paths;
    std::string certificate;  // of the pair that is being looked at
    tls::NamedFile certificate_file;
    for (const auto& file : tls::named_files(values, role)) {
      if (file.kind == FileKind::kDirectory) continue;
      const auto text = read(values, file);
      if (!text) continue;
      switch (file.kind) {
        case FileKind::kChain:
          chain += *text + "\n";
          chain_parameter = file.parameter;
          chain_paths += (chain_paths.empty() ? "" : ", ") + file.path;
          break;
        case FileKind::kCertificate:
          certificate = *text;
          certificate_file = file;
          break;
        case FileKind::kKey:
          if (!certificate.empty()) {
            judge(values, certificate_file.parameter, certificate_file.path,
                  one(tls::parse_identity(certificate, *text)));
          }
          certificate.clear();
          break;
        default:
          if (auto parsed = tls::parse_certificates(*text); !parsed) {
            add(values, file.parameter, fmt::format("{}: {}", file.path, parsed.error().text));
          }
          break;
      }
    }
    if (!chain.empty()) judge(values, chain_parameter, chain_paths, tls::parse_identities(chain));
  }

 private:
  static Result<std::vector<tls::IdentityPtr>> one(Result<tls::IdentityPtr> identity) {
    if (!identity) return std::unexpected(std::move(identity).error());
    return std::vector<tls::IdentityPtr>{*std::move(identity)};
  }

  std::optional<std::string> read(const Values& values, const tls::NamedFile& file) {
    auto text = read_file(file.path, kMaxFile);
    if (text) return *std::move(text);
    add(values, file.parameter, text.error().text);
    return std::nullopt;
  }

  void judge(const Values& values, const std::string& parameter, const std::string& path,
             const Result<std::vector<tls::IdentityPtr>>& identities) {
    if (!identities) {
      add(values, parameter, fmt::format("{}: {}", path, identities.error().text));
      return;
    }
    const auto now = std::chrono::system_clock::now();
    for (const auto& identity : *identities) {
      X509& own = *identity->certificate;
      const auto end = tls::expiry(own);
      const std::string name = log::clean(tls::subject_cn(own));
      if (end <= now) {
        add(values, parameter,
            fmt::format("{}: the certificate of {} ended on {}", path, name, date_of(end)));
      } else if (end - now <= kNotice) {
        add(values, parameter,
            fmt::format("{}: the certificate of {} ends on {}", path, name, date_of(end)),
            Severity::kWarning);
      }
    }
  }

  void add(const Values& values, const std::string& parameter, std::string text,
           Severity severity = Severity::kError) {
    if (said_.insert(text).second) {
      problems_.push_back(values.problem(parameter, std::move(text), severity));
    }
  }

  Problems& problems_;
  std::set<std::string> said_;
};

}  // namespace

Problems check_certificates(const std::shared_ptr<const Snapshot>& snapshot) {
  Problems problems;
  Checker checker(problems);
  tls::for_each_tls_service(
      snapshot, [&](const Values& values, tls::Role role) { checker.check(values, role); });
  return problems;
}

std::string list_certificates(const std::shared_ptr<const Snapshot>& snapshot) {
  std::string lines;
  std::set<std::string> seen;
  tls::for_each_tls_service(snapshot, [&](const Values& values, tls::Role role) {
    for (const auto& file : tls::named_files(values, role)) {
      if (file.kind != FileKind::kCertificate && file.kind != FileKind::kChain) continue;
      if (!seen.insert(file.path).second) continue;
      const auto text = read_file(file.path, kMaxFile);
      if (!text) continue;
      const auto parsed = tls::parse_certificates(*text);
      if (!parsed || parsed->empty()) continue;
      X509& own = *parsed->front();
      const auto end = tls::expiry(own);
      lines +=
          fmt::format("{} ({}) {} on {}\n", file.path, log::clean(tls::subject_cn(own)),
                      end <= std::chrono::system_clock::now() ? "ended" : "ends", date_of(end));
    }
  });
  return lines;
}

}  // namespace postern::control
