// milters.h - the milters of one message, from its content on: each in turn sees the message as the
// one before has left it, and may change all of it.
//
// For mail from smtpd the conversations have begun there; for mail from elsewhere
// (non_smtpd_milters) they begin and end here.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/milter/filter.h"

namespace postern::cleanup {

// The message as milters see and change it.
class MilterSubject {
 public:
  virtual ~MilterSubject() = default;
  // Up to `size` bytes of the body from `offset`; empty at its end.
  [[nodiscard]] virtual loop::Task<Result<std::string>> read_body(std::uint64_t offset,
                                                                  std::size_t size) = 0;
  // The body so far does not count; then what it is instead, piece by piece.
  virtual void restart_body() = 0;
  [[nodiscard]] virtual loop::Task<void> add_body(std::string text) = 0;
  // A field that is added or changed, after milter_header_checks; empty: it is left out.
  [[nodiscard]] virtual loop::Task<std::string> check_field(std::string field) = 0;
  virtual void add_recipient(std::string address) = 0;
  virtual void delete_recipient(const std::string& address) = 0;
  virtual void change_sender(std::string address) = 0;
};

class Milters {
 public:
  using Filters = std::vector<std::unique_ptr<milter::Filter>>;

  Milters(ipc::milter::Handover handover, std::vector<sys::Fd> fds);
  // Of a message that comes from no client.
  explicit Milters(milter::ListSettings settings) : settings_(std::move(settings)) {}
  ~Milters() = default;

  // non_smtpd_milters: connects, and shows what an SMTP session would have shown.
  struct Local {
    std::string sender;
    std::vector<std::string> recipients;
  };
  [[nodiscard]] loop::Task<milter::Decision> begin(ipc::Client& broker, Local local);
  // The step that begin() has come to: "MAIL".
  [[nodiscard]] std::string_view step() const { return step_; }

  void set_macro(std::string name, std::string value) {
    macros_[std::move(name)] = std::move(value);
  }

  // Shows the content to each. `fields` (without line ends) become what they have made of them; the
  // first one is our own trace field, which they are not shown.
  [[nodiscard]] loop::Task<milter::Decision> run(std::vector<std::string>& fields,
                                                 MilterSubject& subject);
  // The message came to nothing: those that wait for more of it are told.
  [[nodiscard]] loop::Task<void> give_up();

 private:
  [[nodiscard]] loop::Task<milter::Decision> show_content(milter::Filter& filter,
                                                          std::vector<std::string>& fields,
                                                          MilterSubject& subject);
  [[nodiscard]] loop::Task<milter::Decision> show_body(milter::Filter& filter,
                                                       MilterSubject& subject);
  [[nodiscard]] std::string macro(std::string_view name) const;

  Filters filters_;
  milter::ListSettings settings_;
  std::string_view step_ = "CONNECT";
  std::string own_field_;  // the trace field of the message in work
  std::map<std::string, std::string, std::less<>> macros_;
};

}  // namespace postern::cleanup
