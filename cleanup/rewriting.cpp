#include "cleanup/rewriting.h"

#include <memory>
#include <unordered_set>

#include "common/base/text.h"

namespace postern::cleanup {

namespace {

constexpr std::chrono::seconds kTablesTime{100};

// Questions under way for one message: more would only wait in the service's queue.
constexpr std::size_t kAtOnce = 100;

queuefile::AddressClass class_of(ipc::tables::AddressClass address_class) {
  switch (address_class) {
    case ipc::tables::AddressClass::kLocal:
      return queuefile::AddressClass::kLocal;
    case ipc::tables::AddressClass::kVirtualAlias:
      return queuefile::AddressClass::kVirtualAlias;
    case ipc::tables::AddressClass::kVirtualMailbox:
      return queuefile::AddressClass::kVirtualMailbox;
    case ipc::tables::AddressClass::kRelay:
      return queuefile::AddressClass::kRelay;
    case ipc::tables::AddressClass::kDefault:
    case ipc::tables::AddressClass::kNone:
      break;
  }
  return queuefile::AddressClass::kDefault;
}

queuefile::Resolved resolution_of(const ipc::tables::Resolved& answer) {
  queuefile::Resolved resolved;
  resolved.address_class = class_of(answer.address_class);
  resolved.transport = answer.transport;
  resolved.nexthop = answer.nexthop;
  resolved.recipient = answer.recipient;
  resolved.mailbox_exists = answer.existence == ipc::tables::Existence::kKnown;
  resolved.generation = answer.generation;
  return resolved;
}

using Answers = std::vector<std::optional<Result<ipc::tables::Expanded>>>;

loop::Task<void> ask(ipc::TablesClient& tables, ipc::tables::Expand question,
                     std::shared_ptr<Answers> answers, std::size_t index,
                     std::shared_ptr<loop::Condition> answered) {
  auto answer = co_await tables.expand(std::move(question), loop::Clock::now() + kTablesTime);
  (*answers)[index].emplace(std::move(answer));
  answered->notify_all();
}

}  // namespace

loop::Task<Result<void>> rewrite_recipients(ipc::TablesClient& tables,
                                            queuefile::Envelope& envelope, RewriteOptions options) {
  const auto received = std::exchange(envelope.recipients, {});
  const auto answers = std::make_shared<Answers>(received.size());
  const auto answered = std::make_shared<loop::Condition>();

  // Some at once, in order; what is in memory is answered on the spot.
  std::size_t asked = 0;
  std::unordered_set<std::string> seen;
  for (std::size_t i = 0; i < received.size(); ++i) {
    for (; asked < received.size() && asked < i + kAtOnce; ++asked) {
      ipc::tables::Expand question;
      question.sender = envelope.sender;
      question.address = received[asked].address;
      question.is_local_context = options.is_local_context;
      question.skip_aliases = options.skip_aliases;
      loop::spawn(ask(tables, std::move(question), answers, asked, answered));
    }
    while (!(*answers)[i]) co_await answered->wait(loop::kNever);
    const Result<ipc::tables::Expanded>& answer = *(*answers)[i];
    if (!answer) co_return std::unexpected(answer.error());
    if (!answer->error.empty()) co_return fail(Error::Kind::kPermanent, answer->error);

    const queuefile::Recipient& from = received[i];
    const std::string orig_to = from.orig_to.empty() ? from.address : from.orig_to;
    for (const auto& to : answer->recipients) {
      if (to.transport.empty()) {
        const auto kind = to.existence == ipc::tables::Existence::kError ? Error::Kind::kTemporary
                                                                         : Error::Kind::kPermanent;
        co_return fail(kind, to.error);
      }
      std::string key = to_lower(to.address);
      if (options.enable_original_recipient) {
        (key += '\0') += orig_to;
        (key += '\0') += from.dsn_orcpt;
      }
      if (!seen.insert(std::move(key)).second) continue;
      queuefile::Recipient recipient;
      recipient.address = to.address;
      recipient.orig_to = options.enable_original_recipient ? orig_to : std::string();
      recipient.dsn_orcpt = from.dsn_orcpt.empty() ? "rfc822;" + orig_to : from.dsn_orcpt;
      recipient.notify = from.notify;
      recipient.resolved = resolution_of(to);
      envelope.recipients.push_back(std::move(recipient));
    }
  }
  co_return Result<void>{};
}

}  // namespace postern::cleanup
