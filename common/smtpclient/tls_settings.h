// tls_settings.h - what the TLS parameters of a delivery client come to, once for all deliveries.

#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/config/params/tls.h"
#include "common/config/problem.h"
#include "common/smtpclient/tls_policy.h"
#include "common/tls/context.h"

namespace postern::smtpclient {

// What the files behind the parameters hold; the client itself opens none.
struct TlsMaterials {
  std::vector<tls::IdentityPtr> identities{};         // our own certificates
  std::string authorities{};                          // PEM: smtp_tls_CAfile, smtp_tls_CApath
  std::map<std::string, std::string> anchor_files{};  // PEM by path: ..._trust_anchor_file
  std::shared_ptr<tls::Signer> signer{};              // has the keys of `identities`
};

struct TlsSettings {
  config::TlsParams params{};
  // What main.cf asks for. An error stands for a configuration that must not send in the clear.
  Result<TlsPolicy> policy = TlsPolicy{};
  tls::CipherLists cipher_lists{};
  std::map<std::string, std::string> anchor_files{};

  // Some destination may have TLS, by main.cf or by the policy table.
  [[nodiscard]] bool is_used() const;

  // Made when it is first asked for: the authorities of a system are megabytes once they are
  // parsed, and much mail goes where there is no TLS.
  [[nodiscard]] const Result<tls::ContextPtr>& context() const;

  // `params` are those of the protocol (values.for_lmtp()).
  [[nodiscard]] static TlsSettings load(config::TlsParams params, TlsMaterials materials);

  // What a policy demands of the handshake, beside names and records.
  struct Terms {
    tls::Protocols protocols;
    std::string ciphers;
  };
  [[nodiscard]] Result<Terms> terms_of(const TlsPolicy& policy) const;

 private:
  struct Lazy {
    TlsMaterials materials;
    std::optional<Result<tls::ContextPtr>> made;
  };
  std::shared_ptr<Lazy> lazy_ = std::make_shared<Lazy>();
};

}  // namespace postern::smtpclient
