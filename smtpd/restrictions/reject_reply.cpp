// reject_reply.cpp - what administrators add to replies that refuse: smtpd_reject_footer (and its
// maps, by the whole reply), and smtpd_reject_filter_maps, which replaces a reply.

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/log/log.h"
#include "smtpd/restrictions/template_values.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

constexpr std::chrono::seconds kTablesTime{100};
constexpr std::size_t kMaxFooterLines = 50;

loop::Task<std::optional<std::string>> find_text(ipc::TablesClient& tables,
                                                 std::vector<std::string> maps, std::string key,
                                                 std::string_view parameter) {
  if (maps.empty()) co_return std::nullopt;
  ipc::tables::Lookup question;
  question.tables = std::move(maps);
  question.keys.push_back({std::move(key), false});
  auto found = co_await tables.lookup(std::move(question), loop::Clock::now() + kTablesTime);
  if (!found) {
    // The refusal stands, whatever is to be said with it.
    log::warning("{}: {}", parameter, found.error().text);
    co_return std::nullopt;
  }
  if (!found->is_found) co_return std::nullopt;
  co_return std::move(found->value);
}

}  // namespace

bool Session::has_reject_text() const {
  const auto& params = settings_->smtpd;
  return !params.smtpd_reject_footer.empty() || !params.smtpd_reject_footer_maps.empty() ||
         !params.smtpd_reject_filter_maps.empty();
}

loop::Task<mail::Reply> Session::with_reject_text(mail::Reply reply) {
  const auto& params = settings_->smtpd;
  auto& tables = neighbours().tables;
  const auto other = co_await find_text(tables, params.smtpd_reject_filter_maps, reply.to_line(),
                                        "smtpd_reject_filter_maps");
  if (other) {
    auto parsed = mail::parse_reply_text(*other);
    // A refusal becomes no permission.
    if (parsed && parsed->code >= 400) {
      reply = *std::move(parsed);
    } else {
      log::warning("smtpd_reject_filter_maps: \"{}\" is no 4XX or 5XX reply", *other);
    }
  }
  std::string footer = params.smtpd_reject_footer;
  if (auto own = co_await find_text(tables, params.smtpd_reject_footer_maps, reply.to_line(),
                                    "smtpd_reject_footer_maps")) {
    footer = *std::move(own);
  }
  if (footer.empty()) co_return reply;
  const auto expanded =
      expand_template(footer, template_values(*this, recipient_in_check_), settings_->restrictions);
  if (!expanded) {
    log::warning("smtpd_reject_footer: {}", expanded.error().text);
    co_return reply;
  }
  std::string_view text = *expanded;
  bool continues = false;
  if (text.starts_with("\\c")) {
    text.remove_prefix(2);
    continues = true;
  }
  while (!text.empty() && reply.lines.size() < kMaxFooterLines) {
    const auto end = text.find("\\n");
    const std::string_view line = text.substr(0, end);
    if (continues && !reply.lines.empty()) {
      reply.lines.back() += line;
    } else {
      reply.lines.emplace_back(line);
    }
    continues = false;
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 2);
  }
  co_return reply;
}

}  // namespace postern::smtpd
