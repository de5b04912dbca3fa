// xclient.cpp - XCLIENT and XFORWARD: a trusted client says who somebody is.
//
// XCLIENT changes who the client is for everything that follows, as a proxy or a test needs it; the
// session begins again with the greeting. XFORWARD leaves the client as it is and says for whom it
// passes the next message on: logs and further hops show that one.

#include <fmt/format.h>

#include <algorithm>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

constexpr std::string_view kUnavailable = "[UNAVAILABLE]";
constexpr std::string_view kTemporarilyUnavailable = "[TEMPUNAVAIL]";
// RFC 1035 2.3.4 for names; what XFORWARD passes on is bounded alike.
constexpr std::size_t kMaxValue = 255;

bool is_unavailable(std::string_view value) {
  return equal_nocase(value, kUnavailable) || equal_nocase(value, kTemporarilyUnavailable);
}

ipc::resolver::Status status_of(std::string_view value) {
  if (equal_nocase(value, kTemporarilyUnavailable)) return ipc::resolver::Status::kTemporary;
  if (equal_nocase(value, kUnavailable)) return ipc::resolver::Status::kNoSuchName;
  return ipc::resolver::Status::kFound;
}

mail::Reply bad_value(std::string_view name, std::string_view value) {
  return mail::make_reply(501, fmt::format("5.5.4 Bad {} syntax: {}", name, log::clean(value)));
}

mail::Reply bad_name(std::string_view command, std::string_view name) {
  return mail::make_reply(
      501, fmt::format("5.5.4 Bad {} attribute name: {}", command, log::clean(name, 100)));
}

// "192.0.2.1", "IPV6:2001:db8::1", "2001:db8::1".
std::optional<std::string> parse_client_address(std::string_view value) {
  constexpr std::string_view kTag = "IPV6:";
  if (value.size() > kTag.size() && equal_nocase(value.substr(0, kTag.size()), kTag)) {
    value.remove_prefix(kTag.size());
  }
  const auto ip = config::parse_ip_address(value);
  if (!ip) return std::nullopt;
  return to_lower(value);
}

bool is_port(std::string_view value) { return parse_integer<std::uint16_t>(value, 1).has_value(); }

}  // namespace

void Session::forget_client() {
  reset();
  helo_.clear();
  protocol_ = "SMTP";
  discarded_keywords_ = settings_->discarded_keywords;
  may_xverp_ = false;
  restriction_state_.reset();
  has_early_input_ = false;
  errors_ = 0;
  junk_commands_ = 0;
}

loop::Task<mail::Reply> Session::xclient_command(const smtpwire::CommandLine& command) {
  if (sender_) co_return mail::make_reply(503, "5.5.1 Error: MAIL transaction in progress");
  if (trim(command.argument).empty()) {
    co_return mail::make_reply(501, "5.5.4 Syntax: XCLIENT attribute=value...");
  }
  if (!co_await is_client_in(settings_->smtpd.smtpd_authorized_xclient_hosts)) {
    co_return mail::make_reply(550, "5.7.0 Error: insufficient authorization");
  }
  auto attributes = smtpwire::parse_attributes(command.verb, command.argument);
  if (!attributes) co_return attributes.error();

  // Nothing changes before all of it is known to be good.
  std::string name = client_name_;
  std::string reverse_name = reverse_name_;
  std::string address = client_address_;
  auto name_status = name_status_;
  auto reverse_status = reverse_status_;
  std::string helo;
  std::string protocol = "SMTP";
  SessionExtras changed;
  if (extras_) changed = *extras_;
  // Whose headers are completed does not change, as in Postfix.
  const bool is_local = co_await is_local_client();
  changed.is_local_client = is_local;
  const bool has_reverse_name =
      std::any_of(attributes->begin(), attributes->end(),
                  [](const auto& entry) { return entry.first == "REVERSE_NAME"; });
  for (const auto& [attribute, value] : *attributes) {
    const bool is_unknown = is_unavailable(value);
    if (value.size() > kMaxValue) co_return bad_value(attribute, value.substr(0, kMaxValue));
    if (attribute == "NAME" || attribute == "REVERSE_NAME") {
      if (!is_unknown && !mail::is_valid_domain(value)) co_return bad_value(attribute, value);
      const std::string text = is_unknown ? std::string("unknown") : value;
      const auto status = status_of(value);
      // Without a REVERSE_NAME of its own the verified name is that, too.
      if (attribute == "NAME") {
        name = text;
        name_status = status;
      }
      if (attribute == "REVERSE_NAME" || !has_reverse_name) {
        reverse_name = text;
        reverse_status = status;
      }
    } else if (attribute == "ADDR") {
      const auto parsed = parse_client_address(value);
      if (!is_unknown && !parsed) co_return bad_value(attribute, value);
      address = parsed.value_or("unknown");
    } else if (attribute == "PORT") {
      if (!is_unknown && !is_port(value)) co_return bad_value(attribute, value);
      changed.port = is_unknown ? "unknown" : value;
    } else if (attribute == "HELO") {
      helo = is_unknown ? std::string() : value;
    } else if (attribute == "PROTO") {
      if (!equal_nocase(value, "SMTP") && !equal_nocase(value, "ESMTP")) {
        co_return bad_value(attribute, value);
      }
      protocol = to_upper(value);
    } else if (attribute == "LOGIN") {
      changed.login = is_unknown ? std::string() : value;
      changed.login_method = is_unknown ? "" : "XCLIENT";
    } else if (attribute == "DESTADDR") {
      const auto parsed = parse_client_address(value);
      if (!is_unknown && !parsed) co_return bad_value(attribute, value);
      changed.server_address = parsed.value_or("unknown");
    } else if (attribute == "DESTPORT") {
      if (!is_unknown && !is_port(value)) co_return bad_value(attribute, value);
      changed.server_port = is_unknown ? "unknown" : value;
    } else {
      co_return bad_name("XCLIENT", attribute);
    }
  }
  forget_client();
  client_name_ = std::move(name);
  reverse_name_ = std::move(reverse_name);
  client_address_ = std::move(address);
  ip_ = config::parse_ip_address(client_address_);
  name_status_ = name_status;
  reverse_status_ = reverse_status;
  helo_ = std::move(helo);
  protocol_ = std::move(protocol);
  extras() = std::move(changed);
  co_await look_up_client_lists();
  co_return co_await greeting();
}

loop::Task<mail::Reply> Session::xforward_command(const smtpwire::CommandLine& command) {
  if (sender_) co_return mail::make_reply(503, "5.5.1 Error: MAIL transaction in progress");
  if (trim(command.argument).empty()) {
    co_return mail::make_reply(501, "5.5.4 Syntax: XFORWARD attribute=value...");
  }
  if (!co_await is_client_in(settings_->smtpd.smtpd_authorized_xforward_hosts)) {
    co_return mail::make_reply(550, "5.7.0 Error: insufficient authorization");
  }
  auto attributes = smtpwire::parse_attributes(command.verb, command.argument);
  if (!attributes) co_return attributes.error();

  SessionExtras changed;
  if (extras_) changed = *extras_;
  for (const auto& [attribute, value] : *attributes) {
    const bool is_unknown = is_unavailable(value);
    if (value.size() > kMaxValue) co_return bad_value(attribute, value.substr(0, kMaxValue));
    const std::string text = log::clean(is_unknown ? std::string_view() : std::string_view(value));
    if (attribute == "NAME") {
      if (!is_unknown && !mail::is_valid_domain(value)) co_return bad_value(attribute, value);
      changed.forward.name = is_unknown ? "unknown" : text;
    } else if (attribute == "ADDR") {
      const auto parsed = parse_client_address(value);
      if (!is_unknown && !parsed) co_return bad_value(attribute, value);
      changed.forward.address = parsed.value_or("unknown");
    } else if (attribute == "PORT") {
      if (!is_unknown && !is_port(value)) co_return bad_value(attribute, value);
      changed.forward.port = text;
    } else if (attribute == "HELO") {
      changed.forward.helo = text;
    } else if (attribute == "PROTO") {
      if (value.size() > 64) co_return bad_value(attribute, value);
      changed.forward.protocol = text;
    } else if (attribute == "IDENT") {
      changed.forward_id = text;
    } else if (attribute == "SOURCE") {
      if (is_unknown) {
        changed.forward_domain.clear();
      } else if (equal_nocase(value, "LOCAL") || equal_nocase(value, "REMOTE")) {
        changed.forward_domain = to_lower(value);
      } else {
        co_return bad_value(attribute, value);
      }
    } else {
      co_return bad_name("XFORWARD", attribute);
    }
  }
  changed.has_forward = true;
  extras() = std::move(changed);
  co_return mail::make_reply(250, "2.0.0 Ok");
}

}  // namespace postern::smtpd
