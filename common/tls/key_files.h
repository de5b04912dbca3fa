// key_files.h - the files with certificates and keys that main.cf names: who may see what of them.
//
// master reads them, since most processes open no file. What is public, certificates and
// parameters, becomes part of the configuration snapshot under file_name(path), with a mark where a
// private key stood; the keys go to keyring and to nobody else. Pure text here, no OpenSSL: master
// is root.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/problem.h"
#include "common/config/values.h"
#include "common/ipc/keyring.h"

namespace postern::tls {

enum class Role : unsigned char { kServer, kClient };  // smtpd_tls_*; smtp_tls_* or lmtp_tls_*

enum class FileKind : unsigned char {
  kChain,        // key, certificate and issuers, as *_tls_chain_files
  kCertificate,  // *_cert_file
  kKey,          // *_key_file
  kAuthorities,  // *_CAfile
  kDirectory,    // *_CApath: names as c_rehash(1) makes them
  kParameters,   // *_dh1024_param_file
};

struct NamedFile {
  std::string parameter;
  std::string path;
  FileKind kind = FileKind::kCertificate;
  friend bool operator==(const NamedFile&, const NamedFile&) = default;
};

// Those that a role's parameters name, in an order where a key follows its certificate.
[[nodiscard]] std::vector<NamedFile> named_files(const config::Values& values, Role role);

// Where systems keep the authorities that everybody trusts, the first that is there; empty: none.
[[nodiscard]] std::string system_authorities_path();

// Where the public part of a file is in Snapshot::files.
[[nodiscard]] std::string file_name(std::string_view path);

// What stands in the public part for a private key.
inline constexpr std::string_view kKeyMark = "-----KEY IN KEYRING-----\n";
[[nodiscard]] std::string public_part(std::string_view pem);
// The private keys alone, each with its line breaks.
[[nodiscard]] std::string private_part(std::string_view pem);

// What a file looked like when it was read: another stamp means that it is to be read again.
struct Stamp {
  std::int64_t seconds = 0, nanoseconds = 0, size = -1;
  std::uint64_t inode = 0;
  friend bool operator==(const Stamp&, const Stamp&) = default;
};
using Stamps = std::map<std::string, Stamp>;
[[nodiscard]] Stamp stamp_of(const std::string& path);

struct Material {
  config::Snapshot::Texts files;  // by file_name()
  std::vector<ipc::keyring::KeyFile> keys;
  Stamps stamps;
  config::Problems problems;  // what could not be read
};

// Of all services that speak TLS, and what signs mail. Precondition: the rights to read the keys.
[[nodiscard]] Material read_material(const std::shared_ptr<const config::Snapshot>& snapshot);

// The values of each service that speaks TLS, with its role; `call` is called once for each.
template <typename Call>
void for_each_tls_service(const std::shared_ptr<const config::Snapshot>& snapshot,
                          const Call& call) {
  for (const auto& service : snapshot->services) {
    const config::Values values(snapshot, service);
    if (service.program == "smtpd" || service.program == "postscreen") {
      call(values, Role::kServer);
    } else if (service.program == "smtp") {
      call(values, Role::kClient);
    } else if (service.program == "lmtp") {
      call(values.for_lmtp(), Role::kClient);
    }
  }
}

}  // namespace postern::tls
