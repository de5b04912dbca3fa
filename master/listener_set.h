// listener_set.h - the addresses and sockets that the services listen on, opened once and kept.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/loop/loop.h"
#include "common/sys/privilege.h"
#include "master/listeners.h"
#include "master/service_table.h"

namespace postern::master {

class ListenerSet {
 public:
  // kWait: for an address that somebody else gives back within a few seconds, a predecessor that
  // was killed; and what cannot be opened is logged.
  enum class Patience : bool { kNone, kWait };

  // What the table wants and is there already stays open, what it does not want is closed, and what
  // is new is opened for `owner`. What could not be is missing().
  void open(const ServiceTable& table, const sys::Account& owner, Patience patience);
  [[nodiscard]] const std::vector<Endpoint>& missing() const { return missing_; }

  // Tries what is missing again; true when there is a new one.
  bool retry(const sys::Account& owner);
  // How long to wait before the next retry(): longer each time.
  [[nodiscard]] loop::Clock::duration pause() const;

  // Those of a service that are open.
  [[nodiscard]] std::vector<ListenerPtr> of(const ServiceSpec& spec) const;
  // Takes the sockets' names away; processes that have them keep them.
  void remove_all(const sys::Account& owner) const;

 private:
  void put(const Endpoint& endpoint, sys::Fd fd);

  std::map<std::string, ListenerPtr> open_;  // by Endpoint::name()
  std::vector<Endpoint> missing_;
  unsigned tries_ = 0;
};

}  // namespace postern::master
