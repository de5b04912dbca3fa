#include "common/mailauth/dns_source.h"

#include <algorithm>

#include "common/base/text.h"

namespace postern::mailauth {

bool is_query_name(std::string_view name) {
  constexpr std::size_t kMaxLabel = 63;
  constexpr std::size_t kMaxName = 253;
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.empty() || name.size() > kMaxName) return false;
  const auto labels = split_fields(name, '.');
  return std::ranges::all_of(labels, [](std::string_view label) {
    return !label.empty() && label.size() <= kMaxLabel &&
           std::ranges::none_of(label, [](char c) { return is_control(c) || c == '\\'; });
  });
}

}  // namespace postern::mailauth
