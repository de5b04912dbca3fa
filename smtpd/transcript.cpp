#include "smtpd/transcript.h"

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/daemon/postmaster_notice.h"
#include "common/log/clean.h"
#include "common/policy/debug_peers.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

// What strangers cause, in every session if they like.
constexpr Troubles kByStrangers = kTroublePolicy | kTroubleProtocol | kTroubleBounce;

constexpr std::size_t kWidth = 78;  // of a line in the notice, without what is in front of all
constexpr std::string_view kIndent = "     ";
constexpr std::size_t kMaxShown = 1000;

// For a terminal; a word longer than a line is left whole.
std::string wrapped(std::string_view line) {
  std::string out;
  std::string_view indent = " ";
  for (std::size_t width = kWidth; line.size() > width; width = kWidth - kIndent.size() + 1) {
    std::size_t end = line.rfind(' ', width);
    if (end == std::string_view::npos || end == 0) end = line.find(' ', width);
    if (end == std::string_view::npos) break;
    out.append(indent).append(line.substr(0, end)).append("\n");
    line.remove_prefix(end + 1);
    indent = kIndent;
  }
  return out.append(indent).append(line).append("\n");
}

}  // namespace

Troubles parse_troubles(const std::vector<std::string>& notify_classes) {
  struct Named {
    std::string_view name;
    Trouble trouble;
  };
  constexpr Named kNames[] = {{"policy", kTroublePolicy},     {"protocol", kTroubleProtocol},
                              {"resource", kTroubleResource}, {"software", kTroubleSoftware},
                              {"data", kTroubleData},         {"bounce", kTroubleBounce}};
  Troubles troubles = 0;
  for (const auto& word : notify_classes) {
    for (const auto& [name, trouble] : kNames) {
      if (equal_nocase(word, name)) troubles |= trouble;
    }
  }
  return troubles;
}

Troubles trouble_of(const mail::Reply& reply) {
  const std::string line = reply.to_line();
  const std::string_view status =
      std::string_view(line).substr(std::min<std::size_t>(4, line.size()));
  if (status.starts_with("4.3.1")) return kTroubleResource;
  // A refusal by an access table is policy, whatever status it has.
  if (status.starts_with("4.3.5 Server configuration error")) return kTroubleSoftware;
  if (status.starts_with("4.3.0")) {
    const bool is_lookup = line.ends_with("Temporary lookup failure");
    return is_lookup ? kTroubleData : kTroubleSoftware | kTroubleData;
  }
  if (status.starts_with("4.4.") || status.starts_with("4.5.2") || status.starts_with("5.5.") ||
      status.starts_with("5.1.3") || status.starts_with("5.1.7")) {
    return kTroubleProtocol;
  }
  return reply.code >= 400 ? kTroublePolicy : 0;
}

void Transcript::add(std::string_view direction, std::string_view line) {
  const std::string shown = log::clean(line, kMaxShown);
  if (lines_ >= kMaxLines || text_.size() + shown.size() > kMaxSize) {
    ++left_out_;
    return;
  }
  ++lines_;
  text_ += wrapped(fmt::format("{} {}", direction, shown));
}

void Transcript::add_command(std::string_view line) { add("In: ", policy::loggable_command(line)); }

void Transcript::add_reply(const mail::Reply& reply) {
  if (reply.code == 334) return add("Out:", "334 (not shown)");
  const std::string wire = reply.to_wire();
  for (std::string_view line : split_fields(wire, '\n')) {
    while (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) add("Out:", line);
  }
}

std::string Transcript::text() const {
  return left_out_ == 0 ? text_ : fmt::format("{} ({} more lines)\n", text_, left_out_);
}

void Transcript::clear() {
  text_.clear();
  lines_ = left_out_ = 0;
}

// ---- what a session does with it

void Session::record_command(std::string_view line, bool is_secret) {
  const Troubles wanted = settings_->notified_troubles;
  if (wanted == 0 || server_.is_explaining()) return;
  if (!transcript_) {
    if ((wanted & kByStrangers) == 0 && !starts_with_nocase(line, "MAIL ")) return;
    transcript_ = std::make_unique<Transcript>();
    if ((wanted & kByStrangers) == 0 && !helo_.empty()) {
      transcript_->add_command(fmt::format("{} {}", protocol_ == "SMTP" ? "HELO" : "EHLO", helo_));
    }
  }
  transcript_->add_command(is_secret ? "(not shown)" : line);
}

void Session::record_reply(const mail::Reply& reply) {
  const bool is_whole = (settings_->notified_troubles & kByStrangers) != 0;
  if (!transcript_ && is_whole && !server_.is_explaining()) {
    transcript_ = std::make_unique<Transcript>();
  }
  if (transcript_) transcript_->add_reply(reply);
}

// Of a transcript with trouble in it the postmaster is told once it is over, or long.
void Session::finish_transcript(std::size_t threshold, std::string_view reason) {
  if (!transcript_ || transcript_->lines() <= threshold) return;
  const Troubles told = troubles_ & settings_->notified_troubles;
  troubles_ = 0;
  if (told != 0) {
    std::string text = "Transcript of session follows.\n\n" + transcript_->text() + "\n";
    if (!reason.empty()) text += fmt::format("Session aborted, reason: {}\n", reason);
    text += "\nFor other details, see the local mail logfile\n";
    const bool is_bounce = (told & kTroubleBounce) != 0;
    loop::spawn(daemon::send_notice(
        neighbours().cleanup, server_.values(),
        fmt::format("{} SMTP server: errors from {}", settings_->mail_name, client()),
        std::move(text), is_bounce ? "bounce_notice_recipient" : "error_notice_recipient"));
  }
  transcript_->clear();
}

}  // namespace postern::smtpd
