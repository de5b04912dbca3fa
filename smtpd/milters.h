// milters.h - the milters of one session (MILTER_README), as long as the client speaks commands.
//
// With the content the conversations go to cleanup: hand_over() makes what it needs to go on.

#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/milter/filter.h"
#include "smtpd/milter_places.h"

namespace postern::smtpd {

class SessionMilters {
 public:
  // `limit` is milter_connection_limit.
  SessionMilters(milter::ListSettings settings, MilterPlaces& places, std::int64_t limit)
      : settings_(std::move(settings)), places_(places), limit_(limit) {}
  ~SessionMilters();
  SessionMilters(const SessionMilters&) = delete;
  SessionMilters& operator=(const SessionMilters&) = delete;

  // Connects to all of them at once.
  [[nodiscard]] loop::Task<void> open(ipc::Client& broker);

  // Values of macros; an empty one is none.
  void set(std::string name, std::string value) { macros_[std::move(name)] = std::move(value); }

  // What is told of a recipient; that of the first one that was accepted is told at DATA, too.
  static constexpr std::array<std::string_view, 3> kOfRecipient{"{rcpt_addr}", "{rcpt_host}",
                                                                "{rcpt_mailer}"};
  using RecipientMacros = std::array<std::string, kOfRecipient.size()>;
  [[nodiscard]] RecipientMacros recipient_macros() const;
  void set_recipient_macros(const RecipientMacros& values);

  // One event to all of them, those of a recipient in order until one has an answer.
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

  [[nodiscard]] loop::Task<void> open_one(milter::Filter& filter, ipc::Client& broker);

  milter::ListSettings settings_;
  MilterPlaces& places_;
  std::int64_t limit_;
  std::vector<std::uint64_t> taken_;  // places
  std::vector<std::unique_ptr<milter::Filter>> filters_;
  std::map<std::string, std::string, std::less<>> macros_;
  bool is_hold_ = false;     // for the rest of the session: default_action = quarantine
  bool is_discard_ = false;  // this message
  bool is_content_done_ = false;
};

}  // namespace postern::smtpd
