#include "common/policy/probe_sender.h"

#include "common/base/text.h"

namespace postern::policy {

namespace {

std::string period_text(std::int64_t period) {
  constexpr std::string_view kDigits = "0123456789abcdefghijklmnopqrstuvwxyz";
  std::string out;
  for (auto rest = static_cast<std::uint64_t>(period); rest > 0; rest /= kDigits.size()) {
    out.insert(out.begin(), kDigits[rest % kDigits.size()]);
  }
  return out;
}

std::string in_period(std::string_view sender, std::int64_t period) {
  const auto at = sender.rfind('@');
  std::string out(sender.substr(0, at));
  out += period_text(period);
  if (at != std::string_view::npos) out += sender.substr(at);
  return out;
}

}  // namespace

std::string probe_sender(std::string_view sender, std::chrono::seconds ttl, std::int64_t now) {
  if (sender.empty() || sender == "<>") return {};
  return ttl.count() <= 0 ? std::string(sender) : in_period(sender, now / ttl.count());
}

bool is_probe_sender(std::string_view address, std::string_view sender, std::chrono::seconds ttl,
                     std::int64_t now) {
  if (sender.empty() || sender == "<>") return false;
  if (sender.find('@') == std::string_view::npos) address = address.substr(0, address.rfind('@'));
  if (ttl.count() <= 0) return equal_nocase(address, sender);
  const std::int64_t period = now / ttl.count();
  return equal_nocase(address, in_period(sender, period)) ||
         equal_nocase(address, in_period(sender, period - 1));
}

}  // namespace postern::policy
