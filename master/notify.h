// notify.h - telling the init system how the service is: the protocol of sd_notify(3).

#pragma once

#include <string_view>

namespace postern::master {

// "READY=1", "STOPPING=1", ...; lines parted by "\n". Does nothing without NOTIFY_SOCKET, and never
// waits or fails: an init system that does not listen is no reason to stop mail.
void tell_init(std::string_view state);

// "RELOADING=1" with the time that belongs to it.
void tell_init_reloading();

}  // namespace postern::master
