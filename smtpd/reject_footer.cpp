#include "smtpd/reject_footer.h"

#include "common/log/log.h"

namespace postern::smtpd {

namespace {

constexpr std::chrono::seconds kTablesTime{100};
constexpr std::size_t kMaxFooterLines = 50;

}  // namespace

loop::Task<std::optional<std::string>> find_reply_text(ipc::TablesClient& tables,
                                                       std::vector<std::string> maps,
                                                       std::string reply,
                                                       std::string_view parameter) {
  if (maps.empty()) co_return std::nullopt;
  ipc::tables::Lookup question;
  question.tables = std::move(maps);
  question.keys.push_back({std::move(reply), false});
  auto found = co_await tables.lookup(std::move(question), loop::Clock::now() + kTablesTime);
  if (!found) {
    log::warning("{}: {}", parameter, found.error().text);
    co_return std::nullopt;
  }
  if (!found->is_found) co_return std::nullopt;
  co_return std::move(found->value);
}

void append_footer(mail::Reply& reply, std::string_view text) {
  bool continues = false;
  if (text.starts_with("\\c")) {
    text.remove_prefix(2);
    continues = true;
  }
  // A line break at the end begins one more line, an empty one.
  bool is_more = !text.empty();
  while (is_more && reply.lines.size() < kMaxFooterLines) {
    const auto end = text.find("\\n");
    const std::string_view line = text.substr(0, end);
    if (continues && !reply.lines.empty()) {
      reply.lines.back() += line;
    } else {
      reply.lines.emplace_back(line);
    }
    continues = false;
    is_more = end != std::string_view::npos;
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 2);
  }
}

}  // namespace postern::smtpd
