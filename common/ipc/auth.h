// auth.h - what smtpd asks the auth daemon (private/postern-auth): which mechanisms there are, and
// one login after another.
//
// A profile is named by its number (common/config/sasl_profile.h). A login that goes on over
// several steps lives as long as the channel it began on, at most.

#pragma once

#include <string>
#include <vector>

#include "common/ipc/message.h"

namespace postern::ipc::auth {

struct Mechanism {
  std::string name;
  std::uint64_t traits = 0;  // sasl::Traits
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("name", self.name);
    field("traits", self.traits);
  }
};

struct Mechanisms {
  std::vector<Mechanism> mechanisms;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("mechanisms", self.mechanisms);
  }
};

struct ListMechanisms {
  static constexpr std::uint16_t kType = 0x1001;
  static constexpr bool kRepeatable = true;
  using Reply = Mechanisms;
  std::uint64_t profile = 0;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("profile", self.profile);
  }
};

enum class StepKind : std::uint8_t { kChallenge = 1, kDone = 2, kFailed = 3, kTemporary = 4 };

struct Step {
  StepKind kind = StepKind::kTemporary;
  std::uint64_t login = 0;  // kChallenge: what Continue names
  std::string text;         // the challenge, or why it failed
  std::optional<std::string> username;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("kind", self.kind);
    field("login", self.login);
    field("text", self.text);
    field("username", self.username);
  }
};

struct Begin {
  static constexpr std::uint16_t kType = 0x1002;
  using Reply = Step;
  std::uint64_t profile = 0;
  std::string mechanism;
  std::optional<std::string> initial_response;
  std::string client_address;
  std::string server_address;
  bool is_encrypted = false;
  std::string channel_binding_type;
  std::string channel_binding;
  std::string certificate_name;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("profile", self.profile);
    field("mechanism", self.mechanism);
    field("initial_response", self.initial_response);
    field("client_address", self.client_address);
    field("server_address", self.server_address);
    field("is_encrypted", self.is_encrypted);
    field("channel_binding_type", self.channel_binding_type);
    field("channel_binding", self.channel_binding);
    field("certificate_name", self.certificate_name);
  }
};

struct Continue {
  static constexpr std::uint16_t kType = 0x1003;
  using Reply = Step;
  std::uint64_t login = 0;
  std::string response;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("login", self.login);
    field("response", self.response);
  }
};

// The client has gone, or said `*`.
struct Cancel {
  static constexpr std::uint16_t kType = 0x1004;
  std::uint64_t login = 0;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("login", self.login);
  }
};

// ---- smtp and lmtp: tokens of XOAUTH2 and OAUTHBEARER

struct Token {
  std::string text;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("text", self.text);
  }
};

struct FindToken {
  static constexpr std::uint16_t kType = 0x1005;
  static constexpr bool kRepeatable = true;
  using Reply = Token;
  std::string file;         // below smtp_sasl_token_directory
  bool is_refused = false;  // a server would not have the one that is there
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("file", self.file);
    field("is_refused", self.is_refused);
  }
};

}  // namespace postern::ipc::auth
