#include "common/log/event.h"

#include <fmt/format.h>

#include "common/log/log.h"

namespace postern::log {

namespace {

double seconds(std::chrono::microseconds time) { return static_cast<double>(time.count()) / 1e6; }

void info_event(const Event& event, std::string_view text) { write(Level::kInfo, text, &event); }

}  // namespace

void accepted_from(const ClientLine& line) {
  std::string text = fmt::format("{}: client={}", line.queue_id, line.client);
  if (!line.sasl_method.empty()) text += fmt::format(", sasl_method={}", line.sasl_method);
  if (!line.sasl_username.empty()) text += fmt::format(", sasl_username={}", line.sasl_username);
  if (!line.sasl_sender.empty()) text += fmt::format(", sasl_sender={}", line.sasl_sender);
  if (!line.orig_queue_id.empty()) text += fmt::format(", orig_queue_id={}", line.orig_queue_id);
  if (!line.orig_client.empty()) text += fmt::format(", orig_client={}", line.orig_client);
  info_event(Event("accepted", line.queue_id)
                 .with("client", line.client)
                 .with("sasl_username", line.sasl_username),
             text);
}

void login_failed(const FailedLogin& login) {
  const auto event = Event("login_failed")
                         .with("client", login.client)
                         .with("sasl_method", login.mechanism)
                         .with("sasl_username", login.username)
                         .with("reason", login.reason)
                         .with("is_temporary", std::int64_t{login.is_temporary ? 1 : 0});
  write(Level::kWarning,
        fmt::format("{}: SASL {} authentication failed: {}, sasl_username={}", login.client,
                    login.mechanism, login.reason, login.username),
        &event);
}

void picked_up(std::string_view queue_id, unsigned uid, std::string_view sender) {
  info_event(Event("picked_up", queue_id).with("uid", std::int64_t{uid}).with("from", sender),
             fmt::format("{}: uid={} from=<{}>", queue_id, uid, sender));
}

void message_id(std::string_view queue_id, std::string_view id, bool is_resent) {
  info_event(Event("message_id", queue_id).with("message_id", id),
             fmt::format("{}: {}message-id={}", queue_id, is_resent ? "resent-" : "", id));
}

void activated(std::string_view queue_id, std::string_view sender, std::uint64_t size,
               std::uint64_t recipients) {
  info_event(Event("queued", queue_id)
                 .with("from", sender)
                 .with("size", static_cast<std::int64_t>(size))
                 .with("nrcpt", static_cast<std::int64_t>(recipients)),
             fmt::format("{}: from=<{}>, size={}, nrcpt={} (queue active)", queue_id, sender, size,
                         recipients));
}

void expired(std::string_view queue_id, std::string_view sender, bool is_forced) {
  info_event(Event("expired", queue_id).with("from", sender),
             fmt::format("{}: from=<{}>, status={}, returned to sender", queue_id, sender,
                         is_forced ? "force-expired" : "expired"));
}

void removed(std::string_view queue_id) {
  info_event(Event("removed", queue_id), fmt::format("{}: removed", queue_id));
}

std::string delay_text(std::chrono::microseconds delay) {
  const double value = std::max(0.0, seconds(delay));
  if (value < 0.005) return "0";
  // Two significant digits, but no more than centiseconds, and whole seconds from ten on.
  if (value >= 9.95) return fmt::format("{:.0f}", value);
  std::string text = value >= 0.995 ? fmt::format("{:.1f}", value) : fmt::format("{:.2f}", value);
  if (text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  return text;
}

void delivered(const DeliveryLine& line) {
  const Delays& d = line.delays;
  const auto total = d.before_queue + d.in_queue + d.connection + d.transmission;
  std::string text = fmt::format("{}: to=<{}>, ", line.queue_id, line.recipient);
  if (!line.orig_to.empty()) text += fmt::format("orig_to=<{}>, ", line.orig_to);
  text += fmt::format("relay={}, ", line.relay);
  if (line.conn_use > 1) text += fmt::format("conn_use={}, ", line.conn_use);
  text += fmt::format("delay={}, delays={}/{}/{}/{}, dsn={}, status={} ({})", delay_text(total),
                      delay_text(d.before_queue), delay_text(d.in_queue), delay_text(d.connection),
                      delay_text(d.transmission), line.dsn, line.status, line.text);
  info_event(Event("delivery", line.queue_id)
                 .with("to", line.recipient)
                 .with("orig_to", line.orig_to)
                 .with("relay", line.relay)
                 .with("delay", seconds(total))
                 .with("dsn", line.dsn)
                 .with("status", line.status)
                 .with("reason", line.text),
             text);
}

void notification(std::string_view queue_id, std::string_view what,
                  std::string_view notification_id) {
  info_event(
      Event("notification", queue_id).with("kind", what).with("notification", notification_id),
      fmt::format("{}: {} notification: {}", queue_id, what, notification_id));
}

void rejected(const RejectLine& line) {
  std::string text =
      fmt::format("{}: {}: {} from {}: {};", line.queue_id.empty() ? "NOQUEUE" : line.queue_id,
                  line.action, line.where, line.client, line.text);
  if (line.has_sender) text += fmt::format(" from=<{}>", line.sender);
  if (line.has_recipient) text += fmt::format(" to=<{}>", line.recipient);
  if (!line.protocol.empty()) text += fmt::format(" proto={}", line.protocol);
  if (!line.helo.empty()) text += fmt::format(" helo=<{}>", line.helo);
  if (!line.sasl_username.empty()) text += fmt::format(" sasl_username=<{}>", line.sasl_username);
  info_event(Event("reject", line.queue_id)
                 .with("action", line.action)
                 .with("where", line.where)
                 .with("client", line.client)
                 .with("from", line.sender)
                 .with("to", line.recipient)
                 .with("helo", line.helo)
                 .with("reason", line.text),
             text);
}

}  // namespace postern::log
