// cost.cpp - what a DKIM signature of a 4 KB message costs beside the bare RSA operation. By hand:
// time on a shared machine proves nothing in a test.

#include <fmt/format.h>

#include <chrono>
#include <string>

#include "common/base/encode.h"
#include "common/mailauth/dkim.h"
#include "tests/support/table_dns.h"

namespace {

using namespace postern;
using namespace postern::mailauth;

class KeySigner final : public Signer {
 public:
  explicit KeySigner(const PrivateKey& key) : key_(key) {}
  loop::Task<Result<std::string>> sign(std::string /*key*/, SignAlgorithm /*algorithm*/,
                                       std::string bytes) override {
    co_return key_.sign(bytes);
  }

 private:
  const PrivateKey& key_;
};

template <typename Work>
double microseconds(unsigned rounds, const Work& work) {
  const auto begin = std::chrono::steady_clock::now();
  for (unsigned i = 0; i < rounds; ++i) work();
  const std::chrono::duration<double, std::micro> passed = std::chrono::steady_clock::now() - begin;
  return passed.count() / rounds;
}

}  // namespace

int main() {
  constexpr unsigned kRounds = 2000;
  const auto key = PrivateKey::make(SignAlgorithm::kRsaSha256, 2048).value();
  std::string header =
      "From: Alice <alice@example.org>\nTo: bob@example.net\nSubject: a test\nDate: Sun, 29 Nov "
      "2026 10:00:00 +0000\nMessage-ID: <1@example.org>\nMIME-Version: 1.0\nContent-Type: "
      "text/plain\nReceived: from a by b;\n\tSun, 29 Nov 2026 10:00:00 +0000\n";
  std::string body;
  while (body.size() < 4096) body += "The quick  brown fox jumps over the lazy dog. \n";
  KeySigner signer(key);
  const auto sign_message = [&] {
    const auto fields = mail::split_header(header);
    DkimSigning how;
    how.domain = "example.org";
    how.selector = "s";
    how.fields = default_signed_fields();
    how.oversigned = {"from", "subject"};
    how.body_canon = Canon::kRelaxed;
    mailauth::DkimSignature signature(fields, how);
    BodyHashes hashes;
    signature.plan(hashes);
    hashes.append(body);
    hashes.finish();
    return result_of(signature.sign(signer, hashes)).value();
  };
  TableDns dns;
  dns.add("s._domainkey.example.org", dns::RecordType::kTxt,
          "v=DKIM1; k=rsa; p=" + base64_encode(key.public_bytes()));
  const std::string signed_header = sign_message() + "\n" + header;
  const auto verify_message = [&] {
    const auto fields = mail::split_header(signed_header);
    DkimVerifier verifier(fields, 1'700'000'000);
    BodyHashes hashes;
    verifier.plan(hashes);
    hashes.append(body);
    hashes.finish();
    return result_of(verifier.verify(dns, hashes)).front().verdict == Verdict::kPass;
  };
  const std::string signature = key.sign("x").value();
  const auto public_key = PublicKey::parse(SignAlgorithm::kRsaSha256, key.public_bytes());
  const double bare_sign = microseconds(kRounds, [&] { (void)key.sign("x"); });
  const double bare_verify =
      microseconds(kRounds, [&] { (void)public_key->verify(sha256("x"), signature); });
  const double hashing = microseconds(kRounds, [&] { (void)sha256(body); });
  const double whole_sign = microseconds(kRounds, [&] { (void)sign_message(); });
  const double whole_verify = microseconds(kRounds, [&] { (void)verify_message(); });
  fmt::print("sign    bare {:.1f} us, with a message {:.1f} us\n", bare_sign + hashing, whole_sign);
  fmt::print("verify  bare {:.1f} us, with a message {:.1f} us\n", bare_verify + hashing,
             whole_verify);
  const double bare = bare_sign + bare_verify + 2 * hashing;
  fmt::print("both    {:.2f} times the bare cryptography\n", (whole_sign + whole_verify) / bare);
  return 0;
}
