// scram.h - SCRAM (RFC 5802, RFC 7677): both sides of the dialogue; pure.
//
//     client: n,,n=user,r=CNONCE
//     server: r=CNONCE SNONCE,s=SALT,i=ITERATIONS
//     client: c=biws,r=CNONCE SNONCE,p=PROOF
//     server: v=SIGNATURE
//
// User names and passwords are taken as the bytes they are: SASLprep maps no ASCII character, and
// what it maps beyond that is not needed where both sides send the same form.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/sasl/digest.h"

namespace postern::sasl {

// What a server keeps of a password.
struct ScramEntry {
  Hash hash = Hash::kSha256;
  unsigned iterations = 0;
  std::string salt;
  std::string stored_key;
  std::string server_key;
  friend bool operator==(const ScramEntry&, const ScramEntry&) = default;
};

inline constexpr unsigned kScramIterations = 4096;  // RFC 7677 4: at least
inline constexpr unsigned kMinIterations = 1;
// What a server may make a client work: seconds of one CPU.
inline constexpr unsigned kMaxIterations = 10'000'000;

[[nodiscard]] ScramEntry make_scram_entry(Hash hash, std::string_view password, std::string salt,
                                          unsigned iterations);
// "4096,SALT,STORED,SERVER" in base64, as Dovecot writes it, or "4096:SALT$STORED:SERVER" (RFC
// 5803).
[[nodiscard]] std::optional<ScramEntry> parse_scram_entry(Hash hash, std::string_view text);
[[nodiscard]] std::string print_scram_entry(const ScramEntry& entry);
// Slow by intention.
[[nodiscard]] bool is_password_of(const ScramEntry& entry, std::string_view password);

// The server's side of one login. Errors are what the client did wrong, in words for the log.
class ScramServer {
 public:
  // `binding_type` and `binding` are what TLS gives; empty where there is none. A -PLUS mechanism
  // demands them.
  ScramServer(Hash hash, bool is_plus, std::string binding_type, std::string binding)
      : hash_(hash),
        is_plus_(is_plus),
        binding_type_(std::move(binding_type)),
        binding_(std::move(binding)) {}

  // The client's first message; afterwards username() is known.
  [[nodiscard]] Result<void> read_first(std::string_view message);
  [[nodiscard]] const std::string& username() const { return username_; }
  // The challenge, for an entry of that user or one that was made up.
  [[nodiscard]] std::string challenge(ScramEntry entry, std::string_view nonce);
  // The client's final message; the server's last word.
  [[nodiscard]] Result<std::string> read_final(std::string_view message);

 private:
  Hash hash_;
  bool is_plus_;
  std::string binding_type_;
  std::string binding_;
  std::string gs2_header_;
  std::string username_;
  std::string client_first_bare_;
  std::string nonce_;
  std::string server_first_;
  ScramEntry entry_;
};

// The client's side, without channel binding.
class ScramClient {
 public:
  ScramClient(Hash hash, std::string username, std::string password, std::string nonce)
      : hash_(hash),
        username_(std::move(username)),
        password_(std::move(password)),
        nonce_(std::move(nonce)) {}
  ~ScramClient() { wipe(password_); }
  ScramClient(const ScramClient&) = delete;
  ScramClient& operator=(const ScramClient&) = delete;

  [[nodiscard]] std::string first() const;
  [[nodiscard]] Result<std::string> answer(std::string_view challenge);
  // Whether the server has shown that it knows the password.
  [[nodiscard]] Result<void> check_final(std::string_view message) const;

 private:
  Hash hash_;
  std::string username_;
  std::string password_;
  std::string nonce_;
  std::string server_signature_;
};

}  // namespace postern::sasl
