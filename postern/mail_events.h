// mail_events.h - what qmgr and smtpd tell while it happens, as lines for people and programs.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>

#include "common/config/networks.h"
#include "common/ipc/anvil.h"
#include "common/ipc/qmgr.h"

namespace postern::control {

// "4D41B9  alice@example.org  delivered: 250 2.0.0 Ok", with its line end. Bytes of strangers are
// made printable.
[[nodiscard]] std::string print_event(const ipc::qmgr::Event& event);
// One object, with its line end. `time` is seconds since 1970.
[[nodiscard]] std::string print_event_json(const ipc::qmgr::Event& event, std::int64_t time);

// What a line of smtpd's log names; empty where it names none. The shapes are those of event.h.
struct SessionFacts {
  std::string_view queue_id;
  std::string_view client;  // an address
  std::string_view sender;
  std::string_view recipient;
  bool is_refusal = false;
};
[[nodiscard]] SessionFacts facts_of(std::string_view line);
// "smtpd/submission  NOQUEUE: reject: RCPT from ...", with its line end; as an object with its
// facts.
[[nodiscard]] std::string print_line(const ipc::anvil::SessionLine& line);
[[nodiscard]] std::string print_line_json(const ipc::anvil::SessionLine& line, std::int64_t time);

// The events that one wants to see: all, or those of a queue id, an address or a domain, and of
// clients with these addresses. A message that one of its events has shown is shown to its end.
class EventFilter {
 public:
  explicit EventFilter(std::string_view wanted, config::Networks clients = {});
  [[nodiscard]] bool takes(const ipc::qmgr::Event& event);
  [[nodiscard]] bool takes(const ipc::anvil::SessionLine& line);

 private:
  [[nodiscard]] bool is_about(std::string_view address) const;
  [[nodiscard]] bool is_from(std::string_view client) const;
  std::string wanted_;
  config::Networks clients_;
  std::unordered_set<std::string> shown_;
};

// How many recipients ended in which way.
struct EventCounts {
  std::size_t delivered = 0;
  std::size_t returned = 0;
  std::size_t waiting = 0;
  void add(const ipc::qmgr::Event& event);
  // "3 recipients: 1 delivered, 1 returned to its sender, 1 still waits"
  [[nodiscard]] std::string sentence() const;
};

}  // namespace postern::control
