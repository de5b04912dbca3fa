// mechanism.h - SASL mechanisms: what they are worth, and which of them a configuration allows.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace postern::sasl {

// What smtpd_sasl_security_options and its kin speak of.
enum Trait : std::uint32_t {
  kPlaintext = 1U << 0U,       // shows the password to whoever reads along
  kActive = 1U << 1U,          // open to an active attacker
  kDictionary = 1U << 2U,      // open to guessing by whoever reads along
  kAnonymous = 1U << 3U,       // names nobody
  kForwardSecrecy = 1U << 4U,  // what was said stays secret when the password is known
  kMutualAuth = 1U << 5U,      // the server shows that it knows the password, too
};
using Traits = std::uint32_t;

struct Mechanism {
  std::string name;  // upper case
  Traits traits = 0;
  friend bool operator==(const Mechanism&, const Mechanism&) = default;
};

// RFC 4422 3.1: 1 to 20 of A-Z, 0-9, `-` and `_`.
[[nodiscard]] bool is_mechanism_name(std::string_view text);

// The traits of a mechanism known by name; those of one that is not known are none.
[[nodiscard]] Traits traits_of(std::string_view mechanism);

struct SecurityOptions {
  Traits forbidden = 0;
  Traits required = 0;
  [[nodiscard]] bool allow(Traits traits) const {
    return (traits & forbidden) == 0 && (traits & required) == required;
  }
};

// "noanonymous", "noplaintext", "noactive", "nodictionary", "forward_secrecy", "mutual_auth"; any
// other word goes to *unknown.
[[nodiscard]] SecurityOptions parse_security_options(const std::vector<std::string>& words,
                                                     std::vector<std::string>* unknown = nullptr);

// Those that the options allow, in their order.
[[nodiscard]] std::vector<Mechanism> allowed(std::vector<Mechanism> mechanisms,
                                             const SecurityOptions& options);

// "PLAIN LOGIN".
[[nodiscard]] std::string names_of(const std::vector<Mechanism>& mechanisms);

[[nodiscard]] const Mechanism* find(const std::vector<Mechanism>& mechanisms,
                                    std::string_view name);

}  // namespace postern::sasl
