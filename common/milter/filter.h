// filter.h - our side of the conversation with one milter, from negotiation to the end of a
// message.
//
// A conversation begins in smtpd, which shows the client's commands. With the content it goes on in
// cleanup, which gets a copy of the descriptor and FilterState; after the end of the message smtpd
// goes on with the next. Whatever the filter does wrong ends its part in the session: its
// default_action counts from then on.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/ipc/client.h"
#include "common/ipc/milter.h"
#include "common/loop/stream.h"
#include "common/milter/codec.h"
#include "common/milter/spec.h"

namespace postern::milter {

// The value of a macro; empty: it has none now.
using MacroSource = std::function<std::string(std::string_view name)>;

// What a filter's answer means for the client.
struct Decision {
  std::string reply;  // "550 5.7.1 text"; empty: go on
  bool is_discard = false;
  bool is_hold = false;

  [[nodiscard]] bool stops() const { return !reply.empty() || is_discard; }
};

class Filter {
 public:
  explicit Filter(Spec spec) : spec_(std::move(spec)) {}
  Filter(ipc::milter::FilterState state, sys::Fd fd);
  ~Filter();
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;

  // Connects through broker and negotiates. Failures are remembered.
  [[nodiscard]] loop::Task<void> open(ipc::Client& broker);

  // Shows one event, with the macros of `names` (or those that the filter has asked for).
  [[nodiscard]] loop::Task<Decision> show(char command, std::string payload,
                                          const std::vector<std::string>& names,
                                          const MacroSource& macros);

  // The end of the content: changes are handed to `change`, in order, before the decision is.
  using Change = std::function<loop::Task<void>(Reply&)>;
  [[nodiscard]] loop::Task<Decision> end_of_body(const std::vector<std::string>& names,
                                                 const MacroSource& macros, const Change& change);

  // Sends what waits: before another process goes on.
  [[nodiscard]] loop::Task<void> flush();

  // What is not asked for is not shown.
  [[nodiscard]] bool wants(char command) const;
  [[nodiscard]] bool wants_rejected() const { return (protocol_ & kWantsRejected) != 0; }
  [[nodiscard]] bool keeps_leading_space() const { return (protocol_ & kLeadingSpace) != 0; }
  // A message ends, or is given up.
  void abort();
  void message_done();
  // Nothing more comes of it: it has failed, or has said its last word on this message.
  [[nodiscard]] bool is_over() const {
    return has_failed_ || is_connection_done_ || is_message_done_;
  }
  [[nodiscard]] bool has_message() const { return has_message_; }

  // To go on with in another process, and the copy of the descriptor for it (none: it has failed).
  [[nodiscard]] ipc::milter::FilterState state() const;
  [[nodiscard]] std::optional<sys::Fd> copy_of_descriptor() const;
  // A copy that came back broken, or whose user said so.
  void fail(std::string_view why);

  [[nodiscard]] const Spec& spec() const { return spec_; }

 private:
  [[nodiscard]] loop::Task<Result<Reply>> read_reply(std::chrono::seconds timeout);
  [[nodiscard]] loop::Task<Result<void>> negotiate();
  [[nodiscard]] Macros macros_of(char command, const std::vector<std::string>& names,
                                 const MacroSource& macros) const;
  [[nodiscard]] bool has_reply(char command) const;
  [[nodiscard]] Decision decide(char command, const Reply& reply);
  [[nodiscard]] Decision failed_decision() const;

  Spec spec_;
  std::unique_ptr<loop::Stream> stream_;
  std::uint32_t version_ = 0;
  std::uint32_t actions_ = 0;
  std::uint32_t protocol_ = 0;
  std::vector<std::pair<std::uint32_t, std::string>> macro_lists_;
  bool has_failed_ = false;
  bool is_connection_done_ = false;  // accepted or rejected for all of the session
  bool is_message_done_ = false;
  bool is_body_skipped_ = false;
  bool has_message_ = false;
  bool is_borrowed_ = false;
  std::string last_reply_;  // that ended the connection's part
};

}  // namespace postern::milter
