// dkim_tables.h - dkim_key_table and dkim_signing_table: which keys sign whose mail. Pure.
//
// A file is in the form that OpenDKIM reads:
//
//     key table      NAME DOMAIN:SELECTOR:PATH
//     signing table  PATTERN NAME[,NAME...]
//
// The first pattern that fits the author counts, with all keys that are named for it. `*` in a
// pattern stands for anything; without one it is an address or a domain. A DOMAIN `%` is that of
// the author. `type:table` is looked up instead, see mailauth(8).

#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/values.h"

namespace postern::config {

struct DkimKey {
  std::string domain{};
  std::string selector{};
  std::string path{};
  friend bool operator==(const DkimKey&, const DkimKey&) = default;
};

using DkimKeyTable = std::map<std::string, DkimKey, std::less<>>;

// Lines that are none are left out; `wrong` gets their numbers.
[[nodiscard]] DkimKeyTable parse_dkim_keys(std::string_view text, std::vector<unsigned>& wrong);

// "DOMAIN:SELECTOR:PATH"
[[nodiscard]] std::optional<DkimKey> parse_dkim_key(std::string_view text);

struct DkimRule {
  std::string pattern{};  // lower case
  std::vector<std::string> keys{};
  friend bool operator==(const DkimRule&, const DkimRule&) = default;
};
using DkimSigningTable = std::vector<DkimRule>;

[[nodiscard]] DkimSigningTable parse_dkim_rules(std::string_view text,
                                                std::vector<unsigned>& wrong);

// The first rule that fits an address (local@domain); none where its mail is not signed.
[[nodiscard]] const DkimRule* find_dkim_rule(const DkimSigningTable& table,
                                             std::string_view address);

// "/path", "file:/path" and "refile:/path" name a file of the form above; nothing for type:table.
[[nodiscard]] std::optional<std::string> dkim_table_file(std::string_view value);
// Where its text is in Snapshot::files.
[[nodiscard]] std::string dkim_file_name(std::string_view path);

// dkim_key_path for one key: $domain, $selector and $config_directory replaced.
[[nodiscard]] std::string dkim_key_path(std::string_view pattern, std::string_view domain,
                                        std::string_view selector,
                                        std::string_view config_directory);

}  // namespace postern::config
