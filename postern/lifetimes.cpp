#include "postern/lifetimes.h"

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/config/param.h"
#include "common/config/params/queue.h"
#include "common/mail/address.h"

namespace postern::control {

namespace {
constexpr std::string_view kMaps = "destination_queue_lifetime_maps";

bool is_pattern(std::string_view name) {
  return name.starts_with("regexp:") || name.starts_with("pcre:") || name.starts_with("cidr:");
}
}  // namespace

Lifetimes::Lifetimes(const config::Values& values) {
  config::Problems problems;
  const auto params = config::load<config::QueueParams>(values, problems);
  mail_ = params.maximal_queue_lifetime.count();
  notice_ = params.bounce_queue_lifetime.count();
  for (const auto& name : values.list(kMaps)) {
    auto table = table::open_table(name);
    if (table) {
      tables_.push_back(*std::move(table));
      continue;
    }
    is_whole_ = false;
    fmt::print(stderr, "{}: {}\n", kMaps, table.error().text);
  }
}

Lifetime Lifetimes::usual(std::string_view sender) const {
  if (sender.empty()) return {notice_, "bounce_queue_lifetime"};
  return {mail_, "maximal_queue_lifetime"};
}

table::Found Lifetimes::find(std::string_view key, bool is_parent) {
  for (const auto& table : tables_) {
    if (is_parent && is_pattern(table->name())) continue;
    TRY(auto value, table->find(key));
    if (value) return value;
  }
  return std::nullopt;
}

Lifetime Lifetimes::of(std::string_view sender, std::string_view recipient) {
  if (tables_.empty() && is_whole_) return usual(sender);
  Lifetime lifetime{0, std::string(kMaps), true};
  if (!is_whole_) return lifetime;
  const std::string domain = to_lower(mail::split_address(recipient).domain);
  auto value = find(domain, false);
  for (auto dot = domain.find('.'); value && !*value && dot != std::string::npos;
       dot = domain.find('.', dot + 1)) {
    value = find(std::string_view(domain).substr(dot), true);
  }
  if (value && !*value) return usual(sender);
  if (!value) return lifetime;
  const auto seconds = config::parse_duration(**value);
  if (!seconds) return lifetime;
  lifetime.seconds = seconds->count();
  lifetime.is_unknown = false;
  return lifetime;
}

}  // namespace postern::control
