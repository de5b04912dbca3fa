#include "anvil/contacts.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/config/networks.h"

namespace postern::anvil {

namespace {

template <typename Times>
std::string print(const std::string& client, const Times& times) {
  return fmt::format("{} {}", client, fmt::join(times, " "));
}

}  // namespace

Result<void> Contacts::load() {
  TRY(const auto lines, file_.read());
  for (const auto& line : lines) {
    const auto words = split_words(line, " ");
    if (words.size() != 1 + ipc::anvil::kContactTests) continue;
    if (!config::parse_ip_address(words[0]) || clients_.size() >= kMaxClients) continue;
    Times times{};
    bool is_good = true;
    for (std::size_t i = 0; i < times.size(); ++i) {
      const auto time = parse_integer<std::int64_t>(words[i + 1], 0);
      is_good = is_good && time.has_value();
      times[i] = time.value_or(0);
    }
    if (is_good) clients_.insert_or_assign(std::string(words[0]), times);
  }
  return {};
}

ipc::anvil::Contact Contacts::find(const std::string& client) const {
  ipc::anvil::Contact contact;
  const auto found = clients_.find(client);
  if (found == clients_.end()) return contact;
  contact.is_known = true;
  contact.passed_until.assign(found->second.begin(), found->second.end());
  return contact;
}

Result<void> Contacts::save(const ipc::anvil::SaveContact& contact) {
  if (!config::parse_ip_address(contact.client)) return {};
  if (clients_.size() >= kMaxClients && !clients_.contains(contact.client)) return {};
  Times times{};
  for (std::size_t i = 0; i < std::min(times.size(), contact.passed_until.size()); ++i) {
    times[i] = std::max<std::int64_t>(contact.passed_until[i], 0);
  }
  clients_.insert_or_assign(contact.client, times);
  return file_.append(print(contact.client, times));
}

Result<ipc::anvil::Cleaned> Contacts::clean(std::int64_t now, std::int64_t retention) {
  ipc::anvil::Cleaned cleaned;
  cleaned.dropped = static_cast<std::int64_t>(std::erase_if(clients_, [&](const auto& entry) {
    return *std::max_element(entry.second.begin(), entry.second.end()) + retention < now;
  }));
  cleaned.retained = static_cast<std::int64_t>(clients_.size());
  if (cleaned.dropped > 0 || file_.appended() > 0) {
    std::vector<std::string> lines;
    lines.reserve(clients_.size());
    for (const auto& [client, times] : clients_) lines.push_back(print(client, times));
    DO(file_.replace(lines));
  }
  return cleaned;
}

}  // namespace postern::anvil
