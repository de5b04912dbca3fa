#include "common/tls/signer.h"

#include <openssl/async.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>

#include <array>
#include <cstring>

#include "common/base/text.h"

namespace postern::tls {

namespace {

thread_local Signing* signing_now = nullptr;

struct Scheme {
  std::int64_t number;
  std::string_view key_type;
  const char* digest;  // null: the algorithm has its own
  int padding;         // RSA
};

constexpr std::array kSchemes = {
    Scheme{0x0201, "RSA", "SHA1", RSA_PKCS1_PADDING},
    Scheme{0x0301, "RSA", "SHA224", RSA_PKCS1_PADDING},
    Scheme{0x0401, "RSA", "SHA256", RSA_PKCS1_PADDING},
    Scheme{0x0501, "RSA", "SHA384", RSA_PKCS1_PADDING},
    Scheme{0x0601, "RSA", "SHA512", RSA_PKCS1_PADDING},
    Scheme{ipc::keyring::kRsaMd5Sha1, "RSA", "MD5-SHA1", RSA_PKCS1_PADDING},
    Scheme{0x0804, "RSA", "SHA256", RSA_PKCS1_PSS_PADDING},
    Scheme{0x0805, "RSA", "SHA384", RSA_PKCS1_PSS_PADDING},
    Scheme{0x0806, "RSA", "SHA512", RSA_PKCS1_PSS_PADDING},
    Scheme{0x0203, "EC", "SHA1", 0},
    Scheme{0x0303, "EC", "SHA224", 0},
    Scheme{0x0403, "EC", "SHA256", 0},
    Scheme{0x0503, "EC", "SHA384", 0},
    Scheme{0x0603, "EC", "SHA512", 0},
    Scheme{0x0807, "ED25519", nullptr, 0},
    Scheme{0x0808, "ED448", nullptr, 0},
};

// A key as the provider holds it: the public half, in the library's default context.
struct RemoteKey {
  KeyPtr public_half;
  std::string id;
};

// One signature to be made.
struct Operation {
  const RemoteKey* key = nullptr;
  std::string digest;  // empty: the algorithm has its own
  int padding = RSA_PKCS1_PADDING;
};

const Scheme* find_scheme(const Operation& operation) {
  EVP_PKEY* const key = operation.key->public_half.get();
  for (const auto& scheme : kSchemes) {
    const std::string type(scheme.key_type);
    if (EVP_PKEY_is_a(key, type.c_str()) != 1) continue;
    if (scheme.padding != 0 && scheme.padding != operation.padding) continue;
    if (scheme.digest == nullptr) return &scheme;
    const EVP_MD* const wanted = EVP_get_digestbyname(scheme.digest);
    if (wanted != nullptr && EVP_MD_is_a(wanted, operation.digest.c_str()) == 1) return &scheme;
  }
  return nullptr;
}

// ---- key management: everything but signing is asked of the public half

void* key_new(void* /*provider*/) { return new RemoteKey(); }

void key_free(void* data) { delete static_cast<RemoteKey*>(data); }

RemoteKey& key_of(const void* data) {
  return *const_cast<RemoteKey*>(static_cast<const RemoteKey*>(data));
}

int key_get_params(void* data, OSSL_PARAM params[]) {
  const RemoteKey& key = key_of(data);
  return key.public_half ? EVP_PKEY_get_params(key.public_half.get(), params) : 0;
}

const OSSL_PARAM* key_gettable_params(void* /*provider*/) {
  static const OSSL_PARAM kParams[] = {
      OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, nullptr),
      OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, nullptr),
      OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, nullptr),
      OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_MANDATORY_DIGEST, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, nullptr, 0),
      OSSL_PARAM_END};
  return kParams;
}

int key_has(const void* data, int /*selection*/) { return key_of(data).public_half ? 1 : 0; }

int key_match(const void* one, const void* other, int /*selection*/) {
  return EVP_PKEY_eq(key_of(one).public_half.get(), key_of(other).public_half.get());
}

// The only way in: public parameters, from a certificate's key.
int import_as(const char* type, void* data, const OSSL_PARAM params[]) {
  RemoteKey& key = key_of(data);
  EVP_PKEY* made = nullptr;
  EVP_PKEY_CTX* const context = EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr);
  const bool is_good =
      context != nullptr && EVP_PKEY_fromdata_init(context) == 1 &&
      EVP_PKEY_fromdata(context, &made, EVP_PKEY_PUBLIC_KEY, const_cast<OSSL_PARAM*>(params)) == 1;
  EVP_PKEY_CTX_free(context);
  if (!is_good) return 0;
  key.public_half.reset(made);
  key.id = key_id(*made);
  return 1;
}

template <int kType>
int key_import(void* data, int /*selection*/, const OSSL_PARAM params[]) {
  return import_as(OBJ_nid2sn(kType), data, params);
}

const OSSL_PARAM* key_import_types(int /*selection*/) {
  static const OSSL_PARAM kParams[] = {
      OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, nullptr, 0),
      OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, nullptr, 0),
      OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, nullptr, 0), OSSL_PARAM_END};
  return kParams;
}

const char* ec_operation(int operation) {
  return operation == OSSL_OP_SIGNATURE ? "ECDSA" : nullptr;
}

using Function = void (*)();
template <typename T>
Function as_function(T* function) {
  // How OpenSSL's dispatch tables hold functions of all shapes (provider(7)).
  return reinterpret_cast<Function>(function);
}

template <int kType>
const OSSL_DISPATCH* key_functions() {
  static const OSSL_DISPATCH kFunctions[] = {
      {OSSL_FUNC_KEYMGMT_NEW, as_function(key_new)},
      {OSSL_FUNC_KEYMGMT_FREE, as_function(key_free)},
      {OSSL_FUNC_KEYMGMT_GET_PARAMS, as_function(key_get_params)},
      {OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, as_function(key_gettable_params)},
      {OSSL_FUNC_KEYMGMT_HAS, as_function(key_has)},
      {OSSL_FUNC_KEYMGMT_MATCH, as_function(key_match)},
      {OSSL_FUNC_KEYMGMT_IMPORT, as_function(key_import<kType>)},
      {OSSL_FUNC_KEYMGMT_IMPORT_TYPES, as_function(key_import_types)},
      {OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME,
       kType == NID_X9_62_id_ecPublicKey ? as_function(ec_operation) : nullptr},
      {0, nullptr}};
  // Without that name there is nothing to ask for: the table ends before it.
  static const std::array<OSSL_DISPATCH, 9> kOthers = [] {
    std::array<OSSL_DISPATCH, 9> others{};
    std::copy_n(kFunctions, 8, others.begin());
    return others;
  }();
  return kType == NID_X9_62_id_ecPublicKey ? kFunctions : kOthers.data();
}

// ---- signatures

void* operation_new(void* /*provider*/, const char* /*properties*/) { return new Operation(); }
void operation_free(void* data) { delete static_cast<Operation*>(data); }
void* operation_copy(void* data) { return new Operation(*static_cast<Operation*>(data)); }

int operation_set_params(void* data, const OSSL_PARAM params[]) {
  auto& operation = *static_cast<Operation*>(data);
  if (params == nullptr) return 1;
  const OSSL_PARAM* const pad = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
  if (pad == nullptr) return 1;
  if (pad->data_type == OSSL_PARAM_INTEGER) return OSSL_PARAM_get_int(pad, &operation.padding);
  const char* name = nullptr;
  if (OSSL_PARAM_get_utf8_string_ptr(pad, &name) != 1) return 0;
  operation.padding = std::string_view(name) == OSSL_PKEY_RSA_PAD_MODE_PSS ? RSA_PKCS1_PSS_PADDING
                                                                           : RSA_PKCS1_PADDING;
  return 1;
}

const OSSL_PARAM* operation_settable_params(void* /*data*/, void* /*provider*/) {
  static const OSSL_PARAM kParams[] = {
      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, nullptr, 0), OSSL_PARAM_END};
  return kParams;
}

int operation_init(void* data, const char* digest, void* key, const OSSL_PARAM params[]) {
  auto& operation = *static_cast<Operation*>(data);
  if (key != nullptr) operation.key = &key_of(key);
  operation.digest = digest != nullptr ? digest : "";
  return operation.key != nullptr ? operation_set_params(data, params) : 0;
}

int operation_sign(void* data, unsigned char* signature, std::size_t* length, std::size_t room,
                   const unsigned char* bytes, std::size_t count) {
  const auto& operation = *static_cast<Operation*>(data);
  if (signature == nullptr) {
    *length = static_cast<std::size_t>(EVP_PKEY_get_size(operation.key->public_half.get()));
    return 1;
  }
  Signing* const signing = signing_now;
  const Scheme* const scheme = find_scheme(operation);
  if (signing == nullptr || scheme == nullptr || ASYNC_get_current_job() == nullptr) return 0;
  signing->request.key = operation.key->id;
  signing->request.scheme = scheme->number;
  signing->request.bytes.assign(static_cast<const char*>(static_cast<const void*>(bytes)), count);
  signing->state = Signing::State::kWanted;
  ASYNC_pause_job();
  if (signing->state != Signing::State::kAnswered || !signing->answer ||
      signing->answer->size() > room) {
    return 0;
  }
  std::memcpy(signature, signing->answer->data(), signing->answer->size());
  *length = signing->answer->size();
  return 1;
}

const OSSL_DISPATCH kSignatureFunctions[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, as_function(operation_new)},
    {OSSL_FUNC_SIGNATURE_FREECTX, as_function(operation_free)},
    {OSSL_FUNC_SIGNATURE_DUPCTX, as_function(operation_copy)},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, as_function(operation_init)},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN, as_function(operation_sign)},
    {OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, as_function(operation_set_params)},
    {OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, as_function(operation_settable_params)},
    {0, nullptr}};

// ---- the provider

constexpr char kProperties[] = "provider=postern";

const OSSL_ALGORITHM* query(void* /*provider*/, int operation, int* no_cache) {
  *no_cache = 0;
  static const OSSL_ALGORITHM kKeys[] = {
      {"RSA:rsaEncryption", kProperties, key_functions<NID_rsaEncryption>(), ""},
      {"EC:id-ecPublicKey", kProperties, key_functions<NID_X9_62_id_ecPublicKey>(), ""},
      {"ED25519", kProperties, key_functions<NID_ED25519>(), ""},
      {"ED448", kProperties, key_functions<NID_ED448>(), ""},
      {nullptr, nullptr, nullptr, nullptr}};
  static const OSSL_ALGORITHM kSignatures[] = {
      {"RSA:rsaEncryption", kProperties, kSignatureFunctions, ""},
      {"ECDSA", kProperties, kSignatureFunctions, ""},
      {"ED25519", kProperties, kSignatureFunctions, ""},
      {"ED448", kProperties, kSignatureFunctions, ""},
      {nullptr, nullptr, nullptr, nullptr}};
  if (operation == OSSL_OP_KEYMGMT) return kKeys;
  if (operation == OSSL_OP_SIGNATURE) return kSignatures;
  return nullptr;
}

const OSSL_DISPATCH kProviderFunctions[] = {
    {OSSL_FUNC_PROVIDER_QUERY_OPERATION, as_function(query)}, {0, nullptr}};

int init_provider(const OSSL_CORE_HANDLE* core, const OSSL_DISPATCH* /*in*/,
                  const OSSL_DISPATCH** out, void** provider) {
  *out = kProviderFunctions;
  // Nothing of the provider's own is kept, but null would say that it failed.
  *provider = const_cast<void*>(static_cast<const void*>(core));
  return 1;
}

// A library context that holds this provider alone; made once, and for the life of the process.
OSSL_LIB_CTX* remote_context() {
  static OSSL_LIB_CTX* const context = []() -> OSSL_LIB_CTX* {
    OSSL_LIB_CTX* const made = OSSL_LIB_CTX_new();
    if (made == nullptr || OSSL_PROVIDER_add_builtin(made, "postern", init_provider) != 1 ||
        OSSL_PROVIDER_load(made, "postern") == nullptr) {
      return nullptr;
    }
    return made;
  }();
  return context;
}

}  // namespace

std::string key_id(EVP_PKEY& key) {
  unsigned char* der = nullptr;
  const int length = i2d_PUBKEY(&key, &der);
  if (length <= 0) return {};
  std::string id(32, '\0');
  EVP_Digest(der, static_cast<std::size_t>(length),
             static_cast<unsigned char*>(static_cast<void*>(id.data())), nullptr, EVP_sha256(),
             nullptr);
  OPENSSL_free(der);
  return id;
}

Result<KeyPtr> remote_key(EVP_PKEY& public_key) {
  ERR_clear_error();
  constexpr std::array<const char*, 4> kTypes = {"RSA", "EC", "ED25519", "ED448"};
  for (const char* type : kTypes) {
    if (EVP_PKEY_is_a(&public_key, type) != 1) continue;
    OSSL_PARAM* params = nullptr;
    EVP_PKEY* made = nullptr;
    EVP_PKEY_CTX* const context = remote_context() == nullptr
                                      ? nullptr
                                      : EVP_PKEY_CTX_new_from_name(remote_context(), type, nullptr);
    const bool is_good = context != nullptr &&
                         EVP_PKEY_todata(&public_key, EVP_PKEY_PUBLIC_KEY, &params) == 1 &&
                         EVP_PKEY_fromdata_init(context) == 1 &&
                         EVP_PKEY_fromdata(context, &made, EVP_PKEY_PUBLIC_KEY, params) == 1;
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(context);
    if (!is_good) return fail(Error::Kind::kConfig, "public key: " + take_library_reason());
    return KeyPtr(made);
  }
  return fail(Error::Kind::kConfig, "a kind of key that is not supported");
}

bool is_remote(const EVP_PKEY& key) {
  const OSSL_PROVIDER* const provider = EVP_PKEY_get0_provider(&key);
  return provider != nullptr && std::string_view(OSSL_PROVIDER_get0_name(provider)) == "postern";
}

SigningScope::SigningScope(Signing& signing) { signing_now = &signing; }
SigningScope::~SigningScope() { signing_now = nullptr; }

Result<std::string> sign(EVP_PKEY& key, std::int64_t scheme, std::string_view bytes) {
  ERR_clear_error();
  const auto* const found =
      std::find_if(kSchemes.begin(), kSchemes.end(), [&](const Scheme& known) {
        return known.number == scheme &&
               EVP_PKEY_is_a(&key, std::string(known.key_type).c_str()) == 1;
      });
  if (found == kSchemes.end()) {
    return fail(Error::Kind::kPermanent, "no such signature with this key");
  }
  const std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* options = nullptr;
  const auto* const data =
      static_cast<const unsigned char*>(static_cast<const void*>(bytes.data()));
  bool is_good = context && EVP_DigestSignInit_ex(context.get(), &options, found->digest, nullptr,
                                                  nullptr, &key, nullptr) == 1;
  if (is_good && found->padding != 0) {
    is_good = EVP_PKEY_CTX_set_rsa_padding(options, found->padding) == 1;
    if (is_good && found->padding == RSA_PKCS1_PSS_PADDING) {
      is_good = EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST) == 1;
    }
  }
  std::size_t length = static_cast<std::size_t>(EVP_PKEY_get_size(&key));
  std::string signature(length, '\0');
  is_good =
      is_good && EVP_DigestSign(context.get(),
                                static_cast<unsigned char*>(static_cast<void*>(signature.data())),
                                &length, data, bytes.size()) == 1;
  if (!is_good) return fail_temporary("signature: " + take_library_reason());
  signature.resize(length);
  return signature;
}

}  // namespace postern::tls
