#include "common/ipc/peers.h"

#include <algorithm>

#include "common/log/log.h"
#include "common/sys/socket.h"

namespace postern::ipc {

namespace {

bool is_among(const std::vector<uid_t>& users, uid_t user) {
  return std::ranges::find(users, user) != users.end();
}

}  // namespace

bool Doorkeeper::lets_in(int fd) {
  const bool is_open = peers_.users.empty();
  if (is_open && peers_.refused.empty()) return true;
  const auto user = sys::peer_user(fd);
  if (user == uid_t{0}) return true;
  if (user && (is_open ? !is_among(peers_.refused, *user) : is_among(peers_.users, *user))) {
    return true;
  }
  if (peers_.group && sys::peer_group(fd) == peers_.group) return true;
  if (!std::exchange(has_warned_, true)) {
    log::warning("process {} of user {} was refused: the service is not for it",
                 sys::peer_process(fd), user ? static_cast<long>(*user) : -1L);
  }
  return false;
}

}  // namespace postern::ipc
