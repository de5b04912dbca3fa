#include "common/smtpclient/reply_filter.h"

#include "common/log/clean.h"
#include "common/log/log.h"

namespace postern::smtpclient {

namespace {

constexpr std::chrono::seconds kTablesTime{100};

}  // namespace

loop::Task<Result<std::string>> ReplyFilter::apply(std::string line) const {
  ipc::tables::Lookup question;
  question.tables = settings_->params.smtp_reply_filter;
  question.keys.push_back({line, false});
  auto found = co_await tables_->lookup(std::move(question), loop::Clock::now() + kTablesTime);
  if (!found) {
    log::warning("{}_reply_filter: {}", settings_->is_lmtp() ? "lmtp" : "smtp", found.error().text);
    co_return std::unexpected(found.error());
  }
  if (found->is_found) line = std::move(found->value);
  co_return line;
}

}  // namespace postern::smtpclient
