#include "common/policy/debug_peers.h"

#include <algorithm>

#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/log.h"

namespace postern::policy {

namespace {

constexpr std::chrono::seconds kTablesTime{100};
constexpr std::size_t kMaxShown = 500;

using Kind = config::SiteList::Match::Kind;

loop::Task<bool> has_key(ipc::TablesClient& tables, std::string table,
                         std::vector<std::string> keys) {
  ipc::tables::Lookup question;
  question.tables = {std::move(table)};
  for (auto& key : keys) question.keys.push_back({std::move(key), false});
  const auto found = co_await tables.lookup(std::move(question), loop::Clock::now() + kTablesTime);
  if (!found) log::warning("debug_peer_list: {}", found.error().text);
  co_return found && found->is_found;
}

}  // namespace

DebugPeers::DebugPeers(const config::Values& values) : level_(values.count("debug_peer_level")) {
  const auto parents = values.list("parent_domain_matches_subdomains");
  const bool match_parents = std::ranges::find(parents, "debug_peer_list") != parents.end();
  const auto words = values.list("debug_peer_list");
  names_ = config::SiteList(words, match_parents, values);
  std::string networks;
  for (const auto& word : words) {
    if (config::parse_network(trim(word, "!"))) networks += word + " ";
  }
  std::vector<std::string> faults;
  addresses_ = config::Networks::parse(networks, {}, faults);
}

loop::Task<bool> DebugPeers::includes(ipc::TablesClient& tables, std::string name,
                                      std::string address) const {
  if (is_empty()) co_return false;
  const auto ip = config::parse_ip_address(address);
  if (ip && addresses_.contains(*ip)) co_return true;
  auto match = names_.match(name);
  while (match.kind == Kind::kAskTable) {
    std::vector<std::string> keys = names_.forms(name);
    keys.push_back(address);
    const bool is_there = co_await has_key(tables, std::string(match.table), std::move(keys));
    if (is_there) co_return match.if_found == Kind::kYes;
    match = names_.match(name, match.next);
  }
  co_return match.kind == Kind::kYes;
}

std::string loggable_command(std::string_view line) {
  if (!starts_with_nocase(line, "AUTH ")) return log::clean(line, kMaxShown);
  std::string_view rest = line;
  std::string shown(next_word(rest));
  shown += ' ';
  shown += next_word(rest);
  if (!trim(rest).empty()) shown += " (not shown)";
  return log::clean(shown, kMaxShown);
}

}  // namespace postern::policy
