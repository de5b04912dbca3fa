// make_certificate.h - keys and certificates for tests, as PEM.

#pragma once

#include <string>
#include <vector>

namespace postern::tls {

struct MadeCertificate {
  std::string certificate;  // PEM
  std::string key;          // PEM
};

struct CertificateWish {
  std::string common_name;
  std::vector<std::string> dns_names{};
  const MadeCertificate* issuer = nullptr;  // null: signs itself
  bool is_authority = false;
  long valid_from = -3600;  // seconds from now
  long valid_for = 86400;   // seconds from then
  bool is_rsa = false;      // else P-256
};

[[nodiscard]] MadeCertificate make_certificate(const CertificateWish& wish);

}  // namespace postern::tls
