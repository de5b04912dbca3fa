#include "common/config/login_senders.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include "common/base/text.h"
#include "common/config/ask_postmap.h"
#include "common/mail/address.h"

namespace postern::config {

bool allows_sender(std::string_view patterns, std::string_view sender, std::string_view delimiters,
                   std::string_view null_key) {
  std::string bare(sender);
  if (!delimiters.empty()) bare = mail::strip_extension(sender, delimiters).address;
  const auto parts = mail::split_address(bare);
  for (const auto pattern : split_words(patterns)) {
    if (pattern == "*") return true;
    if (sender.empty() || equal_nocase(pattern, null_key)) {
      if (sender.empty() && equal_nocase(pattern, null_key)) return true;
      continue;
    }
    const bool is_domain = pattern.starts_with('@');
    if (is_domain && parts.has_domain && equal_nocase(pattern.substr(1), parts.domain)) return true;
    if (!is_domain && equal_nocase(pattern, bare)) return true;
  }
  return false;
}

Result<bool> may_send_as(const Values& values, std::string_view sender) {
  // What cannot be read is no permission, whatever the default is.
  TRY(const std::string maps, values.expanded("local_login_sender_maps"));
  const auto tables = split_list(maps);
  // The stock value: no look into the password file for nothing.
  if (tables.size() == 1 && tables.front() == "static:*") return true;
  const passwd* const entry = ::getpwuid(::getuid());
  const std::string name =
      entry == nullptr ? fmt::format("uid:{}", ::getuid()) : std::string(entry->pw_name);
  for (const auto& table : tables) {
    constexpr std::string_view kStatic = "static:";
    std::optional<std::string> patterns;
    if (table.starts_with(kStatic)) {
      patterns = table.substr(kStatic.size());
    } else {
      TRY(patterns, ask_postmap(values, table, name));
    }
    if (!patterns) continue;
    return allows_sender(*patterns, sender, values.text("recipient_delimiter"),
                         values.text("empty_address_local_login_sender_maps_lookup_key"));
  }
  return false;
}

}  // namespace postern::config
