// signing_keys.h - the private keys that sign mail, and the tables that say which: what master
// reads for keyring and mailauth.

#pragma once

#include "common/tls/key_files.h"

namespace postern::tls {

// dkim_key_table, dkim_signing_table and the keys that they or dkim_key_path name; the key of ARC.
// Nothing where neither dkim_sign_enable nor arc_seal_enable is set.
void read_signing_keys(Material& material, const config::Values& values);

// Files whose names fit the pattern with its $domain and $selector, wherever they are.
[[nodiscard]] std::vector<std::string> find_key_files(const std::string& pattern);

}  // namespace postern::tls
