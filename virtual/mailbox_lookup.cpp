#include "virtual/mailbox_lookup.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/mail/address.h"

namespace postern::virtual_mailbox {

namespace {
constexpr std::chrono::seconds kTablesTime{100};
constexpr std::string_view kStatic = "static:";
}  // namespace

std::optional<std::string_view> static_value(const std::vector<std::string>& maps) {
  if (maps.empty() || !maps.front().starts_with(kStatic)) return std::nullopt;
  const std::string_view value = std::string_view(maps.front()).substr(kStatic.size());
  return value.starts_with('{') ? std::nullopt : std::optional(value);
}

std::vector<ipc::tables::Key> lookup_keys(std::string_view address,
                                          std::string_view recipient_delimiter) {
  std::vector<ipc::tables::Key> keys;
  const std::string lower = to_lower(address);
  const auto add = [&](std::string text, bool is_partial) {
    ipc::tables::Key& key = keys.emplace_back();
    key.text = std::move(text);
    key.is_partial = is_partial;
  };
  add(lower, false);
  const auto stripped = mail::strip_extension(lower, recipient_delimiter);
  if (!stripped.extension.empty()) add(stripped.address, true);
  const auto parts = mail::split_address(lower);
  if (parts.has_domain) add("@" + std::string(parts.domain), true);
  return keys;
}

loop::Task<Result<std::optional<std::string>>> look_up(ipc::TablesClient& tables,
                                                       std::vector<std::string> maps,
                                                       std::vector<ipc::tables::Key> keys) {
  using Value = Result<std::optional<std::string>>;
  if (maps.empty()) co_return Value(std::nullopt);
  if (const auto value = static_value(maps)) co_return Value(std::string(*value));
  ipc::tables::Lookup question;
  question.tables = std::move(maps);
  question.keys = std::move(keys);
  CO_TRY(const auto found,
         co_await tables.lookup(std::move(question), loop::Clock::now() + kTablesTime));
  if (!found.is_found) co_return Value(std::nullopt);
  co_return Value(found.value);
}

Result<std::string> mailbox_path(std::string_view base, std::string_view value) {
  if (value.empty()) return fail_temporary("empty mailbox");
  for (const std::string_view part : split_fields(value, '/')) {
    if (part == "..") return fail_temporary(fmt::format("mailbox {} leads elsewhere", value));
  }
  return fmt::format("{}/{}", base, value);
}

std::optional<unsigned> parse_id(std::string_view text, std::int64_t minimum) {
  const auto id = parse_integer<unsigned>(trim(text), 1U, std::numeric_limits<unsigned>::max() - 1);
  if (!id || std::int64_t{*id} < minimum) return std::nullopt;
  return id;
}

}  // namespace postern::virtual_mailbox
