#include "cleanup/rewriting.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "common/base/encode.h"
#include "common/base/keyed_hash.h"
#include "common/base/text.h"
#include "common/mail/address.h"

namespace postern::cleanup {

namespace {

constexpr std::chrono::seconds kTablesTime{100};

// Questions under way for one message: more would only wait in the service's queue.
constexpr std::size_t kAtOnce = 100;

// Addresses of a header in one question.
constexpr std::size_t kMapAtOnce = 5000;

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

loop::Task<Result<Sender>> map_sender(ipc::TablesClient& tables, std::string address,
                                      std::string service) {
  ipc::tables::Map question;
  question.service = std::move(service);
  question.items.push_back({std::move(address), ipc::tables::AddressRole::kEnvelopeSender});
  CO_TRY(auto answer, co_await tables.map(std::move(question), loop::Clock::now() + kTablesTime));
  if (answer.addresses.size() != 1) co_return fail_temporary("no answer for the sender");
  co_return Sender{std::move(answer.addresses.front()), std::move(answer.sender_bcc)};
}

loop::Task<Result<AddressMap>> map_header(ipc::TablesClient& tables,
                                          std::vector<HeaderAddress> addresses,
                                          std::string service) {
  AddressMap map;
  for (std::size_t begin = 0; begin < addresses.size(); begin += kMapAtOnce) {
    const std::size_t end = std::min(begin + kMapAtOnce, addresses.size());
    ipc::tables::Map question;
    question.service = service;
    for (std::size_t i = begin; i < end; ++i) {
      question.items.push_back({mail::unquote_address(addresses[i].address), addresses[i].role});
    }
    const auto asked = question.items;
    CO_TRY(auto answer, co_await tables.map(std::move(question), loop::Clock::now() + kTablesTime));
    if (answer.addresses.size() != asked.size()) co_return fail_temporary("answers are missing");
    for (std::size_t i = 0; i < asked.size(); ++i) {
      if (answer.addresses[i] == asked[i].address) continue;
      map.emplace(map_key(asked[i].role, addresses[begin + i].address),
                  mail::quote_address(answer.addresses[i]));
    }
  }
  co_return map;
}

loop::Task<Result<void>> rewrite_recipients(ipc::TablesClient& tables,
                                            queuefile::Envelope& envelope, RewriteOptions options,
                                            std::string* last) {
  auto received = std::exchange(envelope.recipients, {});
  // Recipients that automatic BCC adds get no BCC themselves.
  const std::size_t named = received.size();
  const std::size_t asked_for_bcc = options.skip_bcc ? 0 : named;
  const auto add_bcc = [&](std::vector<std::string> addresses) {
    for (auto& address : addresses) {
      queuefile::Recipient recipient;
      recipient.address = std::move(address);
      recipient.notify = queuefile::kNotifyNever;
      received.push_back(std::move(recipient));
    }
  };
  if (!received.empty()) add_bcc(std::move(options.bcc));
  auto answers = std::make_shared<Answers>(received.size());
  const auto answered = std::make_shared<loop::Condition>();

  // Some at once, in order; what is in memory is answered on the spot.
  std::size_t asked = 0;
  StringSet seen;
  for (std::size_t i = 0; i < received.size(); ++i) {
    for (; asked < received.size() && asked < i + kAtOnce; ++asked) {
      ipc::tables::Expand question;
      question.sender = envelope.sender;
      question.address = received[asked].address;
      question.is_local_context = options.is_local_context;
      question.skip_aliases = options.skip_aliases;
      question.is_for_probe = options.is_for_probe;
      question.service = options.service;
      loop::spawn(ask(tables, std::move(question), answers, asked, answered));
    }
    while (!(*answers)[i]) co_await answered->wait(loop::kNever);
    Result<ipc::tables::Expanded> answer = *std::move((*answers)[i]);
    // Whatever is wrong with a table: kConfig is kept for the aliases themselves.
    if (!answer) co_return fail_temporary(answer.error().text);
    if (!answer->error.empty()) co_return fail(Error::Kind::kConfig, answer->error);
    if (last != nullptr && i < named) *last = answer->canonical;
    if (i < asked_for_bcc && !answer->bcc.empty()) {
      add_bcc(std::move(answer->bcc));
      answers->resize(received.size());
    }

    const queuefile::Recipient& from = received[i];
    // Who was added on the way, by BCC or a milter, is the original recipient as he is rewritten.
    const std::string orig_to = !from.orig_to.empty()       ? from.orig_to
                                : answer->canonical.empty() ? from.address
                                                            : answer->canonical;
    // A report names one that did not come by SMTP as he is before aliases.
    const std::string& shown = answer->canonical.empty() ? orig_to : answer->canonical;
    const std::string orcpt = !from.dsn_orcpt.empty()
                                  ? from.dsn_orcpt
                                  : (is_all_ascii(shown) ? "rfc822;" : "utf-8;") + shown;
    const bool is_list = answer->is_aliased && answer->recipients.size() > 1;
    std::uint8_t notify = from.notify;
    if (is_list && (notify & queuefile::kNotifySuccess) != 0) {
      // The success is that of the expansion: what becomes of the members is not the sender's.
      notify &= static_cast<std::uint8_t>(~queuefile::kNotifySuccess);
      if (notify == 0) notify = queuefile::kNotifyNever;
      envelope.attributes.emplace_back(queuefile::kAliasExpanded,
                                       fmt::format("{} {} {}", xtext_encode(answer->canonical),
                                                   xtext_encode(orig_to), xtext_encode(orcpt)));
    }
    for (const auto& to : answer->recipients) {
      if (to.transport.empty()) {
        const auto kind = to.existence == ipc::tables::Existence::kError ? Error::Kind::kTemporary
                                                                         : Error::Kind::kPermanent;
        co_return fail(kind, to.error);
      }
      // Who asks for other reports gets a copy of his own, as from Postfix.
      std::string key = to_lower(to.address);
      if (options.enable_original_recipient) {
        key += fmt::format(" {}", from.notify);
        (key += '\0') += to_lower(orig_to);
        (key += '\0') += to_lower(from.dsn_orcpt);
      }
      if (seen.contains(key)) continue;
      if (options.duplicate_filter_limit == 0 || seen.size() < options.duplicate_filter_limit) {
        seen.insert(std::move(key));
      }
      queuefile::Recipient recipient;
      recipient.address = to.address;
      recipient.orig_to = orig_to;
      recipient.dsn_orcpt = orcpt;
      recipient.notify = notify;
      recipient.resolved = resolution_of(to);
      envelope.recipients.push_back(std::move(recipient));
    }
  }
  co_return Result<void>{};
}

}  // namespace postern::cleanup
