#include "common/tls/certificate.h"

#include <openssl/asn1.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>

#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/tls/key_files.h"
#include "common/tls/signer.h"

namespace postern::tls {

namespace {

using NamesPtr = std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES_free>>;

std::string text_of(const ASN1_STRING* value) {
  if (value == nullptr) return {};
  unsigned char* utf8 = nullptr;
  const int length = ASN1_STRING_to_UTF8(&utf8, value);
  if (length < 0) {
    ERR_clear_error();
    return {};
  }
  std::string text(static_cast<char*>(static_cast<void*>(utf8)), static_cast<std::size_t>(length));
  OPENSSL_free(utf8);
  // "good.example\0.evil.example" must not look like the first half to anybody.
  if (text.find('\0') != std::string::npos) text.clear();
  return text;
}

std::string entry_of(X509_NAME* name, int nid) {
  const int index = name != nullptr ? X509_NAME_get_index_by_NID(name, nid, -1) : -1;
  if (index < 0) return {};
  return text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, index)));
}

std::string print_digest(std::span<const unsigned char> bytes) {
  std::string text;
  for (const unsigned char byte : bytes) {
    if (!text.empty()) text += ':';
    text += fmt::format("{:02X}", byte);
  }
  return text;
}

std::string digest_text(std::string_view bytes, std::string_view digest) {
  const EVP_MD* const method = EVP_get_digestbyname(std::string(digest).c_str());
  if (method == nullptr) return {};
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), hash, &length, method, nullptr) != 1) {
    ERR_clear_error();
    return {};
  }
  return print_digest({hash, length});
}

template <auto kEncode, typename Object>
std::string der_of(Object* object) {
  unsigned char* out = nullptr;
  const int length = kEncode(object, &out);
  if (length <= 0) return {};
  std::string bytes(static_cast<char*>(static_cast<void*>(out)), static_cast<std::size_t>(length));
  OPENSSL_free(out);
  return bytes;
}

std::string certificate_der(X509& certificate) { return der_of<i2d_X509>(&certificate); }

std::string key_der(X509& certificate) {
  return der_of<i2d_X509_PUBKEY>(X509_get_X509_PUBKEY(&certificate));
}

// Nobody is there to type a passphrase.
int no_passphrase(char*, int, int, void*) { return 0; }

std::unexpected<Error> broken(std::string_view what) {
  return fail(Error::Kind::kConfig, fmt::format("{}: {}", what, take_library_reason()));
}

struct PemBlock {
  std::string name;  // "CERTIFICATE", "RSA PRIVATE KEY"
  std::string_view text;
  [[nodiscard]] bool is_certificate() const { return name.ends_with("CERTIFICATE"); }
  [[nodiscard]] bool is_key() const { return name.ends_with("PRIVATE KEY"); }
};

// The next block of the text, which is moved behind it. Text between blocks is a comment.
std::optional<PemBlock> next_block(std::string_view& text) {
  constexpr std::string_view kBegin = "-----BEGIN ";
  const std::size_t begin = text.find(kBegin);
  if (begin == std::string_view::npos) return std::nullopt;
  const std::size_t name = begin + kBegin.size();
  const std::size_t name_end = text.find("-----", name);
  if (name_end == std::string_view::npos) return std::nullopt;
  PemBlock block;
  block.name = text.substr(name, name_end - name);
  const std::string end = "-----END " + block.name + "-----";
  const std::size_t ends = text.find(end, name_end);
  const std::size_t after = ends == std::string_view::npos ? text.size() : ends + end.size();
  block.text = text.substr(begin, after - begin);
  text.remove_prefix(after);
  return block;
}

Result<IdentityPtr> make_identity(std::vector<X509Ptr> certificates, KeyPtr key) {
  if (certificates.empty()) return fail(Error::Kind::kConfig, "no certificate in it");
  if (X509_check_private_key(certificates.front().get(), key.get()) != 1) {
    return broken("the private key does not belong to the certificate");
  }
  auto identity = std::make_shared<Identity>();
  identity->certificate = std::move(certificates.front());
  certificates.erase(certificates.begin());
  identity->issuers = std::move(certificates);
  identity->key = std::move(key);
  return identity;
}

}  // namespace

std::string subject_cn(X509& certificate) {
  return entry_of(X509_get_subject_name(&certificate), NID_commonName);
}

std::string issuer_name(X509& certificate) {
  X509_NAME* const name = X509_get_issuer_name(&certificate);
  std::string text = entry_of(name, NID_commonName);
  return text.empty() ? entry_of(name, NID_organizationName) : text;
}

std::vector<std::string> host_names(X509& certificate) {
  std::vector<std::string> names;
  const NamesPtr alternatives(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr)));
  bool has_names = false;
  for (int i = 0; alternatives && i < sk_GENERAL_NAME_num(alternatives.get()); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(alternatives.get(), i);
    if (name->type != GEN_DNS) continue;
    has_names = true;
    std::string text = text_of(name->d.dNSName);
    if (!text.empty()) names.push_back(std::move(text));
  }
  ERR_clear_error();
  if (!has_names) {
    if (std::string cn = subject_cn(certificate); !cn.empty()) names.push_back(std::move(cn));
  }
  return names;
}

std::string fingerprint(X509& certificate, std::string_view digest) {
  return digest_text(certificate_der(certificate), digest);
}

std::string key_fingerprint(X509& certificate, std::string_view digest, bool is_legacy) {
  if (!is_legacy) return digest_text(key_der(certificate), digest);
  const ASN1_BIT_STRING* const bits = X509_get0_pubkey_bitstr(&certificate);
  if (bits == nullptr) return {};
  const auto* const data =
      static_cast<const char*>(static_cast<const void*>(ASN1_STRING_get0_data(bits)));
  return digest_text({data, static_cast<std::size_t>(ASN1_STRING_length(bits))}, digest);
}

std::chrono::system_clock::time_point expiry(X509& certificate) {
  std::tm fields{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(&certificate), &fields) != 1) {
    ERR_clear_error();
    return {};
  }
  return std::chrono::system_clock::from_time_t(::timegm(&fields));
}

bool is_usable(const dns::Tlsa& record) {
  if (record.usage != 2 && record.usage != 3) return false;
  if (record.selector > 1) return false;
  switch (record.matching_type) {
    case 0:
      return !record.data.empty();
    case 1:
      return record.data.size() == 32;
    case 2:
      return record.data.size() == 64;
    default:
      return false;
  }
}

Result<dns::Tlsa> make_tlsa(X509& certificate, std::uint8_t usage, std::uint8_t selector,
                            std::uint8_t matching_type) {
  dns::Tlsa record{usage, selector, matching_type, {}};
  record.data = selector == 0 ? certificate_der(certificate) : key_der(certificate);
  if (matching_type != 0) {
    const EVP_MD* const method = matching_type == 1 ? EVP_sha256() : EVP_sha512();
    std::string hash(static_cast<std::size_t>(EVP_MD_get_size(method)), '\0');
    auto* const out = static_cast<unsigned char*>(static_cast<void*>(hash.data()));
    if (EVP_Digest(record.data.data(), record.data.size(), out, nullptr, method, nullptr) != 1) {
      return broken("digest");
    }
    record.data = std::move(hash);
  }
  if (!is_usable(record)) return fail(Error::Kind::kConfig, "no such kind of TLSA record");
  return record;
}

Result<std::vector<dns::Tlsa>> anchors_of(std::string_view pem) {
  std::vector<dns::Tlsa> anchors;
  for (auto block = next_block(pem); block; block = next_block(pem)) {
    ERR_clear_error();
    const BioPtr in = read_memory(block->text);
    if (block->is_certificate()) {
      const X509Ptr certificate(PEM_read_bio_X509_AUX(in.get(), nullptr, no_passphrase, nullptr));
      if (!certificate) return broken("certificate");
      anchors.push_back({2, 0, 0, certificate_der(*certificate)});
    } else if (block->name.ends_with("PUBLIC KEY")) {
      const KeyPtr key(PEM_read_bio_PUBKEY(in.get(), nullptr, no_passphrase, nullptr));
      if (!key) return broken("public key");
      anchors.push_back({2, 1, 0, der_of<i2d_PUBKEY>(key.get())});
    }
  }
  if (anchors.empty()) return fail(Error::Kind::kConfig, "no trust anchor in it");
  return anchors;
}

Result<std::vector<X509Ptr>> parse_certificates(std::string_view pem) {
  init_library();
  std::vector<X509Ptr> certificates;
  for (auto block = next_block(pem); block; block = next_block(pem)) {
    if (!block->is_certificate()) continue;
    ERR_clear_error();
    const BioPtr in = read_memory(block->text);
    X509Ptr certificate(PEM_read_bio_X509_AUX(in.get(), nullptr, no_passphrase, nullptr));
    if (!certificate) return broken("certificate");
    certificates.push_back(std::move(certificate));
  }
  return certificates;
}

Result<KeyPtr> parse_private_key(std::string_view pem) {
  init_library();
  for (auto block = next_block(pem); block; block = next_block(pem)) {
    if (!block->is_key()) continue;
    if (block->name.starts_with("ENCRYPTED") ||
        block->text.find(",ENCRYPTED") != block->text.npos) {
      return fail(Error::Kind::kConfig, "the private key is under a passphrase");
    }
    ERR_clear_error();
    const BioPtr in = read_memory(block->text);
    KeyPtr key(PEM_read_bio_PrivateKey(in.get(), nullptr, no_passphrase, nullptr));
    if (!key) return broken("private key");
    return key;
  }
  return fail(Error::Kind::kConfig, "no private key in it");
}

std::string Identity::describe() const {
  const std::time_t when = std::chrono::system_clock::to_time_t(expiry(*certificate));
  std::tm fields{};
  ::gmtime_r(&when, &fields);
  return fmt::format("{}, valid until {:04}-{:02}-{:02}", log::clean(subject_cn(*certificate)),
                     fields.tm_year + 1900, fields.tm_mon + 1, fields.tm_mday);
}

Result<IdentityPtr> parse_identity(std::string_view certificates, std::string_view key) {
  TRY(auto chain, parse_certificates(certificates));
  if (chain.empty()) return fail(Error::Kind::kConfig, "no certificate in it");
  TRY(auto parsed, parse_private_key(key));
  return make_identity(std::move(chain), std::move(parsed));
}

Result<std::vector<IdentityPtr>> parse_identities(std::string_view pem) {
  std::vector<IdentityPtr> identities;
  std::vector<X509Ptr> chain;
  KeyPtr key;
  const auto finish = [&]() -> Result<void> {
    TRY(auto identity, make_identity(std::exchange(chain, {}), std::move(key)));
    identities.push_back(std::move(identity));
    return {};
  };
  for (auto block = next_block(pem); block; block = next_block(pem)) {
    if (block->is_key()) {
      if (key) DO(finish());
      TRY(key, parse_private_key(block->text));
    } else if (block->is_certificate()) {
      TRY(auto found, parse_certificates(block->text));
      for (auto& certificate : found) chain.push_back(std::move(certificate));
    }
  }
  if (!key) return fail(Error::Kind::kConfig, "no private key in it");
  DO(finish());
  return identities;
}

Result<std::vector<IdentityPtr>> parse_public_identities(std::string_view pem, bool is_chain_file) {
  std::vector<IdentityPtr> identities;
  while (!pem.empty()) {
    // Up to the next mark that has certificates in front of it.
    std::size_t end = is_chain_file ? pem.find(kKeyMark) : std::string_view::npos;
    const std::string_view part = pem.substr(0, end);
    pem.remove_prefix(end == std::string_view::npos ? pem.size() : end + kKeyMark.size());
    TRY(auto chain, parse_certificates(part));
    if (chain.empty()) continue;
    EVP_PKEY* const public_key = X509_get0_pubkey(chain.front().get());
    if (public_key == nullptr) {
      return fail(Error::Kind::kConfig, "the certificate's public key is of no kind known here");
    }
    TRY(auto key, remote_key(*public_key));
    auto identity = std::make_shared<Identity>();
    identity->certificate = std::move(chain.front());
    chain.erase(chain.begin());
    identity->issuers = std::move(chain);
    identity->key = std::move(key);
    identities.push_back(std::move(identity));
  }
  if (identities.empty()) return fail(Error::Kind::kConfig, "no certificate in it");
  return identities;
}

}  // namespace postern::tls
