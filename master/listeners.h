// listeners.h - the sockets of the services: opened once, kept over reloads and crashes of those
// who serve them, so that no client is refused meanwhile.

#pragma once

#include <map>
#include <memory>
#include <string>

#include "common/sys/fd.h"
#include "common/sys/privilege.h"
#include "master/service_table.h"

namespace postern::master {

struct Listener {
  Endpoint endpoint;
  sys::Fd fd;
};
using ListenerPtr = std::shared_ptr<Listener>;

// Opens one. Sockets below the queue directory (the working directory) are made with mail_owner's
// rights: their directories belong to it.
[[nodiscard]] Result<sys::Fd> open_listener(const Endpoint& endpoint, const sys::Account& owner);

// Removes the name of one that is not served any more.
void remove_listener(const Endpoint& endpoint, const sys::Account& owner);

// Whether the kernel says that somebody else has the address, which ends by itself.
[[nodiscard]] bool is_address_in_use(const Error& error);

}  // namespace postern::master
