// settings.h - the TLS parameters of main.cf as the values that contexts are made of.

#pragma once

#include "common/config/values.h"
#include "common/tls/context.h"
#include "common/tls/key_files.h"

namespace postern::tls {

enum class Demand : unsigned char {
  kOptional,   // security level may: *_tls_ciphers, *_tls_protocols
  kMandatory,  // encrypt and above: *_tls_mandatory_ciphers, *_tls_mandatory_protocols
};

[[nodiscard]] CipherLists read_cipher_lists(const config::Values& values);

// What a role agrees on. A value that is wrong leaves a Problem, and the default counts instead.
[[nodiscard]] Algorithms read_algorithms(const config::Values& values, Role role, Demand demand,
                                         config::Problems& problems);

// The certificates that a role's parameters name, as the snapshot has them (key_files.h); their
// keys are in keyring. Each parameter's trouble is a Problem, and its certificate is left out.
[[nodiscard]] std::vector<IdentityPtr> read_identities(const config::Values& values, Role role,
                                                       config::Problems& problems);
// Whom the role trusts: *_CAfile, *_CApath and tls_append_default_CA; those of the file are
// announced, as in Postfix: a directory may hold all the world's.
[[nodiscard]] Trust read_trust(const config::Values& values, Role role);
// The PEM text of all of them.
[[nodiscard]] std::string read_authorities(const config::Values& values, Role role);
// The text of smtpd_tls_dh1024_param_file; empty where there is none.
[[nodiscard]] std::string read_dh_parameters(const config::Values& values);

}  // namespace postern::tls
