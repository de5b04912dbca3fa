// biff.h - tells comsat(8) that a user has new mail, as biff(1) asks for.
//
// A datagram with "user@offset" and a NUL to UDP port 512 of this machine. Hardly any machine has
// somebody there: who was told so by the kernel is not tried again for a minute, which costs two
// system calls a minute and nothing for each delivery.

#pragma once

#include <cstdint>
#include <string_view>

namespace postern::agent {

// Never waits, and says nothing where it cannot be done. `offset` is where the message begins in
// the user's mbox. May be called by several threads.
void tell_biff(std::string_view user, std::uint64_t offset);

}  // namespace postern::agent
