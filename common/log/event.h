// event.h - one function for each line that log readers parse; its shape is a contract.
//
// The shapes are those that fail2ban, pflogsumm, logwatch and exporters know. Each function writes
// the classic line and, for the JSON sink, the same facts as values.

#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace postern::log {

// "ID: client=NAME[IP]"
struct ClientLine {
  std::string_view queue_id;
  std::string_view client;  // "name[address]"
  std::string_view sasl_method;
  std::string_view sasl_username;
  std::string_view sasl_sender;
  std::string_view orig_queue_id;  // XFORWARD
  std::string_view orig_client;
};
void accepted_from(const ClientLine& line);

// "warning: NAME[IP]: SASL PLAIN authentication failed: REASON, sasl_username=U"
struct FailedLogin {
  std::string_view client;     // "name[address]"
  std::string_view mechanism;  // as the client named it
  std::string_view reason;
  std::string_view username;
  bool is_temporary = false;
};
void login_failed(const FailedLogin& login);

// "ID: uid=N from=<A>"
void picked_up(std::string_view queue_id, unsigned uid, std::string_view sender);

// "ID: message-id=<A>" (or "resent-message-id="); the id as in the header, brackets included.
void message_id(std::string_view queue_id, std::string_view id, bool is_resent);

// "ID: from=<A>, size=N, nrcpt=N (queue active)"
void activated(std::string_view queue_id, std::string_view sender, std::uint64_t size,
               std::uint64_t recipients);

// "ID: from=<A>, status=expired, returned to sender"
void expired(std::string_view queue_id, std::string_view sender, bool is_forced);

// "ID: removed"
void removed(std::string_view queue_id);

// The four parts of a delay, from arrival to the end of the delivery.
struct Delays {
  std::chrono::microseconds before_queue{};  // arrival until the queue manager took it
  std::chrono::microseconds in_queue{};
  std::chrono::microseconds connection{};  // DNS, connect, HELO, TLS
  std::chrono::microseconds transmission{};
};
// "0.05", "12", "3.4": two significant digits, as delay= and delays= show times.
[[nodiscard]] std::string delay_text(std::chrono::microseconds delay);

struct DeliveryLine {
  std::string_view queue_id;
  std::string_view recipient;
  std::string_view orig_to;  // empty: not shown
  std::string_view relay;    // "host[ip]:port", "local", "none", ...
  unsigned conn_use = 0;     // shown from 2 on
  Delays delays;
  std::string_view dsn;
  std::string_view status;  // "sent", "deferred", "bounced"
  std::string_view text;    // without the parentheses
};
// "ID: to=<A>, [orig_to=<A>, ]relay=R, [conn_use=N, ]delay=X, delays=a/b/c/d, dsn=D, status=S (T)"
void delivered(const DeliveryLine& line);

// "ID: sender non-delivery notification: ID2" and kin; `what` is "sender non-delivery",
// "sender delay", "sender delivery status", "postmaster non-delivery", ...
void notification(std::string_view queue_id, std::string_view what,
                  std::string_view notification_id);

struct RejectLine {
  std::string_view queue_id;  // empty: NOQUEUE
  std::string_view action;    // "reject", "hold", "warn", ...
  std::string_view where;     // "RCPT"
  std::string_view client;    // "name[address]"
  std::string_view text;      // "554 5.7.1 <a@b>: Relay access denied"
  std::string_view sender;    // in external form; has_sender says whether there is one
  std::string_view recipient;
  bool has_sender = false;
  bool has_recipient = false;
  std::string_view protocol;  // "ESMTP"
  std::string_view helo;
  std::string_view sasl_username;  // of a milter's verdict only
};
// "NOQUEUE: reject: RCPT from N[IP]: TEXT; from=<> to=<> proto=ESMTP helo=<>"
void rejected(const RejectLine& line);

}  // namespace postern::log
