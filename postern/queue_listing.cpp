#include "postern/queue_listing.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "common/base/text.h"
#include "common/config/params/paths.h"
#include "common/config/params/queue.h"
#include "common/sys/fd.h"

namespace postern::control {

namespace {

using queuefile::ListedMessage;

constexpr std::string_view kNobody = "MAILER-DAEMON";

std::string domain_of(std::string_view address) {
  if (address.empty() || address == kNobody) return std::string(kNobody);
  const auto at = address.rfind('@');
  return at == std::string_view::npos ? std::string() : to_lower(address.substr(at + 1));
}

// What qshape counts under: as Postfix's has it, local names alone stand for themselves.
std::string shape_domain(std::string_view address) {
  if (address.empty()) address = kNobody;
  std::string domain;
  for (const char c : address == kNobody ? std::string(kNobody) : to_lower(address)) {
    if (c == '@')
      domain.clear();
    else if (c != '.' || !domain.ends_with('.'))
      domain += c;
  }
  if (domain.size() > 1 && domain.starts_with('.')) domain.erase(0, 1);
  if (domain.size() > 1 && domain.ends_with('.')) domain.pop_back();
  return domain;
}

bool fits_address(std::string_view pattern, std::string_view address) {
  const std::string wanted = to_lower(pattern == "<>" ? kNobody : pattern);
  const std::string seen = to_lower(address.empty() ? kNobody : address);
  return wanted == seen || glob_match(wanted, seen);
}

bool contains_nocase(std::string_view text, std::string_view part) {
  return to_lower(text).find(to_lower(part)) != std::string::npos;
}

struct Row {
  std::size_t total = 0;
  std::vector<std::size_t> buckets;
  std::set<std::string> subdomains;  // of a parent: those right below it
};

std::size_t bucket_of(const Shape& shape, std::int64_t age) {
  std::int64_t limit = shape.minutes * 60;
  for (std::size_t i = 0; i + 1 < shape.buckets; ++i) {
    if (age < limit) return i;
    limit = shape.is_linear ? limit + shape.minutes * 60 : limit * 2;
  }
  return shape.buckets - 1;
}

std::vector<std::string> labels_of(const Shape& shape) {
  std::vector<std::string> labels;
  std::int64_t minutes = shape.minutes;
  for (std::size_t i = 0; i + 1 < shape.buckets; ++i) {
    labels.push_back(fmt::format("{}", minutes));
    if (i + 2 < shape.buckets) minutes = shape.is_linear ? minutes + shape.minutes : minutes * 2;
  }
  labels.push_back(fmt::format("{}+", minutes));
  return labels;
}

void count_in(Row& row, std::size_t bucket, std::size_t buckets) {
  row.buckets.resize(buckets);
  ++row.total;
  ++row.buckets[bucket];
}

}  // namespace

Result<std::vector<ListedMessage>> read_queues(const config::Tool& tool,
                                               const std::vector<queuefile::Queue>& queues) {
  config::Problems problems;
  const auto paths = config::load<config::PathsParams>(tool.values, problems);
  const auto params = config::load<config::QueueParams>(tool.values, problems);
  if (::chdir(paths.queue_directory.c_str()) < 0) {
    return sys::fail_errno("chdir " + paths.queue_directory);
  }
  TRY(const auto dirs,
      queuefile::QueueDirs::open(
          ".", {params.hash_queue_names, static_cast<unsigned>(params.hash_queue_depth)}));
  std::vector<ListedMessage> messages;
  for (const auto queue : queues) {
    auto walk = dirs.scan(queue);
    for (;;) {
      const auto entry = walk.next();
      if (!entry) continue;
      if (!*entry) break;
      if (auto message = queuefile::list_message(dirs, queue, **entry)) {
        messages.push_back(*std::move(message));
      }
    }
  }
  return messages;
}

bool QueueFilter::is_empty() const {
  return ids.empty() && queue.empty() && sender.empty() && recipient.empty() && domain.empty() &&
         reason.empty() && !older && !younger && !larger && !smaller;
}

bool matches(const QueueFilter& filter, const ListedMessage& message, std::int64_t now) {
  const auto any_recipient = [&](const auto& holds) {
    return std::ranges::any_of(message.recipients, holds);
  };
  const std::int64_t age = now - message.arrival_time;
  const auto size = static_cast<std::int64_t>(message.size);
  if (!filter.ids.empty() && std::ranges::find(filter.ids, message.queue_id) == filter.ids.end()) {
    return false;
  }
  if (!filter.queue.empty() && filter.queue != message.queue_name) return false;
  if (!filter.sender.empty() && !fits_address(filter.sender, message.sender)) return false;
  if (!filter.recipient.empty() && !any_recipient([&](const auto& recipient) {
        return fits_address(filter.recipient, recipient.address);
      })) {
    return false;
  }
  if (!filter.domain.empty() && !any_recipient([&](const auto& recipient) {
        return fits_address(filter.domain, domain_of(recipient.address));
      })) {
    return false;
  }
  if (!filter.reason.empty() && !any_recipient([&](const auto& recipient) {
        return contains_nocase(recipient.reason, filter.reason);
      })) {
    return false;
  }
  return (!filter.older || age >= filter.older->count()) &&
         (!filter.younger || age < filter.younger->count()) &&
         (!filter.larger || size >= *filter.larger) && (!filter.smaller || size < *filter.smaller);
}

std::string print_shape(const Shape& shape, const std::vector<ListedMessage>& messages,
                        std::int64_t now) {
  Row total;
  total.buckets.resize(shape.buckets);
  std::map<std::string, Row> rows;
  const auto count = [&](const std::string& domain, std::int64_t arrival) {
    const std::size_t bucket = bucket_of(shape, std::max<std::int64_t>(now - arrival, 0));
    count_in(total, bucket, shape.buckets);
    count_in(rows[domain], bucket, shape.buckets);
    if (!shape.with_parents) return;
    // Not for the top level: a parent has a dot in it.
    std::string child = domain;
    for (auto dot = domain.find('.'); dot != std::string::npos; dot = domain.find('.', dot + 1)) {
      if (domain.find('.', dot + 1) == std::string::npos) break;
      Row& parent = rows[domain.substr(dot)];
      count_in(parent, bucket, shape.buckets);
      parent.subdomains.insert(child);
      child = domain.substr(dot);
    }
  };
  for (const ListedMessage& message : messages) {
    if (shape.by_sender) {
      count(shape_domain(message.sender), message.arrival_time);
      continue;
    }
    for (const auto& recipient : message.recipients) {
      count(shape_domain(recipient.address), message.arrival_time);
    }
  }
  std::vector<std::pair<std::string, const Row*>> sorted = {{"TOTAL", &total}};
  for (const auto& [domain, row] : rows) {
    const bool is_parent = !row.subdomains.empty();
    if (is_parent && row.subdomains.size() < shape.min_subdomains) continue;
    sorted.emplace_back(domain, &row);
  }
  std::ranges::sort(sorted, [](const auto& a, const auto& b) {
    return std::tuple(b.second->total, a.first.size(), a.first) <
           std::tuple(a.second->total, b.first.size(), b.first);
  });
  if (shape.top > 0 && sorted.size() > shape.top) sorted.resize(shape.top);

  const auto labels = labels_of(shape);
  constexpr std::size_t kLeastWidth = 2;
  std::vector<std::size_t> widths = {std::max(kLeastWidth, fmt::formatted_size("{}", total.total))};
  for (std::size_t i = 0; i < shape.buckets; ++i) {
    widths.push_back(
        std::max({kLeastWidth, labels[i].size(), fmt::formatted_size("{}", total.buckets[i])}));
  }
  std::size_t used = 0;
  for (const std::size_t width : widths) used += width + 1;
  constexpr std::size_t kLeastName = 18;
  const std::size_t name_width = shape.width > used + kLeastName ? shape.width - used : kLeastName;
  std::string out = fmt::format("{:>{}} {:>{}}", "", name_width, "T", widths[0]);
  for (std::size_t i = 0; i < shape.buckets; ++i) {
    out += fmt::format(" {:>{}}", labels[i], widths[i + 1]);
  }
  out += '\n';
  const auto print = [&](std::string name, const Row& row) {
    if (name.size() > name_width) {
      const bool is_parent = name.starts_with('.');
      name = is_parent ? ".+" + name.substr(name.size() - name_width + 2)
                       : "+" + name.substr(name.size() - name_width + 1);
    }
    out += fmt::format("{:>{}} {:>{}}", name, name_width, row.total, widths[0]);
    for (std::size_t i = 0; i < shape.buckets; ++i) {
      out += fmt::format(" {:>{}}", row.buckets[i], widths[i + 1]);
    }
    out += '\n';
  };
  for (const auto& [domain, row] : sorted) print(domain, *row);
  return out;
}

}  // namespace postern::control
