// milters.h - the milters of one session (MILTER_README), as long as the client speaks commands.
//
// With the content the conversations go to cleanup: hand_over() makes what it needs to go on.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/milter/filter.h"

namespace postern::smtpd {

class SessionMilters {
 public:
  explicit SessionMilters(milter::ListSettings settings) : settings_(std::move(settings)) {}

  [[nodiscard]] loop::Task<void> open(ipc::Client& broker);

  // Values of macros; an empty one is none.
  void set(std::string name, std::string value) { macros_[std::move(name)] = std::move(value); }

  // One event to all, in order, until one has an answer.
  [[nodiscard]] loop::Task<milter::Decision> show(char command, std::string payload);
  // A recipient that was refused, to those that want to know.
  [[nodiscard]] loop::Task<void> show_rejected(std::string payload);

  [[nodiscard]] loop::Task<std::pair<ipc::milter::Handover, std::vector<sys::Fd>>> hand_over();
  // cleanup has had its way with the content.
  void content_done() { is_content_done_ = true; }
  void end_message();

  [[nodiscard]] bool is_hold() const { return is_hold_; }
  [[nodiscard]] bool is_discard() const { return is_discard_; }

 private:
  [[nodiscard]] std::string macro(std::string_view name) const;
  [[nodiscard]] const std::vector<std::string>& names_of(char command) const;

  milter::ListSettings settings_;
  std::vector<std::unique_ptr<milter::Filter>> filters_;
  std::map<std::string, std::string, std::less<>> macros_;
  bool is_hold_ = false;     // for the rest of the session: default_action = quarantine
  bool is_discard_ = false;  // this message
  bool is_content_done_ = false;
};

}  // namespace postern::smtpd
