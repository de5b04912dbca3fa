#include "keyring/store.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "common/log/log.h"
#include "common/sys/fd.h"
#include "common/tls/certificate.h"
#include "common/tls/key_files.h"
#include "keyring/purpose.h"

namespace postern::keyring {

namespace {

constexpr std::size_t kSecureHeap = std::size_t{4} << 20;
constexpr std::size_t kSecureMinimum = 32;
constexpr std::chrono::seconds kShortestLifetime{60};
constexpr std::size_t kTicketKeys = 3;
constexpr std::size_t kMaxLifetimes = 16;

// RFC 8446 4.2.3
constexpr std::int64_t kRsaPkcs1Sha256 = 0x0401;
constexpr std::int64_t kEd25519 = 0x0807;

bool is_for_mail(ipc::keyring::Purpose purpose) {
  return purpose == ipc::keyring::Purpose::kDkim || purpose == ipc::keyring::Purpose::kArc;
}

unsigned bit(ipc::keyring::Purpose purpose) { return 1U << static_cast<unsigned>(purpose); }

}  // namespace

void forbid_dumps() {
  // Neither a core dump nor a debugger of the same user gets at them.
  if (::prctl(PR_SET_DUMPABLE, 0) != 0) {
    log::warning("keys could be read by a debugger: {}", sys::errno_text(errno));
  }
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
}

void lock_memory() {
  // OpenSSL's secure heap is locked, left out of dumps, and between pages that nobody may touch.
  if (CRYPTO_secure_malloc_init(kSecureHeap, kSecureMinimum) != 1) {
    log::warning("keys may be swapped out: memory could not be locked ({})",
                 sys::errno_text(errno));
  }
}

std::string Store::add(Keys& keys, std::string_view pem, ipc::keyring::Purpose purpose,
                       std::string_view path) {
  std::string last;
  constexpr std::string_view kEnd = "-----END ";
  while (!pem.empty()) {
    std::size_t end = pem.find(kEnd);
    if (end != std::string_view::npos) end = pem.find('\n', end);
    const std::string_view block = pem.substr(0, end);
    pem.remove_prefix(end == std::string_view::npos ? pem.size() : end + 1);
    auto key = tls::parse_private_key(block);
    if (!key) {
      log::warning("{}: {}", path, key.error().text);
      continue;
    }
    const std::string id = tls::key_id(**key);
    auto& kept = keys[id];
    if (!kept.key) kept.key = std::shared_ptr<EVP_PKEY>(key->release(), EVP_PKEY_free);
    kept.purposes |= bit(purpose);
    last = id;
  }
  return last;
}

void Store::set(std::vector<ipc::keyring::KeyFile> files) {
  Keys next;
  mail_keys_.clear();
  for (auto& file : files) {
    if (file.purpose == ipc::keyring::Purpose::kSrs) {
      OPENSSL_cleanse(file.pem.data(), file.pem.size());
      continue;
    }
    std::string id = add(next, file.pem, file.purpose, file.path);
    if (is_for_mail(file.purpose)) mail_keys_[file.path] = std::move(id);
    OPENSSL_cleanse(file.pem.data(), file.pem.size());
  }
  before_ = std::exchange(current_, std::move(next));
}

Result<std::string> Store::add_named(std::string_view pem) {
  TRY(auto identities, tls::parse_identities(pem));
  const auto& identity = identities.front();
  const std::string id = tls::key_id(*identity->key);
  if (!named_.contains(id)) {
    if (named_order_.size() >= kMaxNamed) {
      named_.erase(named_order_.front());
      named_order_.pop_front();
    }
    EVP_PKEY_up_ref(identity->key.get());
    named_[id] = {std::shared_ptr<EVP_PKEY>(identity->key.get(), EVP_PKEY_free),
                  bit(ipc::keyring::Purpose::kTlsServer)};
    named_order_.push_back(id);
  }
  return tls::public_part(pem);
}

const Store::Key* Store::find(const std::string& id, ipc::keyring::Purpose purpose) const {
  for (const Keys* keys : {&current_, &named_, &before_}) {
    const auto found = keys->find(id);
    if (found != keys->end() && (found->second.purposes & bit(purpose)) != 0) {
      return &found->second;
    }
  }
  return nullptr;
}

ipc::keyring::FileKey Store::find_file(const std::string& path,
                                       ipc::keyring::Purpose purpose) const {
  ipc::keyring::FileKey found;
  const auto place = mail_keys_.find(path);
  if (place == mail_keys_.end() || !is_for_mail(purpose)) return found;
  const Key* const key = find(place->second, purpose);
  if (key == nullptr) return found;
  found.key = place->second;
  found.scheme =
      EVP_PKEY_get_base_id(key->key.get()) == EVP_PKEY_ED25519 ? kEd25519 : kRsaPkcs1Sha256;
  return found;
}

bool Store::has(const std::string& id, ipc::keyring::Purpose purpose) const {
  return find(id, purpose) != nullptr;
}

Result<std::string> Store::sign(const ipc::keyring::Sign& request) const {
  const Key* const key = find(request.key, request.purpose);
  if (key == nullptr) return fail_temporary("there is no such key for this purpose");
  if (!is_for_purpose(request.purpose, request.scheme, request.bytes)) {
    return fail(Error::Kind::kPermanent, "the bytes are not what they are said to be for");
  }
  if (is_for_mail(request.purpose) && request.scheme == kEd25519) {
    // What is signed is the SHA-256 of the header (RFC 8463 3).
    std::string digest(SHA256_DIGEST_LENGTH, '\0');
    if (EVP_Digest(request.bytes.data(), request.bytes.size(),
                   static_cast<unsigned char*>(static_cast<void*>(digest.data())), nullptr,
                   EVP_sha256(), nullptr) != 1) {
      return fail_temporary("cannot hash");
    }
    return tls::sign(*key->key, request.scheme, digest);
  }
  return tls::sign(*key->key, request.scheme, request.bytes);
}

Result<TicketStore::Answer> TicketStore::get(std::chrono::seconds lifetime, loop::TimePoint now) {
  lifetime = std::max(lifetime, kShortestLifetime);
  if (made_.size() >= kMaxLifetimes && !made_.contains(lifetime)) {
    lifetime = made_.begin()->first;
  }
  auto& keys = made_[lifetime];
  const auto period = lifetime / 2;
  if (keys.empty() || now - keys.front().at >= period) {
    TRY(auto key, tls::TicketKey::random());
    keys.insert(keys.begin(), Made{std::move(key), now});
    while (keys.size() > kTicketKeys || now - keys.back().at > 2 * lifetime) keys.pop_back();
  }
  Answer answer;
  for (const auto& made : keys) answer.keys.push_back(made.key.print());
  const auto left = keys.front().at + period - now;
  answer.next = std::chrono::ceil<std::chrono::seconds>(left) + std::chrono::seconds(1);
  return answer;
}

}  // namespace postern::keyring
