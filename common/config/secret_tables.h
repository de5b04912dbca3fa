// secret_tables.h - the tables that hold passwords or private keys, and the one program that needs
// each. The tables service answers these questions to nobody else: a daemon that was taken over
// reads no secret of another.

#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/values.h"

namespace postern::config {

struct SecretTables {
  std::string_view parameter;
  std::string_view program;  // the daemon's name, as below daemon_directory
};

inline constexpr SecretTables kSecretTables[] = {
    {"lmtp_sasl_password_maps", "lmtp"},
    {"smtp_sasl_password_maps", "smtp"},
    {"smtpd_sasl_password_maps", "auth"},
    {"tls_server_sni_maps", "keyring"},
};

// Who has to prove who it is: the programs above, and `tables` to proxymap.
[[nodiscard]] std::vector<std::string_view> programs_with_secrets();

// Table names without proxy: in front, and who may ask for each.
using SecretReaders = std::map<std::string, std::set<std::string, std::less<>>, std::less<>>;

// The secret tables of a configuration, -o values included. A table that another parameter names
// as well (proxy_read_maps and proxy_write_maps do not count) is no secret: that parameter has to
// work.
[[nodiscard]] SecretReaders find_secret_tables(const Values& values);

// "hash:/x" of "proxy:hash:/x".
[[nodiscard]] std::string without_proxy(std::string_view table);

}  // namespace postern::config
