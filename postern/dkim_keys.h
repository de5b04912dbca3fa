// dkim_keys.h - the DKIM keys that main.cf leads to, and their records in DNS.

#pragma once

#include <string>
#include <vector>

#include "common/config/dkim_tables.h"
#include "common/config/values.h"
#include "common/mailauth/crypto.h"

namespace postern::control {

// dkim_key_path without $config_directory.
[[nodiscard]] std::string dkim_key_pattern(const config::Values& values);

// Of dkim_key_table and of dkim_key_path.
[[nodiscard]] std::vector<config::DkimKey> dkim_keys(const config::Values& values);
[[nodiscard]] Result<mailauth::PrivateKey> read_dkim_key(const std::string& path);

[[nodiscard]] std::string dkim_record_name(const config::DkimKey& key);
[[nodiscard]] std::string dkim_record(const mailauth::PrivateKey& key);
// As a line of a zone file: strings of a record hold 255 bytes at most.
[[nodiscard]] std::string dkim_zone_line(const config::DkimKey& key, std::string_view record);

enum class Published : unsigned char { kYes, kNo, kOther, kUnknown };
[[nodiscard]] Published find_published(const config::DkimKey& key,
                                       const mailauth::PrivateKey& read);
[[nodiscard]] std::string_view words_of(Published published);

}  // namespace postern::control
