// certificates.h - the certificates that main.cf names: whether they can be used, and until when.
//
// Apart from check.h, which master shares: this reads private keys and needs OpenSSL.

#pragma once

#include <memory>
#include <string>

#include "common/config/problem.h"
#include "common/config/snapshot.h"

namespace postern::control {

// Files that are missing or broken, keys that belong to another certificate, certificates that have
// ended (errors) or end within 14 days (warnings).
[[nodiscard]] config::Problems check_certificates(
    const std::shared_ptr<const config::Snapshot>& snapshot);

// A line for each certificate: "/etc/ssl/mx.pem (mx.example.com) ends on 2027-01-15". Files that
// this user must not read are left out.
[[nodiscard]] std::string list_certificates(
    const std::shared_ptr<const config::Snapshot>& snapshot);

}  // namespace postern::control
