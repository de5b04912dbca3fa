#include "keyring/expiry.h"

#include <algorithm>

#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/tls/certificate.h"

namespace postern::keyring {

namespace {

constexpr std::chrono::hours kPeriod{24};

}  // namespace

std::string expiry_warning(std::string_view path, std::string_view subject,
                           std::chrono::system_clock::time_point end,
                           std::chrono::system_clock::time_point now) {
  if (end - now > kExpiryNotice) return {};
  const std::chrono::year_month_day day(std::chrono::floor<std::chrono::days>(end));
  const std::string date =
      fmt::format("{:04}-{:02}-{:02}", static_cast<int>(day.year()),
                  static_cast<unsigned>(day.month()), static_cast<unsigned>(day.day()));
  if (end <= now) {
    return fmt::format("the certificate {} ({}) ended on {}: renew it", path, subject, date);
  }
  const auto left = std::chrono::floor<std::chrono::days>(end - now).count();
  return fmt::format("the certificate {} ({}) ends on {}, in {} day{}: renew it", path, subject,
                     date, left, left == 1 ? "" : "s");
}

void ExpiryWatch::set(const std::vector<ipc::keyring::KeyFile>& files) {
  certificates_.clear();
  for (const auto& file : files) {
    const bool is_known = std::ranges::any_of(
        certificates_, [&](const Watched& known) { return known.path == file.path; });
    const auto parsed = tls::parse_certificates(file.certificates);
    if (is_known || !parsed || parsed->empty()) continue;
    X509& own = *parsed->front();
    certificates_.push_back({file.path, log::clean(tls::subject_cn(own)), tls::expiry(own)});
  }
  look();
}

void ExpiryWatch::look() {
  const auto now = std::chrono::system_clock::now();
  for (const auto& [path, subject, end] : certificates_) {
    const std::string warning = expiry_warning(path, subject, end, now);
    if (!warning.empty()) log::warning("{}", warning);
  }
  timer_.arm(loop::Clock::now() + kPeriod);
}

}  // namespace postern::keyring
