#include "common/smtpclient/auth.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/encode.h"
#include "common/base/text.h"
#include "common/ipc/auth.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/sasl/digest.h"
#include "common/smtpclient/tls_policy.h"

namespace postern::smtpclient {

namespace {

constexpr std::chrono::seconds kTablesTime{100};
// The daemon may have to wait for a command that fetches a token.
constexpr std::chrono::seconds kTokenTime{90};
// No mechanism has more; a server could go on for ever.
constexpr unsigned kMaxSteps = 8;
constexpr std::size_t kMaxRefusals = 1000;
constexpr std::size_t kNonceSize = 18;
constexpr int kWrongPassword = 535;

Verdict own_trouble(const Endpoint& endpoint, std::string text) {
  Verdict out = own_failure("4.7.0", std::move(text));
  out.relay = endpoint.relay();
  return out;
}

Verdict cannot(const Endpoint& endpoint, std::string_view why) {
  return own_trouble(endpoint,
                     fmt::format("SASL authentication failed; cannot authenticate to server {}: {}",
                                 endpoint.host(), why));
}

// As postconf(5) orders the keys of an address.
void add_sender_keys(std::vector<ipc::tables::Key>& keys, const std::string& sender,
                     const std::string& delimiter) {
  keys.push_back({sender, false});
  const auto stripped = mail::strip_extension(sender, delimiter);
  if (!stripped.extension.empty()) keys.push_back({stripped.address, true});
  const auto parts = mail::split_address(sender);
  if (parts.has_domain) keys.push_back({"@" + std::string(parts.domain), true});
}

const sasl::SecurityOptions& options_of(const LoginSettings& settings,
                                        const Connection& connection) {
  if (!connection.is_encrypted()) return settings.options;
  const bool is_verified = connection.plan != nullptr && must_match(connection.plan->policy.level);
  return is_verified ? settings.verified_options : settings.tls_options;
}

}  // namespace

std::vector<ipc::tables::Key> password_keys(const PasswordQuestion& question,
                                            const LoginSettings& settings) {
  std::vector<ipc::tables::Key> keys;
  if (settings.is_sender_dependent && !question.sender.empty()) {
    add_sender_keys(keys, question.sender, settings.recipient_delimiter);
  }
  keys.push_back({question.endpoint.name, false});
  if (question.nexthop != question.endpoint.name) keys.push_back({question.nexthop, false});
  return keys;
}

sasl::Credentials parse_credentials(std::string_view value, const LoginSettings& settings) {
  const std::string& delimiter = settings.result_delimiter;
  sasl::Credentials out;
  const auto at = delimiter.empty() ? std::string_view::npos : value.find(delimiter);
  out.username = value.substr(0, at);
  if (at != std::string_view::npos) out.password = value.substr(at + delimiter.size());
  out.is_token = settings.token_directory.starts_with('/') &&
                 out.password.starts_with(settings.token_directory + '/');
  return out;
}

loop::Task<std::vector<std::string>> LoginClient::usable_mechanisms(SettingsPtr settings,
                                                                    Connection& connection) {
  using Kind = config::SiteList::Match::Kind;
  const LoginSettings& login = settings->login;
  const std::vector<std::string> offered = connection.features().auth_mechanisms;
  if (!login.has_filter) co_return offered;
  std::vector<std::string> kept;
  for (const auto& name : offered) {
    auto match = login.filter.match(name);
    while (match.kind == Kind::kAskTable) {
      bool is_listed = match.table.starts_with("static:");
      if (!is_listed && tables_ != nullptr) {
        ipc::tables::Lookup question;
        question.tables.emplace_back(match.table);
        question.keys.push_back({to_lower(name), false});
        const auto found =
            co_await tables_->lookup(std::move(question), loop::Clock::now() + kTablesTime);
        if (!found) log::warning("smtp_sasl_mechanism_filter: {}", found.error().text);
        is_listed = found && found->is_found;
      }
      if (is_listed) {
        match.kind = match.if_found;
      } else {
        match = login.filter.match(name, match.next);
      }
    }
    if (match.kind == Kind::kYes) kept.push_back(name);
  }
  co_return kept;
}

loop::Task<Result<std::optional<std::string>>> LoginClient::find_password(
    SettingsPtr settings, PasswordQuestion question) {
  if (tables_ == nullptr || settings->login.password_maps.empty()) co_return std::nullopt;
  ipc::tables::Lookup lookup;
  lookup.tables = settings->login.password_maps;
  lookup.keys = password_keys(question, settings->login);
  CO_TRY(auto found, co_await tables_->lookup(std::move(lookup), loop::Clock::now() + kTablesTime));
  if (!found.is_found) co_return std::nullopt;
  co_return std::move(found.value);
}

loop::Task<Result<std::string>> LoginClient::find_token(std::string file, bool is_refused) {
  if (daemon_ == nullptr) co_return fail_temporary("token files are not for this client");
  ipc::auth::FindToken question;
  question.file = std::move(file);
  question.is_refused = is_refused;
  CO_TRY(auto token, co_await daemon_->call(std::move(question), loop::Clock::now() + kTokenTime));
  co_return std::move(token.text);
}

loop::Task<Verdict> LoginClient::log_in(SettingsPtr settings, Connection& connection,
                                        std::string nexthop, std::string sender) {
  const LoginSettings& login = settings->login;
  if (!login.is_enabled || connection.features().auth_mechanisms.empty()) co_return Verdict{};
  const Endpoint endpoint = connection.endpoint();
  PasswordQuestion question{endpoint, std::move(nexthop), std::move(sender)};
  auto value = co_await find_password(settings, std::move(question));
  if (!value) {
    log::warning("smtp_sasl_password_maps: {}", value.error().text);
    Verdict trouble =
        own_failure("4.3.0", fmt::format("local data error while talking to {}", endpoint.host()));
    trouble.relay = endpoint.relay();
    co_return trouble;
  }
  if (!*value) co_return Verdict{};
  auto credentials = parse_credentials(**value, login);
  credentials.sends_authzid = login.sends_authzid;
  credentials.host = endpoint.name;
  credentials.port = endpoint.port;
  const std::string token_file = credentials.is_token ? credentials.password : std::string();
  const auto mechanisms = co_await usable_mechanisms(settings, connection);
  // A token in the table itself, for whoever wants nothing else.
  const bool wants_token = std::ranges::none_of(mechanisms, [](const std::string& name) {
    return name != "XOAUTH2" && name != "OAUTHBEARER";
  });
  if (credentials.is_token) {
    auto token = co_await find_token(token_file, false);
    if (!token) co_return cannot(endpoint, token.error().text);
    credentials.password = *std::move(token);
  } else if (wants_token && !mechanisms.empty()) {
    credentials.is_token = true;
  }
  const std::string key = fmt::format("{}\n{}", endpoint.relay(), credentials.username);
  const std::string secret = sasl::digest(sasl::Hash::kSha256, credentials.password);
  if (login.has_cache) {
    if (const auto* refusal = find_refusal(key, secret)) co_return refusal->verdict;
  }
  auto chosen =
      sasl::choose_client_login(mechanisms, options_of(login, connection), std::move(credentials),
                                base64_encode(sasl::random_bytes(kNonceSize)));
  if (chosen == nullptr) {
    co_return own_trouble(
        endpoint,
        fmt::format("SASL authentication failed: server {} offered no compatible authentication "
                    "mechanisms for this type of connection security",
                    endpoint.host()));
  }
  Verdict verdict = co_await converse(settings, connection, *chosen);
  if (verdict.status.empty()) {
    connection.is_logged_in = true;
    refusals_.erase(key);
  } else if (verdict.diagnostic.starts_with(std::to_string(kWrongPassword))) {
    if (login.has_cache) {
      Verdict kept = verdict;
      kept.text = replace_all(kept.text, "SASL authentication failed",
                              "SASL [CACHED] authentication failed");
      keep_refusal(key, {secret, std::move(kept), loop::Clock::now() + login.cache_time});
    }
    // The next attempt has another one.
    if (!token_file.empty()) (void)co_await find_token(token_file, true);
  }
  co_return verdict;
}

loop::Task<Result<std::string>> LoginClient::answer(sasl::ClientLogin& login,
                                                    std::string challenge) {
  auto decoded = base64_decode(challenge);
  if (!decoded) co_return fail_temporary("the challenge is not in base64");
  if (!login.is_slow()) co_return login.answer(*decoded);
  auto text = co_await pool_.run([&login, &decoded] { return login.answer(*decoded); });
  co_return text;
}

loop::Task<Verdict> LoginClient::converse(SettingsPtr settings, Connection& connection,
                                          sasl::ClientLogin& login) {
  const Endpoint endpoint = connection.endpoint();
  const auto timeout = settings->params.smtp_helo_timeout;
  std::string line = fmt::format("AUTH {}", login.mechanism());
  if (auto first = login.first()) {
    // RFC 4954 4: `=` is a response that is there and empty.
    line += ' ';
    line += first->empty() ? "=" : base64_encode(*first);
    sasl::wipe(*first);
  }
  for (unsigned step = 0;; ++step) {
    line += "\r\n";
    Connection::Reply reply;
    reply.io = co_await connection.stream().write(line, loop::Clock::now() + timeout);
    sasl::wipe(line);
    if (reply.io == loop::Io::kOk) reply = co_await connection.read_reply(timeout);
    if (!reply.is_ok()) co_return connection.failure(reply, Step::kAuth);
    if (reply.reply.klass() == '2') {
      const auto good = login.finish();
      if (!good) co_return cannot(endpoint, good.error().text);
      co_return Verdict{};
    }
    if (reply.reply.klass() != '3') {
      Verdict refused = said(endpoint, reply.reply, Step::kAuth);
      if (settings->login.is_soft) refused.status[0] = '4';
      refused.text = fmt::format("SASL authentication failed; server {} said: {}", endpoint.host(),
                                 quote_reply(reply.reply));
      co_return refused;
    }
    std::string challenge =
        reply.reply.lines.empty() ? std::string() : std::move(reply.reply.lines.front());
    Result<std::string> next = fail_temporary("the server asks without end");
    if (step < kMaxSteps) next = co_await answer(login, std::move(challenge));
    if (!next) {
      // RFC 4954 4: `*` gives up; what comes next is a command again.
      reply.io = co_await connection.stream().write("*\r\n", loop::Clock::now() + timeout);
      if (reply.io == loop::Io::kOk) reply = co_await connection.read_reply(timeout);
      co_return cannot(endpoint, log::clean(next.error().text));
    }
    line = base64_encode(*next);
    sasl::wipe(*next);
  }
}

const LoginClient::Refusal* LoginClient::find_refusal(const std::string& key,
                                                      const std::string& secret) {
  const auto found = refusals_.find(key);
  if (found == refusals_.end()) return nullptr;
  if (found->second.secret == secret && loop::Clock::now() < found->second.until) {
    return &found->second;
  }
  refusals_.erase(found);
  return nullptr;
}

void LoginClient::keep_refusal(const std::string& key, Refusal refusal) {
  if (refusals_.size() >= kMaxRefusals) refusals_.clear();
  refusals_.insert_or_assign(key, std::move(refusal));
}

}  // namespace postern::smtpclient
