#include "master/listener_set.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "common/log/log.h"

namespace postern::master {

namespace {

using namespace std::chrono_literals;

// Processes of a master that was killed give the addresses back as soon as they notice.
constexpr int kBindTries = 50;
constexpr auto kBindPause = 100ms;
constexpr loop::Clock::duration kLongestPause = 10s;
// The retry that is logged: the wait is no longer a short one.
constexpr unsigned kTriesUntilTold = 5;
constexpr unsigned kMostDoublings = 10;

}  // namespace

void ListenerSet::open(const ServiceTable& table, const sys::Account& owner, Patience patience) {
  std::map<std::string, const Endpoint*> wanted;
  for (const ServiceSpec& spec : table.services) {
    for (const Endpoint& endpoint : spec.endpoints) wanted[endpoint.name()] = &endpoint;
  }
  // What is gone is closed first: 0.0.0.0 and 127.0.0.1 exclude each other.
  std::erase_if(open_, [&](const auto& entry) {
    if (wanted.contains(entry.first)) return false;
    remove_listener(entry.second->endpoint, owner);
    return true;
  });
  missing_.clear();
  tries_ = 0;
  const bool may_wait = patience == Patience::kWait;
  int tries = may_wait ? kBindTries : 1;
  for (const auto& [name, endpoint] : wanted) {
    if (open_.contains(name)) continue;
    auto fd = open_listener(*endpoint, owner);
    while (!fd && is_address_in_use(fd.error()) && --tries > 0) {
      std::this_thread::sleep_for(kBindPause);
      fd = open_listener(*endpoint, owner);
    }
    if (!fd) {
      if (may_wait) log::error("{}; trying again", fd.error().text);
      missing_.push_back(*endpoint);
      continue;
    }
    put(*endpoint, *std::move(fd));
  }
}

bool ListenerSet::retry(const sys::Account& owner) {
  std::vector<Endpoint> left;
  for (const Endpoint& endpoint : missing_) {
    auto fd = open_listener(endpoint, owner);
    if (fd) {
      put(endpoint, *std::move(fd));
    } else {
      if (tries_ == kTriesUntilTold) log::error("{}; trying again", fd.error().text);
      left.push_back(endpoint);
    }
  }
  const bool is_changed = left.size() < missing_.size();
  missing_ = std::move(left);
  tries_ = std::min(tries_ + 1, kMostDoublings);
  return is_changed;
}

loop::Clock::duration ListenerSet::pause() const {
  return std::min<loop::Clock::duration>(kLongestPause, kBindPause * (1 << tries_));
}

std::vector<ListenerPtr> ListenerSet::of(const ServiceSpec& spec) const {
  std::vector<ListenerPtr> found;
  for (const Endpoint& endpoint : spec.endpoints) {
    if (const auto it = open_.find(endpoint.name()); it != open_.end()) found.push_back(it->second);
  }
  return found;
}

void ListenerSet::remove_all(const sys::Account& owner) const {
  for (const auto& [name, listener] : open_) remove_listener(listener->endpoint, owner);
}

void ListenerSet::put(const Endpoint& endpoint, sys::Fd fd) {
  open_[endpoint.name()] = std::make_shared<Listener>(Listener{endpoint, std::move(fd)});
}

}  // namespace postern::master
