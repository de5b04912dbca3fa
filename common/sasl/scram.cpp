#include "common/sasl/scram.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "common/base/encode.h"
#include "common/base/number.h"
#include "common/base/text.h"

namespace postern::sasl {

namespace {

constexpr std::size_t kMaxMessage = 8192;
constexpr std::size_t kMaxNonce = 1024;
constexpr std::size_t kMaxSalt = 1024;

std::unexpected<Error> refuse(std::string_view why) {
  return fail(Error::Kind::kPermanent, std::string(why));
}

// RFC 5802 5.1: `,` and `=` in names are =2C and =3D.
std::string escape_name(std::string_view name) {
  return replace_all(replace_all(name, "=", "=3D"), ",", "=2C");
}

std::optional<std::string> unescape_name(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '=') {
      out += text[i];
      continue;
    }
    const std::string_view code = text.substr(i, 3);
    if (code != "=2C" && code != "=3D") return std::nullopt;
    out += code == "=2C" ? ',' : '=';
    i += 2;
  }
  return out;
}

// "x=value" in its place; nothing where the letter is another.
std::optional<std::string_view> value_of(std::string_view field, char letter) {
  if (field.size() < 2 || field[0] != letter || field[1] != '=') return std::nullopt;
  return field.substr(2);
}

bool is_nonce(std::string_view text) {
  return !text.empty() && text.size() <= kMaxNonce &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f' && c != ','; });
}

std::string exclusive_or(std::string a, std::string_view b) {
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    a[i] = static_cast<char>(static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]));
  }
  return a;
}

}  // namespace

ScramEntry make_scram_entry(Hash hash, std::string_view password, std::string salt,
                            unsigned iterations) {
  ScramEntry entry;
  entry.hash = hash;
  entry.iterations = iterations;
  std::string salted = pbkdf2(hash, password, salt, iterations);
  entry.salt = std::move(salt);
  entry.stored_key = digest(hash, hmac(hash, salted, "Client Key"));
  entry.server_key = hmac(hash, salted, "Server Key");
  wipe(salted);
  return entry;
}

std::optional<ScramEntry> parse_scram_entry(Hash hash, std::string_view text) {
  std::string even(text);
  const auto comma = even.find(',');
  const auto colon = even.find(':');
  // "4096:SALT$STORED:SERVER"
  if (comma == std::string::npos && colon != std::string::npos) {
    std::ranges::replace(even, ':', ',');
    std::ranges::replace(even, '$', ',');
  }
  const auto fields = split_fields(even, ',');
  if (fields.size() != 4) return std::nullopt;
  const auto iterations = parse_integer<unsigned>(fields[0]);
  auto salt = base64_decode(fields[1]);
  auto stored = base64_decode(fields[2]);
  auto server = base64_decode(fields[3]);
  if (!iterations || *iterations < kMinIterations || *iterations > kMaxIterations) {
    return std::nullopt;
  }
  if (!salt || salt->empty() || salt->size() > kMaxSalt || !stored || !server) return std::nullopt;
  if (stored->size() != size_of(hash) || server->size() != size_of(hash)) return std::nullopt;
  return ScramEntry{hash, *iterations, *std::move(salt), *std::move(stored), *std::move(server)};
}

std::string print_scram_entry(const ScramEntry& entry) {
  return fmt::format("{},{},{},{}", entry.iterations, base64_encode(entry.salt),
                     base64_encode(entry.stored_key), base64_encode(entry.server_key));
}

bool is_password_of(const ScramEntry& entry, std::string_view password) {
  const auto made = make_scram_entry(entry.hash, password, entry.salt, entry.iterations);
  return equal_secretly(made.stored_key, entry.stored_key);
}

// ---- server

Result<void> ScramServer::read_first(std::string_view message) {
  if (message.size() > kMaxMessage) return refuse("message too long");
  const auto fields = split_fields(message, ',');
  if (fields.size() < 4) return refuse("malformed SCRAM message");
  const std::string_view flag = fields[0];
  if (is_plus_) {
    const auto type = value_of(flag, 'p');
    if (!type || *type != binding_type_ || binding_.empty()) {
      return refuse("channel binding is missing or of another type");
    }
  } else if (flag == "y" && !binding_.empty()) {
    // The client could bind and believes that we cannot: somebody has changed the list.
    return refuse("the client saw another list of mechanisms");
  } else if (flag != "n" && flag != "y") {
    return refuse("channel binding without a -PLUS mechanism");
  }
  std::optional<std::string> authzid("");
  if (!fields[1].empty()) {
    const auto value = value_of(fields[1], 'a');
    authzid = value ? unescape_name(*value) : std::nullopt;
  }
  const auto name = value_of(fields[2], 'n');  // "m=" is for extensions that we do not know
  auto username = name ? unescape_name(*name) : std::nullopt;
  const auto nonce = value_of(fields[3], 'r');
  if (!authzid || !username || !nonce || !is_nonce(*nonce)) {
    return refuse("malformed SCRAM message");
  }
  if (!authzid->empty() && *authzid != *username) {
    return refuse("acting for another user is not allowed");
  }
  gs2_header_ = fmt::format("{},{},", fields[0], fields[1]);
  client_first_bare_ = message.substr(gs2_header_.size());
  username_ = *std::move(username);
  nonce_ = *nonce;
  return {};
}

std::string ScramServer::challenge(ScramEntry entry, std::string_view nonce) {
  entry_ = std::move(entry);
  nonce_ += nonce;
  server_first_ =
      fmt::format("r={},s={},i={}", nonce_, base64_encode(entry_.salt), entry_.iterations);
  return server_first_;
}

Result<std::string> ScramServer::read_final(std::string_view message) {
  if (message.size() > kMaxMessage) return refuse("message too long");
  const auto proof_at = message.rfind(",p=");
  if (proof_at == std::string_view::npos) return refuse("malformed SCRAM message");
  const std::string_view without_proof = message.substr(0, proof_at);
  const auto proof = base64_decode(message.substr(proof_at + 3));
  const auto fields = split_fields(without_proof, ',');
  const auto binding = value_of(fields[0], 'c');
  const auto nonce = fields.size() > 1 ? value_of(fields[1], 'r') : std::nullopt;
  if (!proof || proof->size() != size_of(hash_) || !binding || !nonce) {
    return refuse("malformed SCRAM message");
  }
  const std::string expected = base64_encode(is_plus_ ? gs2_header_ + binding_ : gs2_header_);
  if (!equal_secretly(*binding, expected)) return refuse("channel binding does not match");
  if (!equal_secretly(*nonce, nonce_)) return refuse("nonce does not match");

  const std::string signed_text =
      fmt::format("{},{},{}", client_first_bare_, server_first_, without_proof);
  const std::string signature = hmac(hash_, entry_.stored_key, signed_text);
  const std::string client_key = exclusive_or(*proof, signature);
  if (!equal_secretly(digest(hash_, client_key), entry_.stored_key)) {
    return refuse("authentication failure");
  }
  return "v=" + base64_encode(hmac(hash_, entry_.server_key, signed_text));
}

// ---- client

std::string ScramClient::first() const {
  return fmt::format("n,,n={},r={}", escape_name(username_), nonce_);
}

Result<std::string> ScramClient::answer(std::string_view challenge) {
  if (challenge.size() > kMaxMessage) return refuse("challenge too long");
  const auto fields = split_fields(challenge, ',');
  if (fields.size() < 3) return refuse("malformed SCRAM challenge");
  const auto nonce = value_of(fields[0], 'r');
  const auto salt_text = value_of(fields[1], 's');
  const auto count = value_of(fields[2], 'i');
  const auto salt = salt_text ? base64_decode(*salt_text) : std::nullopt;
  const auto iterations = count ? parse_integer<unsigned>(*count) : std::nullopt;
  if (!nonce || !is_nonce(*nonce) || !salt || salt->empty() || salt->size() > kMaxSalt ||
      !iterations) {
    return refuse("malformed SCRAM challenge");
  }
  if (!nonce->starts_with(nonce_) || nonce->size() == nonce_.size()) {
    return refuse("the server's nonce does not go on from ours");
  }
  if (*iterations < kMinIterations || *iterations > kMaxIterations) {
    return refuse("iteration count out of bounds");
  }
  const auto entry = make_scram_entry(hash_, password_, *salt, *iterations);
  std::string salted = pbkdf2(hash_, password_, *salt, *iterations);
  const std::string client_key = hmac(hash_, salted, "Client Key");
  wipe(salted);
  const std::string without_proof = fmt::format("c=biws,r={}", *nonce);
  const std::string signed_text =
      fmt::format("n={},r={},{},{}", escape_name(username_), nonce_, challenge, without_proof);
  const std::string signature = hmac(hash_, entry.stored_key, signed_text);
  server_signature_ = hmac(hash_, entry.server_key, signed_text);
  return fmt::format("{},p={}", without_proof, base64_encode(exclusive_or(client_key, signature)));
}

Result<void> ScramClient::check_final(std::string_view message) const {
  const auto fields = split_fields(message, ',');
  const auto text = value_of(fields[0], 'v');
  const auto signature = text ? base64_decode(*text) : std::nullopt;
  if (!signature || server_signature_.empty() || !equal_secretly(*signature, server_signature_)) {
    return refuse("the server does not know the password");
  }
  return {};
}

}  // namespace postern::sasl
