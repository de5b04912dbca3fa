#include "auth/native.h"

#include <algorithm>

#include "common/base/text.h"
#include "common/sasl/password.h"

namespace postern::auth {

namespace {

constexpr std::size_t kMaxUsername = 320;  // RFC 3696: the longest address

bool is_username(std::string_view text) {
  return !text.empty() && text.size() <= kMaxUsername && is_valid_utf8(text) &&
         std::ranges::none_of(text, [](char c) { return is_control(c); });
}

NativeStep judge(std::string_view username, std::string_view password) {
  if (!is_username(username)) return Refused{"the user name is none", std::nullopt};
  if (password.empty() || password.size() > sasl::kMaxPassword) {
    return Refused{"", std::string(username)};
  }
  return JudgePassword{std::string(username), std::string(password)};
}

class Plain final : public NativeLogin {
 public:
  NativeStep read(std::optional<std::string> message) override {
    if (!message) return Challenge{""};
    return read_plain(*message);
  }
};

class Login final : public NativeLogin {
 public:
  NativeStep read(std::optional<std::string> message) override {
    if (!message) return Challenge{"Username:"};
    if (!username_) {
      username_ = *std::move(message);
      return Challenge{"Password:"};
    }
    return judge(*username_, *message);
  }

 private:
  std::optional<std::string> username_;
};

class Scram final : public NativeLogin {
 public:
  Scram(bool is_plus, ChannelBinding binding)
      : server_(sasl::Hash::kSha256, is_plus, std::move(binding.type), std::move(binding.data)) {}

  NativeStep read(std::optional<std::string> message) override {
    if (is_done_) {
      // The client has had our signature, and has nothing more to say.
      if (message && !message->empty()) return refuse("the client's last message is not empty");
      return Verified{server_.username()};
    }
    if (!message) return Challenge{""};
    if (!has_first_) {
      has_first_ = true;
      const auto good = server_.read_first(*message);
      if (!good) return refuse(good.error().text);
      if (!is_username(server_.username())) return refuse("the user name is none");
      return WantEntry{server_.username()};
    }
    auto last_word = server_.read_final(*message);
    if (!last_word) return refuse(last_word.error().text);
    is_done_ = true;
    return Challenge{*std::move(last_word)};
  }

  NativeStep take_entry(sasl::ScramEntry entry, std::string_view nonce) override {
    return Challenge{server_.challenge(std::move(entry), nonce)};
  }

 private:
  [[nodiscard]] NativeStep refuse(std::string_view why) const {
    Refused refused{std::string(why), std::nullopt};
    if (is_username(server_.username())) refused.username = server_.username();
    return refused;
  }

  sasl::ScramServer server_;
  bool has_first_ = false;
  bool is_done_ = false;
};

}  // namespace

NativeStep NativeLogin::take_entry(sasl::ScramEntry /*entry*/, std::string_view /*nonce*/) {
  return Refused{"not asked for", std::nullopt};
}

std::unique_ptr<NativeLogin> make_native_login(std::string_view mechanism, ChannelBinding binding) {
  if (mechanism == "PLAIN") return std::make_unique<Plain>();
  if (mechanism == "LOGIN") return std::make_unique<Login>();
  if (mechanism == "SCRAM-SHA-256") return std::make_unique<Scram>(false, std::move(binding));
  if (mechanism == "SCRAM-SHA-256-PLUS") return std::make_unique<Scram>(true, std::move(binding));
  return nullptr;
}

NativeStep read_plain(std::string_view message) {
  const auto fields = split_fields(message, '\0');
  if (fields.size() != 3) return Refused{"malformed PLAIN message", std::nullopt};
  const auto authzid = fields[0];
  const auto authcid = fields[1];
  if (!authzid.empty() && authzid != authcid) {
    Refused refused{"acting for another user is not allowed", std::nullopt};
    if (is_username(authcid)) refused.username = std::string(authcid);
    return refused;
  }
  return judge(authcid, fields[2]);
}

sasl::ScramEntry made_up_entry(std::string_view secret, std::string_view username) {
  sasl::ScramEntry entry;
  entry.iterations = sasl::kScramIterations;
  entry.salt = sasl::hmac(sasl::Hash::kSha256, secret, username).substr(0, 16);
  // No key hashes to this.
  entry.stored_key = sasl::random_bytes(sasl::size_of(sasl::Hash::kSha256));
  entry.server_key = sasl::random_bytes(sasl::size_of(sasl::Hash::kSha256));
  return entry;
}

}  // namespace postern::auth
