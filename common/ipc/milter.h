// milter.h - a conversation with a milter on its way from smtpd to cleanup.

#pragma once

#include <string>
#include <vector>

#include "common/ipc/message.h"

namespace postern::ipc::milter {

struct MacroValue {
  std::string name;
  std::string value;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("name", self.name);
    field("value", self.value);
  }
};

struct FilterState {
  std::string endpoint;
  std::int64_t command_timeout = 0;  // seconds
  std::int64_t content_timeout = 0;
  std::string default_action;
  std::int64_t version = 0;
  std::int64_t actions = 0;
  std::int64_t protocol = 0;
  std::vector<MacroValue> macro_lists;  // stage (a number) and names that the filter wants
  bool has_failed = false;              // no descriptor comes with it
  bool is_done = false;                 // it has said all it wants to say of this message
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("endpoint", self.endpoint);
    field("command_timeout", self.command_timeout);
    field("content_timeout", self.content_timeout);
    field("default_action", self.default_action);
    field("version", self.version);
    field("actions", self.actions);
    field("protocol", self.protocol);
    field("macro_lists", self.macro_lists);
    field("has_failed", self.has_failed);
    field("is_done", self.is_done);
  }
};

// All filters of one message, in their order; the descriptors of those that have not failed come in
// the same order.
struct Handover {
  bool is_given = false;  // false: cleanup talks to non_smtpd_milters itself
  std::vector<FilterState> filters;
  std::vector<MacroValue> macros;  // values known so far
  std::vector<std::string> end_of_header_macros, end_of_data_macros;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("is_given", self.is_given);
    field("filters", self.filters);
    field("macros", self.macros);
    field("end_of_header_macros", self.end_of_header_macros);
    field("end_of_data_macros", self.end_of_data_macros);
  }
};

}  // namespace postern::ipc::milter
