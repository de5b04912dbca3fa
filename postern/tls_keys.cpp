#include "postern/tls_keys.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <array>

#include "common/base/encode.h"
#include "common/base/number.h"

namespace postern::control {

namespace {

constexpr int kMinBits = 2048;
constexpr int kMaxBits = 8192;
constexpr long kHundredYears = 100L * 365 * 86400;

struct FreeRequest {
  void operator()(X509_REQ* request) const { X509_REQ_free(request); }
};
struct FreeExtensions {
  void operator()(STACK_OF(X509_EXTENSION) * extensions) const {
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  }
};

std::unexpected<Error> failed(std::string_view doing) {
  return fail_temporary(fmt::format("{}: {}", doing, tls::take_library_reason()));
}

template <typename Write>
std::string pem_of(const Write& write) {
  const tls::BioPtr out(BIO_new(BIO_s_mem()));
  write(out.get());
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

// Ed25519 and kin hash by themselves; what is made here does not.
const EVP_MD* digest() { return EVP_sha256(); }

void set_name(X509_NAME* name, const std::string& common_name) {
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1,
                             0);
}

std::string alternative_names(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names) out += fmt::format("{}DNS:{}", out.empty() ? "" : ",", name);
  return out;
}

// Names go into a text that the library parses: only what a host name has.
bool are_host_names(const std::vector<std::string>& names) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-*_";
  for (const auto& name : names) {
    if (name.empty() || name.size() > 253 ||
        name.find_first_not_of(kAllowed) != std::string::npos) {
      return false;
    }
  }
  return !names.empty();
}

}  // namespace

Result<tls::KeyPtr> make_key(std::string_view algorithm, std::string_view bits) {
  if (algorithm == "rsa") {
    const auto size =
        bits.empty() ? std::optional<int>(kMinBits) : parse_integer<int>(bits, kMinBits, kMaxBits);
    if (!size) {
      return fail(Error::Kind::kPermanent,
                  fmt::format("{} is no size from {} to {} bits", bits, kMinBits, kMaxBits));
    }
    tls::KeyPtr key(EVP_RSA_gen(static_cast<unsigned>(*size)));
    if (!key) return failed("make an RSA key");
    return key;
  }
  if (algorithm == "ecdsa") {
    const std::string curve(bits.empty() ? "prime256v1" : bits);
    tls::KeyPtr key(EVP_EC_gen(curve.c_str()));
    if (!key) return failed("make a key on the curve " + curve);
    return key;
  }
  return fail(Error::Kind::kPermanent, fmt::format("{} is neither rsa nor ecdsa", algorithm));
}

std::string print_key(EVP_PKEY& key) {
  return pem_of([&key](BIO* out) {
    PEM_write_bio_PKCS8PrivateKey(out, &key, nullptr, nullptr, 0, nullptr, nullptr);
  });
}

Result<std::string> make_certificate(EVP_PKEY& key, const std::vector<std::string>& names) {
  if (!are_host_names(names)) return fail(Error::Kind::kPermanent, "a name is no host name");
  const tls::X509Ptr made(X509_new());
  std::array<unsigned char, 16> serial{};
  if (!made || RAND_bytes(serial.data(), static_cast<int>(serial.size())) != 1) {
    return failed("make a certificate");
  }
  serial[0] &= 0x7fU;
  X509* const certificate = made.get();
  const std::unique_ptr<BIGNUM, tls::Freed<BN_free>> number(
      BN_bin2bn(serial.data(), static_cast<int>(serial.size()), nullptr));
  BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate));
  X509_set_version(certificate, 2);
  X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate), kHundredYears);
  set_name(X509_get_subject_name(certificate), names.front());
  X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
  X509_set_pubkey(certificate, &key);
  X509V3_CTX context;
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  const std::string alternatives = alternative_names(names);
  for (const auto& [nid, value] : {std::pair(NID_subject_alt_name, alternatives.c_str()),
                                   std::pair(NID_basic_constraints, "critical,CA:FALSE"),
                                   std::pair(NID_ext_key_usage, "serverAuth,clientAuth")}) {
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
    if (extension == nullptr) return failed("make a certificate");
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }
  if (X509_sign(certificate, &key, digest()) == 0) return failed("sign a certificate");
  return pem_of([&](BIO* out) { PEM_write_bio_X509(out, certificate); });
}

Result<std::string> make_request(EVP_PKEY& key, const std::vector<std::string>& names) {
  if (!are_host_names(names)) return fail(Error::Kind::kPermanent, "a name is no host name");
  const std::unique_ptr<X509_REQ, FreeRequest> request(X509_REQ_new());
  if (!request) return failed("make a request");
  set_name(X509_REQ_get_subject_name(request.get()), names.front());
  X509_REQ_set_pubkey(request.get(), &key);
  const std::unique_ptr<STACK_OF(X509_EXTENSION), FreeExtensions> extensions(
      sk_X509_EXTENSION_new_null());
  X509_EXTENSION* const alternatives =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, alternative_names(names).c_str());
  if (alternatives == nullptr) return failed("make a request");
  sk_X509_EXTENSION_push(extensions.get(), alternatives);
  X509_REQ_add_extensions(request.get(), extensions.get());
  if (X509_REQ_sign(request.get(), &key, digest()) == 0) return failed("sign a request");
  return pem_of([&](BIO* out) { PEM_write_bio_X509_REQ(out, request.get()); });
}

std::string tlsa_record(EVP_PKEY& key, std::string_view host) {
  unsigned char* bytes = nullptr;
  const int size = i2d_PUBKEY(&key, &bytes);
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned length = 0;
  EVP_Digest(bytes, static_cast<std::size_t>(size), hash.data(), &length, digest(), nullptr);
  OPENSSL_free(bytes);
  const std::string_view text(reinterpret_cast<const char*>(hash.data()), length);
  return fmt::format("_25._tcp.{}. IN TLSA 3 1 1 {}", host, hex_encode(text));
}

}  // namespace postern::control
