// identity.h - how a daemon proves to another which program it is.
//
// Many daemons share a uid, so the kernel cannot tell them apart. master gives each program a
// random token of its own when it starts one, and those who judge by it the tokens of all:
//
//     POSTERN_IDENTITY    smtp=6b1d...
//     POSTERN_IDENTITIES  auth=09ce... keyring=... smtp=6b1d...     tables and proxymap only
//
// Both are taken out of the environment, and wiped there, before the rights are dropped; from then
// on the kernel keeps processes of the same uid out of one another's memory.

#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/ipc/channel.h"
#include "common/ipc/message.h"

namespace postern::ipc {

inline constexpr std::string_view kIdentityVariable = "POSTERN_IDENTITY";
inline constexpr std::string_view kIdentitiesVariable = "POSTERN_IDENTITIES";

struct Identity {
  std::string program;
  std::string token;
};

// The first notice on a connection to a service that asks who is there.
struct Introduce {
  static constexpr std::uint16_t kType = 0x0207;
  std::string program;
  std::string token;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("program", self.program);
    field("token", self.token);
  }
};

// A token that nobody guesses.
[[nodiscard]] std::string make_token();

// "smtp=6b1d... auth=09ce..."; words that are not of this form are left out.
[[nodiscard]] std::string print_identities(const std::vector<Identity>& identities);
[[nodiscard]] std::vector<Identity> parse_identities(std::string_view text);

// Takes both variables out of the environment. Once, at start, with one thread.
void take_identities();

// This process's own; empty where master has given none.
[[nodiscard]] const Identity& own_identity();

// Tells the other side, where there is something to tell. Before any question.
void introduce(Channel& channel);

// Whether the token is that program's. Takes the same time for any wrong token.
[[nodiscard]] bool is_proven(const Introduce& peer);

// What take_identities() found, replaced: for tests.
void set_identities(Identity own, std::vector<Identity> known);

}  // namespace postern::ipc
