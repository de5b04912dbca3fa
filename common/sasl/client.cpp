#include "common/sasl/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "common/base/encode.h"
#include "common/base/text.h"
#include "common/sasl/scram.h"

namespace postern::sasl {

namespace {

constexpr std::size_t kMaxChallenge = 8192;
constexpr std::string_view kUnasked = "the server asks for more than the mechanism has";

std::unexpected<Error> refuse(std::string_view why) { return fail_temporary(std::string(why)); }

class Plain final : public ClientLogin {
 public:
  explicit Plain(Credentials credentials) : credentials_(std::move(credentials)) {}
  ~Plain() override { wipe(credentials_.password); }
  std::string_view mechanism() const override { return "PLAIN"; }
  std::optional<std::string> first() override {
    std::string out = credentials_.sends_authzid ? credentials_.username : std::string();
    out += '\0';
    out += credentials_.username;
    out += '\0';
    out += credentials_.password;
    return out;
  }
  Result<std::string> answer(std::string_view /*challenge*/) override { return refuse(kUnasked); }

 private:
  Credentials credentials_;
};

class Login final : public ClientLogin {
 public:
  explicit Login(Credentials credentials) : credentials_(std::move(credentials)) {}
  ~Login() override { wipe(credentials_.password); }
  std::string_view mechanism() const override { return "LOGIN"; }
  std::optional<std::string> first() override { return std::nullopt; }
  // The prompts are words for people; only their order counts.
  Result<std::string> answer(std::string_view /*challenge*/) override {
    if (++asked_ > 2) return refuse(kUnasked);
    return asked_ == 1 ? credentials_.username : credentials_.password;
  }

 private:
  Credentials credentials_;
  unsigned asked_ = 0;
};

class CramMd5 final : public ClientLogin {
 public:
  explicit CramMd5(Credentials credentials) : credentials_(std::move(credentials)) {}
  ~CramMd5() override { wipe(credentials_.password); }
  std::string_view mechanism() const override { return "CRAM-MD5"; }
  std::optional<std::string> first() override { return std::nullopt; }
  // RFC 2195.
  Result<std::string> answer(std::string_view challenge) override {
    if (is_answered_) return refuse(kUnasked);
    if (challenge.empty()) return refuse("an empty challenge");
    is_answered_ = true;
    return fmt::format("{} {}", credentials_.username,
                       hex_encode(hmac(Hash::kMd5, credentials_.password, challenge)));
  }

 private:
  Credentials credentials_;
  bool is_answered_ = false;
};

class Scram final : public ClientLogin {
 public:
  Scram(Hash hash, Credentials credentials, std::string nonce)
      : hash_(hash),
        client_(hash, std::move(credentials.username), std::move(credentials.password),
                std::move(nonce)) {}
  std::string_view mechanism() const override {
    return hash_ == Hash::kSha1 ? "SCRAM-SHA-1" : "SCRAM-SHA-256";
  }
  std::optional<std::string> first() override { return client_.first(); }
  Result<std::string> answer(std::string_view challenge) override {
    if (!is_answered_) {
      is_answered_ = true;
      return client_.answer(challenge);
    }
    if (is_server_known_) return refuse(kUnasked);
    if (auto known = client_.check_final(challenge); !known) return std::unexpected(known.error());
    is_server_known_ = true;
    return std::string();
  }
  bool is_slow() const override { return !is_answered_; }
  Result<void> finish() const override {
    if (!is_server_known_) return refuse("the server has not shown that it knows the password");
    return {};
  }

 private:
  Hash hash_;
  ScramClient client_;
  bool is_answered_ = false;
  bool is_server_known_ = false;
};

// XOAUTH2 (Google's and Microsoft's) and OAUTHBEARER (RFC 7628). What is wrong with a token is said
// in a challenge; the answer to it has nothing to say and brings the refusal.
class Bearer final : public ClientLogin {
 public:
  Bearer(bool is_standard, Credentials credentials)
      : is_standard_(is_standard), credentials_(std::move(credentials)) {}
  ~Bearer() override { wipe(credentials_.password); }
  std::string_view mechanism() const override { return is_standard_ ? "OAUTHBEARER" : "XOAUTH2"; }
  std::optional<std::string> first() override {
    if (!is_standard_) {
      return fmt::format("user={}\001auth=Bearer {}\001\001", credentials_.username,
                         credentials_.password);
    }
    std::string name = replace_all(replace_all(credentials_.username, "=", "=3D"), ",", "=2C");
    return fmt::format("n,a={},\001host={}\001port={}\001auth=Bearer {}\001\001", name,
                       credentials_.host, credentials_.port, credentials_.password);
  }
  Result<std::string> answer(std::string_view /*challenge*/) override {
    if (is_answered_) return refuse(kUnasked);
    is_answered_ = true;
    return is_standard_ ? std::string("\001") : std::string();
  }

 private:
  bool is_standard_;
  Credentials credentials_;
  bool is_answered_ = false;
};

class Bounded final : public ClientLogin {
 public:
  explicit Bounded(std::unique_ptr<ClientLogin> login) : login_(std::move(login)) {}
  std::string_view mechanism() const override { return login_->mechanism(); }
  std::optional<std::string> first() override { return login_->first(); }
  Result<std::string> answer(std::string_view challenge) override {
    if (challenge.size() > kMaxChallenge) return refuse("the challenge is too long");
    return login_->answer(challenge);
  }
  bool is_slow() const override { return login_->is_slow(); }
  Result<void> finish() const override { return login_->finish(); }

 private:
  std::unique_ptr<ClientLogin> login_;
};

// Best first.
constexpr std::array<std::string_view, 5> kPasswordMechanisms = {"SCRAM-SHA-256", "SCRAM-SHA-1",
                                                                 "CRAM-MD5", "PLAIN", "LOGIN"};
constexpr std::array<std::string_view, 2> kTokenMechanisms = {"OAUTHBEARER", "XOAUTH2"};

std::unique_ptr<ClientLogin> make(std::string_view mechanism, Credentials credentials,
                                  std::string nonce) {
  if (mechanism == "PLAIN") return std::make_unique<Plain>(std::move(credentials));
  if (mechanism == "LOGIN") return std::make_unique<Login>(std::move(credentials));
  if (mechanism == "CRAM-MD5") return std::make_unique<CramMd5>(std::move(credentials));
  if (mechanism == "SCRAM-SHA-1") {
    return std::make_unique<Scram>(Hash::kSha1, std::move(credentials), std::move(nonce));
  }
  if (mechanism == "SCRAM-SHA-256") {
    return std::make_unique<Scram>(Hash::kSha256, std::move(credentials), std::move(nonce));
  }
  return std::make_unique<Bearer>(mechanism == "OAUTHBEARER", std::move(credentials));
}

}  // namespace

std::unique_ptr<ClientLogin> choose_client_login(const std::vector<std::string>& offered,
                                                 const SecurityOptions& options,
                                                 Credentials credentials, std::string nonce) {
  const auto is_good = [&](std::string_view name) {
    return options.allow(traits_of(name)) &&
           std::ranges::any_of(offered,
                               [&](const std::string& o) { return equal_nocase(o, name); });
  };
  const auto take = [&](const auto& names) -> std::unique_ptr<ClientLogin> {
    for (const std::string_view name : names) {
      if (!is_good(name)) continue;
      return std::make_unique<Bounded>(make(name, std::move(credentials), std::move(nonce)));
    }
    return nullptr;
  };
  return credentials.is_token ? take(kTokenMechanisms) : take(kPasswordMechanisms);
}

}  // namespace postern::sasl
