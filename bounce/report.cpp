#include "bounce/report.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/mail/date.h"
#include "common/mail/header.h"
#include "common/queuefile/envelope.h"

namespace postern::bounce {

namespace {

constexpr std::size_t kColumns = 79;
constexpr std::string_view kIndent = "    ";
constexpr std::size_t kMaxWord = 900;  // below RFC 5322's 998 whatever stands around it
constexpr std::string_view kMailDaemon = "MAILER-DAEMON";

// One line without anything that a reader of lines could take for more.
std::string clean(std::string_view text) {
  std::string out(text);
  const bool is_text = is_valid_utf8(text);
  for (char& c : out) {
    if (is_control(c) || (!is_text && !is_ascii(c))) c = '?';
  }
  return out;
}

// RFC 6533 3: the type of an address.
std::string_view address_type(const Report& report, std::string_view address) {
  return report.is_utf8 && !is_all_ascii(address) ? "utf-8" : "rfc822";
}

std::string shown_sender(const Report& report) {
  if (!report.sender.empty()) return clean(report.sender);
  return fmt::format("{}@{}", kMailDaemon, report.myhostname);
}

std::string boundary(const Report& report) {
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(report.now.time_since_epoch()).count();
  return fmt::format("{}.{}/{}", report.queue_id, seconds, report.myhostname);
}

// Of the message that it is about; empty where it has none that may stand in a header.
std::string message_id(const Report& report) {
  constexpr std::size_t kMaxId = 900;
  for (const auto& field : mail::split_header(report.header)) {
    if (!equal_nocase(field.name, "Message-Id")) continue;
    const std::string_view id = trim(field.body);
    const bool is_sound = id.size() > 2 && id.size() < kMaxId && id.front() == '<' &&
                          id.back() == '>' && is_all_ascii(id) && clean(id) == id;
    return is_sound ? std::string(id) : std::string();
  }
  return {};
}

void append_header(std::string& out, const Report& report, bool is_7bit) {
  const bool to_sender = report.audience == Audience::kSender;
  const std::string& postmaster_subject = report.words.postmaster_subject;
  const std::string& subject =
      to_sender || postmaster_subject.empty() ? report.words.subject : postmaster_subject;
  out += fmt::format("Date: {}\n", mail::format_date(report.now));
  out += fmt::format("From: {}\n", clean(report.words.from));
  out += fmt::format("Subject: {}\n", clean(subject));
  out += fmt::format("To: {}\n", clean(report.to));
  if (report.is_threaded) {
    if (const std::string id = message_id(report); !id.empty()) {
      out += fmt::format("References: {}\nIn-Reply-To: {}\n", id, id);
    }
  }
  out += fmt::format("Auto-Submitted: {}\n", to_sender ? "auto-replied" : "auto-generated");
  out += "MIME-Version: 1.0\n";
  // RFC 6533 names no other type of report for addresses beyond ASCII.
  out += fmt::format(
      "Content-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"{}\"\n",
      boundary(report));
  out += fmt::format("Content-Transfer-Encoding: {}\n", is_7bit ? "7bit" : "8bit");
  out += "\nThis is a MIME-encapsulated message.\n\n";
}

void begin_part(std::string& out, const Report& report, std::string_view description,
                std::string_view type) {
  out += fmt::format("--{}\nContent-Description: {}\nContent-Type: {}\n", boundary(report),
                     description, type);
}

void append_notification(std::string& out, const Report& report) {
  // Reasons may hold UTF-8, of which US-ASCII is a part.
  const std::string_view charset =
      report.words.charset.empty() || equal_nocase(report.words.charset, "us-ascii")
          ? std::string_view("utf-8")
          : std::string_view(report.words.charset);
  begin_part(out, report, "Notification", fmt::format("text/plain; charset={}", clean(charset)));
  out += '\n';
  out += report.words.text;
  for (const ReportRecipient& recipient : report.recipients) {
    out += '\n';
    std::string line = fmt::format("<{}>", clean(recipient.address));
    if (!recipient.orig_to.empty() && !equal_nocase(recipient.orig_to, recipient.address)) {
      line += fmt::format(" (expanded from <{}>)", clean(recipient.orig_to));
    }
    append_wrapped(out, fmt::format("{}: {}", line, recipient.text));
  }
  out += '\n';
}

void append_recipient_status(std::string& out, const Report& report,
                             const ReportRecipient& recipient) {
  out += fmt::format("\nFinal-Recipient: {}; {}\n", address_type(report, recipient.address),
                     clean(mail::quote_address(recipient.address)));
  if (!recipient.dsn_orcpt.empty()) {
    out += fmt::format("Original-Recipient: {}\n", clean(recipient.dsn_orcpt));
  } else if (!recipient.orig_to.empty()) {
    out += fmt::format("X-{}-Original-Recipient: {}; {}\n", report.mail_name,
                       address_type(report, recipient.orig_to), clean(recipient.orig_to));
  }
  out += fmt::format("Action: {}\n", clean(recipient.action));
  out += fmt::format("Status: {}\n", clean(recipient.status));
  if (!recipient.remote_mta.empty()) {
    out += fmt::format("Remote-MTA: {}\n", clean(recipient.remote_mta));
  }
  const std::string type = recipient.diagnostic_type.empty() ? "X-" + report.mail_name
                                                             : clean(recipient.diagnostic_type);
  append_wrapped(out,
                 fmt::format("Diagnostic-Code: {}; {}", type,
                             recipient.diagnostic.empty() ? recipient.text : recipient.diagnostic));
  if (report.retry_until) {
    out += fmt::format("Will-Retry-Until: {}\n", mail::format_date(*report.retry_until));
  }
}

void append_status(std::string& out, const Report& report) {
  begin_part(out, report, "Delivery report",
             report.is_utf8 ? "message/global-delivery-status" : "message/delivery-status");
  if (report.is_utf8) out += "Content-Transfer-Encoding: 8bit\n";
  out += fmt::format("\nReporting-MTA: dns; {}\n", report.myhostname);
  if (!report.dsn_envid.empty()) {
    out += fmt::format("Original-Envelope-Id: {}\n", clean(report.dsn_envid));
  }
  out += fmt::format("X-{}-Queue-ID: {}\n", report.mail_name, report.queue_id);
  const std::string sender = shown_sender(report);
  out +=
      fmt::format("X-{}-Sender: {}; {}\n", report.mail_name, address_type(report, sender), sender);
  out += fmt::format("Arrival-Date: {}\n", mail::format_date(report.arrival));
  for (const ReportRecipient& recipient : report.recipients) {
    append_recipient_status(out, report, recipient);
  }
  out += '\n';
}

void append_message(std::string& out, const Report& report) {
  const bool full = report.returned == Returned::kFull;
  const std::string_view what =
      report.kind == NoticeKind::kFailure ? "Undelivered Message"
      : report.kind == NoticeKind::kDelay ? "Delayed Message"
      : report.kind == NoticeKind::kSuccess || report.kind == NoticeKind::kDelayCleared
          ? "Delivered Message"
          : "Message";
  const std::string_view type = full ? (report.is_utf8 ? "message/global" : "message/rfc822")
                                : report.is_utf8 ? "message/global-headers"
                                                 : "text/rfc822-headers";
  begin_part(out, report, full ? std::string(what) : fmt::format("{} Headers", what), type);
  out += fmt::format("Content-Transfer-Encoding: {}\n\n", report.is_7bit ? "7bit" : "8bit");
  out += fmt::format("Return-Path: <{}>\n", shown_sender(report));
  out += report.header;
  if (full) {
    out += '\n';
    out += report.body;
    if (!report.body.empty() && !report.body.ends_with('\n')) out += '\n';
  }
  out += fmt::format("\n--{}--\n", boundary(report));
}

}  // namespace

bool is_wanted(NoticeKind kind, std::uint8_t notify) {
  const auto said = [notify](std::uint8_t bit) { return (notify & bit) != 0; };
  switch (kind) {
    case NoticeKind::kFailure:
      return notify == 0 || said(queuefile::kNotifyFailure);
    case NoticeKind::kDelay:
      return notify == 0 || said(queuefile::kNotifyDelay);
    case NoticeKind::kSuccess:
      return said(queuefile::kNotifySuccess);
    case NoticeKind::kDelayCleared:
      return notify == 0 || said(queuefile::kNotifySuccess) || said(queuefile::kNotifyDelay);
    case NoticeKind::kVerify:
      return true;
  }
  return false;
}

Returned what_to_return(NoticeKind kind, bool ret_headers, std::uint64_t message_size,
                        std::uint64_t size_limit) {
  if (kind != NoticeKind::kFailure || ret_headers) return Returned::kHeaders;
  return size_limit != 0 && message_size > size_limit ? Returned::kHeaders : Returned::kFull;
}

void append_wrapped(std::string& out, std::string_view text) {
  const std::string line = clean(text);
  std::string_view rest = line;
  std::size_t column = 0;
  while (true) {
    std::string_view word = next_word(rest, " ");
    if (word.empty()) break;
    if (column > 0 && column + 1 + word.size() > kColumns) {
      out += '\n';
      out += kIndent;
      column = kIndent.size();
    } else if (column > 0) {
      out += ' ';
      ++column;
    }
    while (word.size() > kMaxWord) {
      out += word.substr(0, kMaxWord);
      out += '\n';
      out += kIndent;
      word.remove_prefix(kMaxWord);
      column = kIndent.size();
    }
    out += word;
    column += word.size();
  }
  out += '\n';
}

std::string compose_report(const Report& report) {
  std::string parts;
  append_notification(parts, report);
  append_status(parts, report);
  // A reason may hold UTF-8 though the message does not.
  const bool is_7bit = report.is_7bit && is_all_ascii(parts);

  std::string out;
  constexpr std::size_t kAround = 2048;
  out.reserve(kAround + parts.size() + report.header.size() + report.body.size());
  append_header(out, report, is_7bit);
  out += parts;
  append_message(out, report);
  return out;
}

}  // namespace postern::bounce
