#include "common/tls/keyring_client.h"

#include <algorithm>

namespace postern::tls {

namespace keyring = ipc::keyring;

loop::Task<Result<std::string>> Keyring::sign(SignRequest request, loop::Deadline deadline) {
  keyring::Sign question;
  question.key = std::move(request.key);
  question.scheme = request.scheme;
  question.purpose = request.purpose;
  question.bytes = std::move(request.bytes);
  auto answer = co_await client_.call(std::move(question), deadline);
  if (!answer) co_return fail_in("keyring", std::move(answer).error());
  co_return std::move(answer->signature);
}

loop::Task<Result<std::vector<IdentityPtr>>> Keyring::find(std::vector<IdentityPtr> identities,
                                                           keyring::Purpose purpose,
                                                           loop::Deadline deadline) {
  keyring::Find question;
  question.purpose = purpose;
  for (const auto& identity : identities) {
    question.keys.push_back(key_id(*X509_get0_pubkey(identity->certificate.get())));
  }
  const auto wanted = question.keys;
  const auto answer = co_await client_.call(std::move(question), deadline);
  if (!answer) co_return fail_in("keyring", answer.error());
  std::vector<IdentityPtr> found;
  for (std::size_t i = 0; i < identities.size(); ++i) {
    if (std::ranges::find(answer->keys, wanted[i]) != answer->keys.end()) {
      found.push_back(identities[i]);
    }
  }
  co_return found;
}

loop::Task<Result<std::chrono::seconds>> Keyring::renew_tickets(std::shared_ptr<TicketKeys> keys,
                                                                std::chrono::seconds lifetime,
                                                                loop::Deadline deadline) {
  keyring::GetTickets question;
  question.lifetime = lifetime;
  const auto answer = co_await client_.call(question, deadline);
  if (!answer) co_return fail_in("keyring", answer.error());
  std::vector<TicketKey> parsed;
  for (const auto& bytes : answer->keys) {
    auto key = TicketKey::parse(bytes);
    if (!key) co_return std::unexpected(std::move(key).error());
    parsed.push_back(*std::move(key));
  }
  keys->set(std::move(parsed));
  co_return answer->next;
}

loop::Task<Result<IdentityPtr>> Keyring::find_named(std::string name,
                                                    std::vector<std::string> tables,
                                                    loop::Deadline deadline) {
  keyring::FindNamed question;
  question.name = std::move(name);
  question.tables = std::move(tables);
  const auto answer = co_await client_.call(std::move(question), deadline);
  if (!answer) co_return fail_in("keyring", answer.error());
  if (!answer->is_found) co_return IdentityPtr();
  auto identities = parse_public_identities(answer->pem, false);
  if (!identities) co_return std::unexpected(std::move(identities).error());
  co_return identities->front();
}

}  // namespace postern::tls
