#include "common/smtpclient/require_tls.h"

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/smtpclient/tls_policy.h"

namespace postern::smtpclient {

namespace {

constexpr std::chrono::seconds kTablesTime{100};

constexpr std::array<std::pair<std::string_view, RequireTls>, 4> kWords{{
    {"disable", RequireTls::kDisable},
    {"opportunistic", RequireTls::kOpportunistic},
    {"opportunistic+starttls", RequireTls::kOpportunisticTls},
    {"enforce", RequireTls::kEnforce},
}};

std::unexpected<Error> unknown(std::string_view word) {
  return fail(Error::Kind::kConfig, fmt::format("bad REQUIRETLS policy \"{}\"", word));
}

}  // namespace

std::optional<RequireTls> parse_require_tls(std::string_view word) {
  for (const auto& [name, level] : kWords) {
    if (equal_nocase(trim(word), name)) return level;
  }
  return std::nullopt;
}

loop::Task<Result<RequireTls>> find_require_tls(ipc::TablesClient* tables,
                                                std::vector<std::string> policy,
                                                std::string domain) {
  for (const std::string& word : policy) {
    if (const auto level = parse_require_tls(word)) co_return *level;
    if (word.find(':') == std::string::npos) co_return unknown(word);
    if (tables == nullptr) co_return fail_temporary("no tables");
    ipc::tables::Lookup question;
    question.tables = {word};
    question.keys = tls_policy_keys(domain);
    CO_TRY(const auto found,
           co_await tables->lookup(std::move(question), loop::Clock::now() + kTablesTime));
    if (!found.is_found) continue;
    const auto level = parse_require_tls(found.value);
    if (!level) co_return unknown(found.value);
    co_return *level;
  }
  co_return RequireTls::kEnforce;
}

}  // namespace postern::smtpclient
