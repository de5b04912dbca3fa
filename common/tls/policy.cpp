#include "common/tls/policy.h"

#include <openssl/evp.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "common/base/text.h"
#include "common/tls/openssl.h"

namespace postern::tls {

namespace {

struct Version {
  std::string_view name;
  int number;
  std::uint64_t forbid;
};

constexpr std::array kVersions = {
    Version{"SSLv3", SSL3_VERSION, SSL_OP_NO_SSLv3},
    Version{"TLSv1", TLS1_VERSION, SSL_OP_NO_TLSv1},
    Version{"TLSv1.1", TLS1_1_VERSION, SSL_OP_NO_TLSv1_1},
    Version{"TLSv1.2", TLS1_2_VERSION, SSL_OP_NO_TLSv1_2},
    Version{"TLSv1.3", TLS1_3_VERSION, SSL_OP_NO_TLSv1_3},
};

const Version* find_version(std::string_view name) {
  for (const auto& version : kVersions) {
    if (equal_nocase(name, version.name)) return &version;
  }
  return equal_nocase(name, "TLSv1.0") ? &kVersions[1] : nullptr;
}

// A bound may name a version, or give its number on the wire in hexadecimal: a future one, too.
std::optional<int> parse_bound(std::string_view text) {
  if (equal_nocase(text, "SSLv2")) return SSL3_VERSION;
  if (const auto* version = find_version(text)) return version->number;
  if (starts_with_nocase(text, "0x")) text.remove_prefix(2);
  int number = 0;
  const auto end = std::from_chars(text.begin(), text.end(), number, 16);
  if (end.ec != std::errc() || end.ptr != text.end() || number < SSL3_VERSION || number > 0x03ff) {
    return std::nullopt;
  }
  return number;
}

struct NamedOption {
  std::string_view name;
  std::uint64_t bits;
};

constexpr std::array kOptions = {
    NamedOption{"ENABLE_MIDDLEBOX_COMPAT", SSL_OP_ENABLE_MIDDLEBOX_COMPAT},
    NamedOption{"LEGACY_SERVER_CONNECT", SSL_OP_LEGACY_SERVER_CONNECT},
    NamedOption{"NO_TICKET", SSL_OP_NO_TICKET},
    NamedOption{"NO_COMPRESSION", SSL_OP_NO_COMPRESSION},
    NamedOption{"NO_RENEGOTIATION", SSL_OP_NO_RENEGOTIATION},
    NamedOption{"NO_SESSION_RESUMPTION_ON_RENEGOTIATION",
                SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION},
    NamedOption{"PRIORITIZE_CHACHA", SSL_OP_PRIORITIZE_CHACHA},
    NamedOption{"ENABLE_KTLS", SSL_OP_ENABLE_KTLS},
    NamedOption{"NO_ENCRYPT_THEN_MAC", SSL_OP_NO_ENCRYPT_THEN_MAC},
    NamedOption{"NO_EXTENDED_MASTER_SECRET", SSL_OP_NO_EXTENDED_MASTER_SECRET},
    NamedOption{"NO_ANTI_REPLAY", SSL_OP_NO_ANTI_REPLAY},
    NamedOption{"CIPHER_SERVER_PREFERENCE", SSL_OP_CIPHER_SERVER_PREFERENCE},
};

constexpr std::array kWorkarounds = {
    NamedOption{"CRYPTOPRO_TLSEXT_BUG", SSL_OP_CRYPTOPRO_TLSEXT_BUG},
    NamedOption{"DONT_INSERT_EMPTY_FRAGMENTS", SSL_OP_DONT_INSERT_EMPTY_FRAGMENTS},
    NamedOption{"LEGACY_SERVER_CONNECT", SSL_OP_LEGACY_SERVER_CONNECT},
    NamedOption{"TLSEXT_PADDING", SSL_OP_TLSEXT_PADDING},
    NamedOption{"SAFARI_ECDHE_ECDSA_BUG", SSL_OP_SAFARI_ECDHE_ECDSA_BUG},
};

// What older libraries had: the names still stand in configurations.
constexpr std::array<std::string_view, 10> kOldWorkarounds = {"MICROSOFT_SESS_ID_BUG",
                                                              "NETSCAPE_CHALLENGE_BUG",
                                                              "NETSCAPE_REUSE_CIPHER_CHANGE_BUG",
                                                              "SSLREF2_REUSE_CERT_TYPE_BUG",
                                                              "MICROSOFT_BIG_SSLV3_BUFFER",
                                                              "MSIE_SSLV2_RSA_PADDING",
                                                              "SSLEAY_080_CLIENT_DH_BUG",
                                                              "TLS_D5_BUG",
                                                              "TLS_BLOCK_PADDING_BUG",
                                                              "CVE-2010-4180"};

std::optional<std::uint64_t> parse_bits(std::string_view word) {
  if (!starts_with_nocase(word, "0x")) return std::nullopt;
  word.remove_prefix(2);
  std::uint64_t bits = 0;
  const auto end = std::from_chars(word.begin(), word.end(), bits, 16);
  if (end.ec != std::errc() || end.ptr != word.end()) return std::nullopt;
  return bits;
}

template <std::size_t kSize>
std::optional<std::uint64_t> find_option(const std::array<NamedOption, kSize>& options,
                                         std::string_view word) {
  for (const auto& option : options) {
    if (equal_nocase(word, option.name)) return option.bits;
  }
  return parse_bits(word);
}

bool is_cipher_word(std::string_view word) {
  return !word.empty() && std::ranges::all_of(word, [](char c) {
    return is_alnum(c) || c == '-' || c == '_' || c == '+' || c == '.';
  });
}

}  // namespace

bool Protocols::allows(int version) const {
  if ((lowest != 0 && version < lowest) || (highest != 0 && version > highest)) return false;
  return std::ranges::none_of(kVersions, [&](const Version& known) {
    return known.number == version && (forbidden & known.forbid) != 0;
  });
}

Result<Protocols> parse_protocols(std::string_view text) {
  Protocols protocols;
  std::uint64_t wanted = 0;
  for (std::string_view word : split_words(text, ", \t\r\n:")) {
    if (word.starts_with(">=") || word.starts_with("<=")) {
      const auto bound = parse_bound(word.substr(2));
      if (!bound) {
        return fail(Error::Kind::kConfig, "unknown TLS protocol version: " + std::string(word));
      }
      (word.front() == '>' ? protocols.lowest : protocols.highest) = *bound;
      continue;
    }
    const bool is_excluded = word.front() == '!';
    if (is_excluded) word.remove_prefix(1);
    if (equal_nocase(word, "SSLv2")) continue;
    const auto* version = find_version(word);
    if (version == nullptr) {
      return fail(Error::Kind::kConfig, "unknown TLS protocol: " + std::string(word));
    }
    (is_excluded ? protocols.forbidden : wanted) |= version->forbid;
  }
  if (wanted != 0) {
    for (const auto& version : kVersions) {
      if ((wanted & version.forbid) == 0) protocols.forbidden |= version.forbid;
    }
  }
  if (std::ranges::none_of(kVersions,
                           [&](const Version& v) { return protocols.allows(v.number); })) {
    return fail(Error::Kind::kConfig, "no TLS protocol is left by: " + std::string(text));
  }
  return protocols;
}

Result<std::string> cipher_string(const CipherLists& lists, std::string_view grade,
                                  std::span<const std::string> exclusions) {
  const std::string* base = nullptr;
  if (equal_nocase(grade, "high")) base = &lists.high;
  if (equal_nocase(grade, "medium")) base = &lists.medium;
  if (equal_nocase(grade, "low")) base = &lists.low;
  if (equal_nocase(grade, "export")) base = &lists.export_grade;
  if (equal_nocase(grade, "null")) base = &lists.null;
  if (base == nullptr) {
    return fail(Error::Kind::kConfig, "unknown cipher grade: " + std::string(grade));
  }
  std::string text = *base;
  for (const auto& exclusion : exclusions) {
    // Older lists part by colons, too, and some have the "!" that is meant already.
    for (std::string_view word : split_words(exclusion, ", \t\r\n:")) {
      if (word.front() == '!') word.remove_prefix(1);
      if (!is_cipher_word(word)) {
        return fail(Error::Kind::kConfig, "not a cipher to exclude: " + std::string(word));
      }
      text.append(":!").append(word);
    }
  }
  return text;
}

Result<std::uint64_t> parse_ssl_options(std::span<const std::string> words) {
  std::uint64_t bits = 0;
  for (const auto& word : words) {
    const auto found = find_option(kOptions, word);
    if (!found) return fail(Error::Kind::kConfig, "unknown tls_ssl_options value: " + word);
    bits |= *found;
  }
  return bits;
}

Result<std::uint64_t> parse_workarounds(std::span<const std::string> words) {
  std::uint64_t bits = 0;
  for (const auto& word : words) {
    const auto found = find_option(kWorkarounds, word);
    const bool is_old = std::ranges::any_of(
        kOldWorkarounds, [&](std::string_view old) { return equal_nocase(old, word); });
    if (!found && !is_old) {
      return fail(Error::Kind::kConfig, "unknown tls_disable_workarounds value: " + word);
    }
    bits |= found.value_or(0);
  }
  return bits;
}

std::string usable_groups(std::span<const std::string> names) {
  init_library();
  const SslCtxPtr probe(SSL_CTX_new(TLS_method()));
  std::string groups;
  for (const auto& name : names) {
    if (probe == nullptr || SSL_CTX_set1_groups_list(probe.get(), name.c_str()) != 1) continue;
    if (!groups.empty()) groups += ':';
    groups += name;
  }
  ERR_clear_error();
  return groups;
}

bool matches_name(std::string_view wanted, std::string_view presented, bool wildcard_spans_labels) {
  const auto without_final_dot = [](std::string_view name) {
    return name.size() > 1 && name.ends_with('.') ? name.substr(0, name.size() - 1) : name;
  };
  wanted = without_final_dot(wanted);
  presented = without_final_dot(presented);
  if (wanted.empty() || presented.empty()) return false;
  if (wanted.front() == '.') {
    // Any name below the domain; a wildcard right below it stands for such names only.
    return presented.size() > wanted.size() && ends_with_nocase(presented, wanted);
  }
  if (equal_nocase(wanted, presented)) return true;
  if (!presented.starts_with("*.")) return false;
  const std::string_view domain = presented.substr(1);  // ".example.com"
  // "*.com" would be a certificate for everybody below a public suffix.
  if (domain.find('.', 1) == std::string_view::npos) return false;
  if (wanted.size() <= domain.size() || !ends_with_nocase(wanted, domain)) return false;
  const std::string_view label = wanted.substr(0, wanted.size() - domain.size());
  return wildcard_spans_labels || label.find('.') == std::string_view::npos;
}

bool is_known_digest(std::string_view name) {
  // The two defaults. To ask OpenSSL costs each process that may never need it a megabyte.
  if (name == "sha256" || name == "md5") return true;
  init_library();
  const bool is_known = EVP_get_digestbyname(std::string(name).c_str()) != nullptr;
  ERR_clear_error();
  return is_known;
}

}  // namespace postern::tls
