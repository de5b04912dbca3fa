#include "postqueue/print.h"

#include <fmt/format.h>

#include <chrono>

#include "common/log/clean.h"
#include "common/mail/address.h"
#include "common/mail/date.h"

namespace postern::postqueue {

namespace {

constexpr std::size_t kReasonEnd = 78;
constexpr std::size_t kRecipientColumn = 41;
constexpr std::size_t kLongRecipientColumn = 47;

std::string marked_id(const queuefile::ListedMessage& message) {
  std::string id = message.queue_id;
  if (message.queue_name == "active") id += '*';
  if (message.queue_name == "hold") id += '!';
  if (message.is_forced_expire) id += '#';
  return id;
}

std::string shown(const std::string& address) {
  return address.empty() ? "MAILER-DAEMON" : log::clean(mail::quote_address(address), 4096);
}

std::string json_address(const std::string& address) {
  return address.empty() ? "MAILER-DAEMON" : mail::quote_address(address);
}

void append_message(std::string& out, const queuefile::ListedMessage& message, IdColumn ids) {
  const auto arrival = WallTime(std::chrono::seconds(message.arrival_time));
  const std::string date = mail::format_listing_date(arrival);
  if (ids == IdColumn::kLong) {
    out += fmt::format("{:<17} {:>8} {:>19} {}\n", marked_id(message), message.size, date,
                       shown(message.sender));
  } else {
    out += fmt::format("{:<11} {:>7} {:<20} {}\n", marked_id(message), message.size, date,
                       shown(message.sender));
  }
  const auto column = ids == IdColumn::kLong ? kLongRecipientColumn : kRecipientColumn;
  std::string reason;
  for (const auto& recipient : message.recipients) {
    if (recipient.reason != reason) {
      reason = recipient.reason;
      if (!reason.empty()) {
        const std::string text = fmt::format("({})", log::clean(reason, 4096));
        out += fmt::format("{:>{}}\n", text, kReasonEnd);
      }
    }
    out += fmt::format("{:{}}{}\n", "", column, shown(recipient.address));
  }
  out += '\n';
}

}  // namespace

std::string print_text(const std::vector<queuefile::ListedMessage>& messages, IdColumn ids) {
  if (messages.empty()) return "Mail queue is empty\n";
  std::string out =
      ids == IdColumn::kLong
          ? "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n"
          : "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n";
  std::uint64_t total = 0;
  for (const auto& message : messages) {
    append_message(out, message, ids);
    total += message.size;
  }
  out += fmt::format("-- {} Kbytes in {} Request{}.\n", total / 1024, messages.size(),
                     messages.size() == 1 ? "" : "s");
  return out;
}

std::string print_json(const std::vector<queuefile::ListedMessage>& messages) {
  std::string out;
  for (const auto& message : messages) {
    out += fmt::format(
        R"({{"queue_name": {}, "queue_id": {}, "arrival_time": {}, "message_size": {}, )"
        R"("forced_expire": {}, "sender": {}, "recipients": [)",
        log::json_quote(message.queue_name), log::json_quote(message.queue_id),
        message.arrival_time, message.size, message.is_forced_expire,
        log::json_quote(json_address(message.sender)));
    for (std::size_t i = 0; i < message.recipients.size(); ++i) {
      const auto& recipient = message.recipients[i];
      if (i > 0) out += ", ";
      out += fmt::format(R"({{"address": {})", log::json_quote(json_address(recipient.address)));
      if (!recipient.reason.empty()) {
        out += fmt::format(R"(, "delay_reason": {})", log::json_quote(recipient.reason));
      }
      out += '}';
    }
    out += "]}\n";
  }
  return out;
}

}  // namespace postern::postqueue
