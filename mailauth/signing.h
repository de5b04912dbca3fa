// signing.h - signatures and seals of ours: which keys sign whose mail, and the keyring that has
// them.
//
// What is signed is what the SMTP client will send: addresses and fields of the header and lines of
// the body as it changes them, lines broken as it breaks them. Where that depends on the server,
// both editions are signed.

#pragma once

#include <string>
#include <vector>

#include "common/config/dkim_tables.h"
#include "common/config/params/mailauth.h"
#include "common/config/values.h"
#include "common/ipc/client.h"
#include "common/ipc/keyring.h"
#include "common/ipc/mailauth.h"
#include "common/ipc/tables_client.h"
#include "common/loop/task.h"
#include "common/loop/worker_pool.h"
#include "common/mailauth/arc.h"
#include "common/mailauth/dkim.h"
#include "common/smtpclient/outgoing.h"
#include "common/sys/fd.h"

namespace postern::mailauthd {

struct SigningRules {
  bool has_key_table = false;
  std::string key_table;      // type:table; empty: `keys`
  std::string signing_table;  // type:table; empty: `rules`
  config::DkimKeyTable keys;
  config::DkimSigningTable rules;
  std::string key_path;  // $domain, $selector
  std::vector<std::string> fields, oversigned;
  mailauth::Canon header_canon = mailauth::Canon::kRelaxed;
  mailauth::Canon body_canon = mailauth::Canon::kRelaxed;
  std::chrono::seconds lifetime{0};
  std::size_t line_limit = 0;  // smtp_line_length_limit
  // smtp_generic_maps, smtp_header_checks: what the SMTP client will make of the header.
  smtpclient::SettingsPtr outgoing;
  config::DkimKey seal;  // of ARC
};

// The tables come with the snapshot; `problems` gets what is wrong in them.
[[nodiscard]] SigningRules read_signing_rules(const config::Values& values,
                                              const config::MailauthParams& params,
                                              config::Problems& problems);

class Signing {
 public:
  // All outlive this.
  Signing(const SigningRules& rules, ipc::TablesClient& tables, ipc::Client& keyring,
          loop::Deadline deadline)
      : rules_(rules), tables_(tables), keyring_(keyring), deadline_(deadline), now_(now()) {}

  // The fields to stand above all others. An error is temporary.
  [[nodiscard]] loop::Task<Result<ipc::mailauth::Signed>> sign(ipc::mailauth::Sign request,
                                                               loop::WorkerPool& pool,
                                                               sys::Fd body_file);

 private:
  // What a peer gets: the message as it is, or converted to 7 bits (RFC 6152 3).
  enum class Edition : unsigned char { kWhole, kConverted };
  [[nodiscard]] loop::Task<Result<std::string>> sign_edition(const ipc::mailauth::Sign& request,
                                                             Edition edition,
                                                             loop::WorkerPool& pool, int body_file);
  struct Named {
    std::vector<std::string> keys;
    std::string domain;
  };
  [[nodiscard]] static std::int64_t now();
  [[nodiscard]] loop::Task<Result<Named>> find_names(std::string author);
  [[nodiscard]] loop::Task<Result<std::vector<config::DkimKey>>> find_keys(std::string author);
  [[nodiscard]] loop::Task<Result<std::optional<std::string>>> look_up(
      std::string table, std::vector<std::string> keys, std::size_t* which);
  // How the key signs, by what keyring says of its file.
  [[nodiscard]] loop::Task<Result<mailauth::DkimSigning>> prepare(config::DkimKey key,
                                                                  ipc::keyring::Purpose purpose);

  const SigningRules& rules_;
  ipc::TablesClient& tables_;
  ipc::Client& keyring_;
  loop::Deadline deadline_;
  std::int64_t now_;  // all signatures of a message are of one second
};

}  // namespace postern::mailauthd
