#include "common/sasl/mechanism.h"

#include <algorithm>
#include <array>

#include "common/base/text.h"

namespace postern::sasl {

namespace {

constexpr std::size_t kMaxName = 20;

struct Known {
  std::string_view name;
  Traits traits;
};

constexpr std::array kKnown = {
    Known{"PLAIN", kPlaintext | kActive | kDictionary},
    Known{"LOGIN", kPlaintext | kActive | kDictionary},
    Known{"XOAUTH2", kPlaintext | kActive},
    Known{"OAUTHBEARER", kPlaintext | kActive},
    Known{"ANONYMOUS", kAnonymous | kActive | kDictionary},
    Known{"CRAM-MD5", kActive | kDictionary},
    Known{"DIGEST-MD5", kActive | kDictionary | kMutualAuth},
    Known{"NTLM", kActive | kDictionary},
    Known{"SCRAM-SHA-1", kDictionary | kMutualAuth},
    Known{"SCRAM-SHA-256", kDictionary | kMutualAuth},
    Known{"SCRAM-SHA-1-PLUS", kDictionary | kMutualAuth},
    Known{"SCRAM-SHA-256-PLUS", kDictionary | kMutualAuth},
    Known{"GSSAPI", kMutualAuth},
    Known{"EXTERNAL", 0},
};

struct Option {
  std::string_view word;
  Traits forbidden;
  Traits required;
};

constexpr std::array kOptions = {
    Option{"noplaintext", kPlaintext, 0},          Option{"noactive", kActive, 0},
    Option{"nodictionary", kDictionary, 0},        Option{"noanonymous", kAnonymous, 0},
    Option{"forward_secrecy", 0, kForwardSecrecy}, Option{"mutual_auth", 0, kMutualAuth},
};

}  // namespace

bool is_mechanism_name(std::string_view text) {
  return !text.empty() && text.size() <= kMaxName && std::ranges::all_of(text, [](char c) {
    return is_upper(c) || is_digit(c) || c == '-' || c == '_';
  });
}

Traits traits_of(std::string_view mechanism) {
  const auto* const known =
      std::ranges::find_if(kKnown, [&](const Known& k) { return equal_nocase(k.name, mechanism); });
  return known == kKnown.end() ? 0 : known->traits;
}

SecurityOptions parse_security_options(const std::vector<std::string>& words,
                                       std::vector<std::string>* unknown) {
  SecurityOptions options;
  for (const auto& word : words) {
    const auto* const known = std::ranges::find_if(
        kOptions, [&](const Option& option) { return equal_nocase(option.word, word); });
    if (known != kOptions.end()) {
      options.forbidden |= known->forbidden;
      options.required |= known->required;
    } else if (unknown != nullptr) {
      unknown->push_back(word);
    }
  }
  return options;
}

std::vector<Mechanism> allowed(std::vector<Mechanism> mechanisms, const SecurityOptions& options) {
  std::erase_if(mechanisms, [&](const Mechanism& m) { return !options.allow(m.traits); });
  return mechanisms;
}

std::string names_of(const std::vector<Mechanism>& mechanisms) {
  std::string text;
  for (const auto& mechanism : mechanisms) {
    if (!text.empty()) text += ' ';
    text += mechanism.name;
  }
  return text;
}

const Mechanism* find(const std::vector<Mechanism>& mechanisms, std::string_view name) {
  const auto found = std::ranges::find_if(
      mechanisms, [&](const Mechanism& m) { return equal_nocase(m.name, name); });
  return found == mechanisms.end() ? nullptr : &*found;
}

}  // namespace postern::sasl
