// verdict.h - how the delivery to a recipient ended, in the words of log and notification.

#pragma once

#include <string>

namespace postern::agent {

// What is said of one recipient, or of several.
struct Verdict {
  std::string status;             // "2.0.0", "4.4.1"
  std::string text;               // as in the log line and the notification
  std::string relay = "none";     // "local", "mx.example.org[192.0.2.1]:25"
  unsigned conn_use = 0;          // deliveries over the connection, this one included
  std::string remote_mta{};       // "dns; mx.example.org"
  std::string diagnostic_type{};  // "smtp", "x-unix"
  std::string diagnostic{};       // "550 5.1.1 no such user"; empty: text
  // "delivered", "relayed", "expanded": what a report of success says; empty: the next server
  // reports. Failures have their own.
  std::string action{};
  std::string address{};  // where an alias has led to; empty: the recipient's own
  std::string owner{};    // who hears of a failure in the sender's place: the owner of a list
};

}  // namespace postern::agent
