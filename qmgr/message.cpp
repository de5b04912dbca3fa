#include "qmgr/message.h"

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

}  // namespace postern::qmgr
