#include "common/policy/network_list.h"

#include <fmt/format.h>

namespace postern::policy {

namespace {

constexpr std::chrono::seconds kTablesTime{100};

using Kind = config::Networks::Match::Kind;

}  // namespace

loop::Task<Result<bool>> is_in_networks(ipc::TablesClient& tables, const config::Networks& networks,
                                        config::IpAddress address) {
  auto match = networks.match(address);
  while (match.kind == Kind::kAskTable) {
    ipc::tables::Lookup question;
    question.tables.emplace_back(match.table);
    question.keys.push_back({config::to_string(address), false});
    const auto found =
        co_await tables.lookup(std::move(question), loop::Clock::now() + kTablesTime);
    if (!found) {
      co_return fail(found.error().kind, fmt::format("{}: {}", match.table, found.error().text));
    }
    if (found->is_found) co_return match.if_found == Kind::kYes;
    match = networks.match(address, match.next);
  }
  co_return match.kind == Kind::kYes;
}

}  // namespace postern::policy
