#include "common/ipc/identity.h"

#include <strings.h>
#include <sys/random.h>

#include <array>
#include <cassert>
#include <cstdlib>
#include <cstring>

#include "common/base/encode.h"
#include "common/base/text.h"

namespace postern::ipc {

namespace {

constexpr std::size_t kTokenBytes = 16;

struct Identities {
  Identity own;
  std::vector<Identity> known;
};

Identities& identities() {
  static Identities all;
  return all;
}

// The kernel shows the environment of a process where it was at the start: it has to be
// overwritten there.
std::string take_variable(std::string_view name) {
  char* const value = ::getenv(std::string(name).c_str());
  if (value == nullptr) return {};
  std::string taken(value);
  ::explicit_bzero(value, taken.size());
  ::unsetenv(std::string(name).c_str());
  return taken;
}

bool is_same(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned>(static_cast<unsigned char>(a[i] ^ b[i]));
  }
  return difference == 0;
}

}  // namespace

std::string make_token() {
  std::array<char, kTokenBytes> bytes{};
  const ssize_t count = ::getrandom(bytes.data(), bytes.size(), 0);
  assert(count == static_cast<ssize_t>(bytes.size()));
  return hex_encode({bytes.data(), bytes.size()});
}

std::string print_identities(const std::vector<Identity>& identities) {
  std::string text;
  for (const auto& each : identities) {
    if (!text.empty()) text += ' ';
    ((text += each.program) += '=') += each.token;
  }
  return text;
}

std::vector<Identity> parse_identities(std::string_view text) {
  std::vector<Identity> found;
  for (const auto word : split_words(text, " ")) {
    const auto [program, token] = split_at_first(word, '=');
    if (program.empty() || token.size() != 2 * kTokenBytes) continue;
    found.push_back({std::string(program), std::string(token)});
  }
  return found;
}

void take_identities() {
  auto own = parse_identities(take_variable(kIdentityVariable));
  auto known = parse_identities(take_variable(kIdentitiesVariable));
  set_identities(own.empty() ? Identity{} : std::move(own.front()), std::move(known));
}

void set_identities(Identity own, std::vector<Identity> known) {
  identities() = {std::move(own), std::move(known)};
}

const Identity& own_identity() { return identities().own; }

void introduce(Channel& channel) {
  const Identity& own = own_identity();
  if (!own.program.empty()) channel.notify(Introduce{own.program, own.token});
}

bool is_proven(const Introduce& peer) {
  bool proven = false;
  for (const auto& each : identities().known) {
    if (each.program == peer.program) proven |= is_same(each.token, peer.token);
  }
  return proven;
}

}  // namespace postern::ipc
