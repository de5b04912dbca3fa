#include "common/table/key_order.h"

#include <algorithm>

namespace postern::table {

std::vector<std::uint32_t> order_of(std::span<const std::string_view> keys) {
  struct Item {
    KeyPrefix prefix;
    std::uint32_t index;
  };
  std::vector<Item> items;
  items.reserve(keys.size());
  for (std::uint32_t i = 0; i < keys.size(); ++i) items.push_back({KeyPrefix(keys[i]), i});
  std::sort(items.begin(), items.end(), [&](const Item& a, const Item& b) {
    const int order = a.prefix.compare(b.prefix);
    return order != 0 ? order < 0 : keys[a.index] < keys[b.index];
  });
  std::vector<std::uint32_t> order;
  order.reserve(items.size());
  for (const Item& item : items) order.push_back(item.index);
  return order;
}

}  // namespace postern::table
