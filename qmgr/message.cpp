#include "qmgr/message.h"

#include <algorithm>
#include <utility>

namespace postern::qmgr {

ipc::agent::Recipient to_agent(const Recipient& recipient) {
  ipc::agent::Recipient result;
  result.state_offset = static_cast<std::int64_t>(recipient.state_offset);
  result.address = recipient.address;
  result.orig_to = recipient.orig_to;
  result.dsn_orcpt = recipient.dsn_orcpt;
  result.notify = recipient.notify;
  return result;
}

const Recipient* find_recipient(const Message& message, std::int64_t state_offset) {
  const auto offset = static_cast<std::uint64_t>(state_offset);
  const auto found =
      std::ranges::lower_bound(message.recipients, offset, {}, &Recipient::state_offset);
  return found == message.recipients.end() || found->state_offset != offset ? nullptr : &*found;
}

Recipient* find_recipient(Message& message, std::int64_t state_offset) {
  return const_cast<Recipient*>(find_recipient(std::as_const(message), state_offset));
}

}  // namespace postern::qmgr
