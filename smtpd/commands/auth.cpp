// auth.cpp - AUTH (RFC 4954): the dialogue between a client and whoever judges its login.

#include <fmt/format.h>

#include "common/base/encode.h"
#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/event.h"
#include "common/log/log.h"
#include "common/sasl/digest.h"
#include "common/tls/session.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

constexpr std::chrono::seconds kTablesTime{100};
constexpr std::size_t kMaxShownName = 100;
constexpr std::string_view kNoReason = "(reason unavailable)";
// Longer names are no names: they would not fit into what is told of a client.
constexpr std::size_t kMaxLogin = 1024;

mail::Reply challenge_reply(std::string_view challenge) {
  mail::Reply reply;
  reply.code = 334;
  reply.lines = {base64_encode(challenge)};
  return reply;
}

// What a back end says of a user goes to logs, headers and other programs.
std::string clean_login(std::string name) {
  if (name.size() > kMaxLogin) name.resize(kMaxLogin);
  for (char& c : name) {
    if (is_control(c)) c = '?';
  }
  return name;
}

}  // namespace

bool Session::may_log_in() const {
  const LoginSettings& login = settings_->login;
  if (!login.is_enabled || discards(kEhloAuth)) return false;
  return is_encrypted() || !login.is_tls_only;
}

loop::Task<Result<std::vector<sasl::Mechanism>>> Session::login_mechanisms() {
  const LoginSettings& login = settings_->login;
  CO_TRY(auto mechanisms, co_await server_.neighbours().login.mechanisms(login));
  mechanisms =
      sasl::allowed(std::move(mechanisms), is_encrypted() ? login.tls_options : login.options);
  // What only TLS makes possible.
  std::erase_if(mechanisms, [this](const sasl::Mechanism& mechanism) {
    return (mechanism.name.ends_with("-PLUS") && !is_encrypted()) ||
           (mechanism.name == "EXTERNAL" && !has_trusted_certificate());
  });
  co_return mechanisms;
}

// smtpd_sasl_mechanism_filter chooses what is shown; what a client knows without that is not
// refused for it (postconf(5)).
loop::Task<Result<std::vector<sasl::Mechanism>>> Session::announced_mechanisms() {
  const LoginSettings& login = settings_->login;
  CO_TRY(auto mechanisms, co_await login_mechanisms());
  if (!login.has_filter) co_return mechanisms;
  using Kind = config::SiteList::Match::Kind;
  std::vector<sasl::Mechanism> kept;
  for (auto& mechanism : mechanisms) {
    auto match = login.filter.match(mechanism.name);
    while (match.kind == Kind::kAskTable) {
      // "static:rest" is any other.
      bool is_listed = match.table.starts_with("static:");
      if (!is_listed) {
        ipc::tables::Lookup question;
        question.tables.emplace_back(match.table);
        question.keys.push_back({to_lower(mechanism.name), false});
        CO_TRY(const auto found, co_await server_.neighbours().tables.lookup(
                                     std::move(question), loop::Clock::now() + kTablesTime));
        is_listed = found.is_found;
      }
      if (is_listed) {
        match.kind = match.if_found;
      } else {
        match = login.filter.match(mechanism.name, match.next);
      }
    }
    if (match.kind == Kind::kYes) kept.push_back(std::move(mechanism));
  }
  co_return kept;
}

// The keyword in the answer to EHLO, for clients that may use it. A back end that is away costs
// logins, not mail.
loop::Task<void> Session::offer_login(mail::Reply& reply) {
  if (!may_log_in()) co_return;
  const bool is_exception = co_await is_client_in(settings_->login.exceptions);
  if (is_exception) co_return;
  const auto mechanisms = co_await announced_mechanisms();
  if (!mechanisms) {
    server_.neighbours().login.complain(mechanisms.error().text);
    co_return;
  }
  if (mechanisms->empty()) {
    server_.neighbours().login.complain(
        fmt::format("no mechanism of {} is allowed", settings_->login.partner_name));
    co_return;
  }
  const std::string names = sasl::names_of(*mechanisms);
  reply.lines.push_back("AUTH " + names);
  if (settings_->login.offers_broken_form) reply.lines.push_back("AUTH=" + names);
}

void Session::forget_login() {
  if (extras_ == nullptr) return;
  extras_->login.clear();
  extras_->login_method.clear();
  extras_->login_sender.clear();
  extras_->tried_login.reset();
}

loop::Task<mail::Reply> Session::auth_command(const smtpwire::CommandLine& command) {
  if (helo_.empty() && settings_->smtpd.smtpd_helo_required) {
    co_return mail::make_reply(503, "5.5.1 Error: send HELO/EHLO first");
  }
  if (!may_log_in()) {
    co_return mail::make_reply(503, "5.5.1 Error: authentication not enabled");
  }
  if (sender_) co_return mail::make_reply(503, "5.5.1 Error: MAIL transaction in progress");
  if (is_authenticated()) {
    co_return mail::make_reply(503, "5.5.1 Error: already authenticated");
  }
  auto arguments = smtpwire::parse_auth(command.argument);
  if (!arguments) co_return arguments.error();
  if (auto refusal = co_await count(ipc::anvil::Event::kAuth)) co_return *refusal;
  co_return co_await log_in(*std::move(arguments));
}

loop::Task<LoginStep> Session::first_login_step(LoginExchange& exchange,
                                                const smtpwire::AuthArguments& arguments) {
  LoginStep refused;
  refused.is_judged = false;
  const auto mechanisms = co_await login_mechanisms();
  if (!mechanisms) {
    refused.text = mechanisms.error().text;
    co_return refused;
  }
  refused.kind = LoginStep::Kind::kFailed;
  const auto* const mechanism = sasl::find(*mechanisms, arguments.mechanism);
  if (mechanism == nullptr) {
    refused.text = "Invalid authentication mechanism";
    co_return refused;
  }
  LoginRequest request;
  request.mechanism = mechanism->name;
  if (arguments.initial_response) {
    // RFC 4954 4: `=` stands for a response that is there and empty.
    auto response = *arguments.initial_response == "=" ? std::optional<std::string>("")
                                                       : base64_decode(*arguments.initial_response);
    if (!response) {
      refused.text = "Invalid base64 data in initial response";
      co_return refused;
    }
    request.initial_response = std::move(response);
  }
  if (ip_) request.client_address = client_address_;
  if (extras_ && !extras_->server_address.empty()) {
    request.server_address = extras_->server_address;
  } else if (const auto local = sys::local_address(stream_.fd())) {
    request.server_address = local->host();
  }
  request.is_encrypted = is_encrypted();
  // A client that could bind and was not offered it says so; only with the binding at hand is that
  // a lie that somebody told it.
  const std::string& name = mechanism->name;
  bool may_bind = name.ends_with("-PLUS");
  if (!may_bind && sasl::find(*mechanisms, name + "-PLUS") != nullptr) {
    const auto announced = co_await announced_mechanisms();
    may_bind = announced && sasl::find(*announced, name + "-PLUS") != nullptr;
  }
  if (is_encrypted() && may_bind) {
    // What clients take by default: RFC 9266 for TLS 1.3, RFC 5802 6.1 before.
    const bool is_new = tls().protocol == "TLSv1.3";
    const auto binding =
        tls::channel_binding(stream_, is_new ? tls::Binding::kExporter : tls::Binding::kUnique);
    if (binding) {
      request.channel_binding_type = is_new ? "tls-exporter" : "tls-unique";
      request.channel_binding = *binding;
    }
  }
  if (has_trusted_certificate()) request.certificate_name = tls().peer_subject;
  co_return co_await exchange.start(std::move(request));
}

loop::Task<mail::Reply> Session::log_in(smtpwire::AuthArguments arguments) {
  const LoginSettings& login = settings_->login;
  const std::string shown = log::clean(arguments.mechanism, kMaxShownName);
  const auto exchange = server_.neighbours().login.exchange(login);
  LoginStep step = co_await first_login_step(*exchange, arguments);
  while (step.kind == LoginStep::Kind::kChallenge) {
    if (!co_await send(challenge_reply(step.text))) {
      closing_ = true;
      co_return mail::Reply{};
    }
    bool is_too_long = false;
    splitter_.set_limit(login.response_limit);
    auto response = co_await read_command(&is_too_long);
    splitter_.set_limit(settings_->line_length_limit);
    if (!response) {
      closing_ = true;
      co_return mail::Reply{};
    }
    if (is_too_long) co_return mail::make_reply(500, "5.5.6 SASL response limit exceeded");
    if (*response == "*") {
      log::warning("{}: SASL {} authentication aborted", client(), shown);
      co_return mail::make_reply(501, "5.7.0 Authentication aborted");
    }
    auto decoded = base64_decode(*response);
    sasl::wipe(*response);
    if (decoded) {
      step = co_await exchange->next(*std::move(decoded));
    } else {
      step = {LoginStep::Kind::kFailed, "Invalid base64 data in continued response", std::nullopt,
              false};
    }
  }
  if (step.kind != LoginStep::Kind::kDone || !step.username || step.username->empty()) {
    co_return login_failed(shown, std::move(step));
  }
  extras().login = clean_login(*std::move(step.username));
  extras().login_method = to_upper(arguments.mechanism);
  extras().tried_login.reset();
  co_return mail::make_reply(235, "2.7.0 Authentication successful");
}

mail::Reply Session::login_failed(const std::string& mechanism, LoginStep step) {
  if (step.username) extras().tried_login = clean_login(*std::move(step.username));
  const std::string reason = step.text.empty() ? std::string(kNoReason) : log::clean(step.text);
  const std::string from = client();
  const std::string username = extras_ && extras_->tried_login
                                   ? log::clean(*extras_->tried_login, kMaxShownName)
                                   : std::string("(unavailable)");
  log::FailedLogin line;
  line.client = from;
  line.mechanism = mechanism;
  line.reason = reason;
  line.username = username;
  line.is_temporary = step.kind == LoginStep::Kind::kTemporary;
  log::login_failed(line);
  if (line.is_temporary) {
    return mail::make_reply(454, "4.7.0 Temporary authentication failure: " + reason);
  }
  const bool has_user = !extras_ || !extras_->tried_login || !extras_->tried_login->empty();
  if (step.is_judged && has_user) note_offence(ipc::anvil::OffenceKind::kAuthFailure);
  return mail::make_reply(535, "5.7.8 Error: authentication failed: " + reason);
}

}  // namespace postern::smtpd
