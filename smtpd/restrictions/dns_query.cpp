#include "smtpd/restrictions/dns_query.h"

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "smtpd/server.h"

namespace postern::smtpd {

namespace {

using ipc::resolver::Answer;
using ipc::resolver::Status;

constexpr std::chrono::seconds kResolverTime{100};
constexpr std::chrono::seconds kTablesTime{100};
// Of one text record, as much as a pattern may look at.
constexpr std::size_t kMaxShown = 500;

Answer failed(std::string why) {
  Answer answer;
  answer.status = Status::kTemporary;
  answer.error = std::move(why);
  return answer;
}

loop::Task<Answer> filter_records(ipc::TablesClient& tables, std::vector<std::string> filter,
                                  Answer answer, std::string type) {
  std::vector<ipc::resolver::Record> kept;
  for (auto& record : answer.records) {
    ipc::tables::Lookup question;
    question.tables = filter;
    question.keys.push_back({dns_filter_key(record, type), false});
    const auto found =
        co_await tables.lookup(std::move(question), loop::Clock::now() + kTablesTime);
    if (!found) {
      log::warning("smtpd_dns_reply_filter: {}", found.error().text);
      co_return failed("Invalid DNS reply filter syntax");
    }
    if (!found->is_found) {
      kept.push_back(std::move(record));
    } else if (!equal_nocase(trim(found->value), "IGNORE")) {
      log::warning("smtpd_dns_reply_filter: unknown DNS filter action: \"{}\"",
                   log::clean(found->value, 100));
      co_return failed("Invalid DNS reply filter syntax");
    } else {
      log::info("ignoring DNS RR: {}", log::clean(dns_filter_key(record, type)));
    }
  }
  if (kept.empty()) co_return failed(std::string(kAllFiltered));
  answer.records = std::move(kept);
  co_return answer;
}

}  // namespace

std::string dns_filter_key(const ipc::resolver::Record& record, std::string_view type) {
  const bool is_host = type == "MX" || type == "NS";
  return fmt::format("{}. {} IN {} {}{}{}", record.name, record.ttl, type,
                     type == "MX" ? fmt::format("{} ", record.preference) : std::string(),
                     std::string_view(record.data).substr(0, kMaxShown), is_host ? "." : "");
}

loop::Task<Answer> query_dns(Neighbours& neighbours, std::vector<std::string> filter,
                             std::string name, std::string type) {
  ipc::resolver::Query question;
  question.name = std::move(name);
  question.type = type;
  auto answer =
      co_await neighbours.resolver.call(std::move(question), loop::Clock::now() + kResolverTime);
  if (!answer) {
    log::warning("{}", answer.error().text);
    co_return failed(answer.error().text);
  }
  if (filter.empty() || answer->status != Status::kFound) co_return *std::move(answer);
  co_return co_await filter_records(neighbours.tables, std::move(filter), *std::move(answer),
                                    std::move(type));
}

}  // namespace postern::smtpd
