// policy_service.cpp - check_policy_service: what a policy server is told, and what its answer
// means (SMTPD_POLICY_README).

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>

#include "common/base/encode.h"
#include "common/log/log.h"
#include "smtpd/restrictions/policy_client.h"
#include "smtpd/restrictions/run.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

// Policy servers say DEFER and mean this, whatever access_map_defer_code is.
constexpr int kPolicyDeferCode = 450;

std::string new_instance(std::int64_t session) {
  static std::uint32_t count = 0;
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  return fmt::format("{:x}.{:x}.{:x}.{:x}", static_cast<unsigned>(::getpid()), now / 1'000'000,
                     now % 1'000'000, (static_cast<std::uint64_t>(session) << 20U) + ++count);
}

}  // namespace

std::string RestrictionRun::policy_request(const PolicySettings& policy) {
  const Transaction* transaction = session_.transaction();
  RestrictionState& kept = state();
  if (kept.instance.empty()) kept.instance = new_instance(session_.number());
  std::string request;
  const auto add = [&request](std::string_view name, std::string_view value) {
    append_attribute(request, name, value);
  };
  const auto known = [](const std::string& name) {
    return name.empty() ? std::string("unknown") : name;
  };
  const bool is_message = stage_ == Stage::kData || stage_ == Stage::kEndOfData;
  std::uint64_t size = 0;
  if (session_.mail_arguments_ && session_.mail_arguments_->size) {
    size = *session_.mail_arguments_->size;
  }
  if (stage_ == Stage::kEndOfData && transaction != nullptr && transaction->has_content()) {
    size = session_.transaction()->wire_size();
  }
  std::string server_address;
  std::string server_port;
  if (session_.extras_ && !session_.extras_->server_address.empty()) {
    server_address = session_.extras_->server_address;
    server_port = session_.extras_->server_port;
  } else if (const auto local = sys::local_address(session_.stream_.fd())) {
    server_address = local->host();
    server_port = std::to_string(local->port());
  }
  add("request", "smtpd_access_policy");
  add("protocol_state", where());
  add("protocol_name", session_.protocol());
  add("client_address", session_.client_address());
  add("client_name", known(session_.client_name()));
  add("client_port", session_.client_port());
  add("reverse_client_name", known(session_.reverse_name()));
  add("server_address", server_address);
  add("server_port", server_port);
  add("helo_name", session_.helo());
  add("sender", session_.sender().value_or(""));
  add("recipient", recipient());
  add("recipient_count", is_message && transaction != nullptr
                             ? std::to_string(transaction->recipients())
                             : std::string("0"));
  add("queue_id", transaction != nullptr ? transaction->queue_id() : std::string());
  add("instance", kept.instance);
  add("size", std::to_string(size));
  add("etrn_domain", stage_ == Stage::kEtrn ? session_.recipient_in_check_ : std::string());
  add("stress", session_.settings().restrictions.text_of("stress").value_or(""));
  add("sasl_method", session_.sasl_method());
  add("sasl_username", session_.sasl_username());
  add("sasl_sender", session_.sasl_sender());
  const tls::Session& tls = session_.tls();
  const bool is_trusted = session_.has_trusted_certificate();
  add("ccert_subject", is_trusted ? xtext_encode(tls.peer_subject) : std::string());
  add("ccert_issuer", is_trusted ? xtext_encode(tls.peer_issuer) : std::string());
  // What a stranger cannot have chosen is told of any certificate.
  add("ccert_fingerprint", tls.peer_fingerprint);
  add("ccert_pubkey_fingerprint", tls.peer_key_fingerprint);
  add("encryption_protocol", tls.protocol);
  add("encryption_cipher", tls.cipher);
  add("encryption_keysize", std::to_string(tls.used_bits));
  add("policy_context", policy.policy_context);
  request += '\n';
  return request;
}

loop::Task<Verdict> RestrictionRun::check_policy_service(const Restriction& restriction, Stage list,
                                                         unsigned depth) {
  const std::shared_ptr<const PolicySettings> policy = restriction.policy;
  const auto answer = co_await session_.neighbours().policy.ask(policy, policy_request(*policy));
  std::string action = policy->default_action;
  if (answer && answer->empty()) {
    log::warning("access table {} entry has empty value", policy->endpoint);
    co_return Verdict::dunno();
  }
  if (answer) {
    action = *answer;
  } else if (restriction.place != nullptr) {
    log::warning("{}: {} does not answer; default action: {}", *restriction.place, policy->endpoint,
                 action);
  }
  // The answer is about what the list is about, whatever the server looked at.
  Subject about = subject_of(list);
  if (list == Stage::kRecipient && !has_recipient()) about = subject_of(stage_);
  co_return co_await act(std::move(action), policy->endpoint, about.name, std::move(about), list,
                         depth, kPolicyDeferCode);
}

}  // namespace postern::smtpd
