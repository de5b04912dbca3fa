#include "common/agent/status_filter.h"

#include "common/base/text.h"
#include "common/config/param.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/mail/status.h"

namespace postern::agent {

namespace {

constexpr std::chrono::seconds kTablesTime{100};

}  // namespace

Result<std::pair<std::string, std::string>> parse_filtered_status(std::string_view result,
                                                                  std::string_view status) {
  const auto [code, text] = split_at_first(trim(result), ' ');
  if (!mail::parse_status(code)) return fail_temporary("no enhanced status code in front");
  if (trim(text).empty()) return fail_temporary("no text behind the status code");
  const bool is_success = code.starts_with('2');
  if (is_success != status.starts_with('2')) {
    return fail_temporary("success and failure cannot stand for each other");
  }
  return std::pair{std::string(code), std::string(trim_left(text))};
}

void StatusFilter::configure(const config::Values& values, std::string_view program) {
  std::string name = std::string(program) + "_delivery_status_filter";
  if (!config::find_param(name)) name = "default_delivery_status_filter";
  tables_ = values.list(name);
}

loop::Task<Verdict> StatusFilter::apply(Verdict verdict) {
  ipc::tables::Lookup question;
  question.tables = tables_;
  const std::string line = verdict.status + " " + verdict.text;
  question.keys.push_back({line, false});
  const auto found = co_await client_.lookup(std::move(question), loop::Clock::now() + kTablesTime);
  if (!found) {
    log::warning("delivery status filter: {}", found.error().text);
    co_return verdict;
  }
  if (!found->is_found) co_return verdict;
  auto changed = parse_filtered_status(found->value, verdict.status);
  if (!changed) {
    log::warning("delivery status filter: \"{}\" for \"{}\": {}", log::clean(found->value),
                 log::clean(line), changed.error().text);
    co_return verdict;
  }
  verdict.status = std::move(changed->first);
  verdict.text = std::move(changed->second);
  co_return verdict;
}

}  // namespace postern::agent
