// native.h - the mechanisms of smtpd_sasl_type = postern: what a client says, and what has to be
// known of its user; pure.
//
// A login goes from question to question. After each answer of the client it wants one of: a
// challenge sent, a password judged, or, for SCRAM, the entry of the user.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/base/result.h"
#include "common/sasl/scram.h"

namespace postern::auth {

struct Challenge {
  std::string text;
};
struct JudgePassword {
  std::string username;
  std::string password;
};
struct WantEntry {
  std::string username;
};
struct Verified {
  std::string username;
};
struct Refused {
  std::string reason;
  std::optional<std::string> username;
};
using NativeStep = std::variant<Challenge, JudgePassword, WantEntry, Verified, Refused>;

struct ChannelBinding {
  std::string type;
  std::string data;
};

class NativeLogin {
 public:
  virtual ~NativeLogin() = default;
  // The client's next message; nothing where it sent no initial response.
  [[nodiscard]] virtual NativeStep read(std::optional<std::string> message) = 0;
  // SCRAM: the entry that WantEntry asked for, or one that is made up.
  [[nodiscard]] virtual NativeStep take_entry(sasl::ScramEntry entry, std::string_view nonce);
};

// "PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"; null for any other.
[[nodiscard]] std::unique_ptr<NativeLogin> make_native_login(std::string_view mechanism,
                                                             ChannelBinding binding);

// RFC 4616: [authzid] NUL authcid NUL password.
[[nodiscard]] NativeStep read_plain(std::string_view message);

// An entry for a user that there is not, the same each time that `secret` is: whoever asks learns
// nothing.
[[nodiscard]] sasl::ScramEntry made_up_entry(std::string_view secret, std::string_view username);

}  // namespace postern::auth
