#include "smtpd/proxy_filter.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "common/base/encode.h"
#include "common/base/text.h"
#include "common/ipc/broker.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/mail/received.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

constexpr std::size_t kMaxReplyBytes = std::size_t{64} << 10;
constexpr std::size_t kEncodeRoom = std::size_t{16} << 10;

mail::Reply reply_of(smtpwire::ServerReply reply) {
  mail::Reply out;
  out.code = reply.code;
  out.lines = std::move(reply.lines);
  if (out.lines.empty()) out.lines.emplace_back();
  return out;
}

}  // namespace

ProxyFilter::~ProxyFilter() {
  if (stream_ == nullptr) return;
  constexpr std::string_view kGoodbye = "QUIT\r\n";
  [[maybe_unused]] const auto sent =
      ::send(stream_->fd(), kGoodbye.data(), kGoodbye.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

loop::Task<Result<smtpwire::ServerReply>> ProxyFilter::read_reply() {
  const loop::Deadline until = deadline();
  for (;;) {
    std::string_view in = stream_->input();
    const std::size_t before = in.size();
    const auto is_whole = reader_.feed(in);
    stream_->consume(before - in.size());
    if (!is_whole) co_return std::unexpected(is_whole.error());
    if (*is_whole) co_return reader_.take();
    const loop::Io io = co_await stream_->fill(until, kMaxReplyBytes);
    if (io == loop::Io::kTimeout) co_return fail_temporary("timed out");
    if (io != loop::Io::kOk) co_return fail_temporary("lost connection");
  }
}

loop::Task<Result<smtpwire::ServerReply>> ProxyFilter::ask(std::string text) {
  text += "\r\n";
  if (stream_ == nullptr) co_return fail_temporary("no connection");
  const loop::Io io = co_await stream_->write(text, deadline());
  if (io == loop::Io::kTimeout) co_return fail_temporary("timed out");
  if (io != loop::Io::kOk) co_return fail_temporary("lost connection");
  auto reply = co_await read_reply();
  co_return reply;
}

loop::Task<Result<void>> ProxyFilter::open(ipc::Client& broker, queuefile::Client client,
                                           std::string ident, bool is_local) {
  ipc::broker::Connect question;
  question.endpoint = settings_.number;
  std::vector<sys::Fd> fds;
  CO_TRY(const auto connected, co_await broker.call(question, deadline(), {}, &fds));
  if (fds.size() != 1) co_return fail_temporary(connected.peer + ": no connection came");
  stream_ = std::make_unique<loop::Stream>(std::move(fds.front()));
  CO_TRY(const auto greeting, co_await read_reply());
  if (greeting.klass() != '2') co_return fail_temporary("greeting: " + greeting.to_line());
  CO_TRY(const auto hello, co_await ask("EHLO " + settings_.ehlo));
  if (hello.klass() == '2') {
    features_ = smtpwire::parse_ehlo(hello.lines);
  } else {
    CO_TRY(const auto plain, co_await ask("HELO " + settings_.ehlo));
    if (plain.klass() != '2') co_return fail_temporary("HELO: " + plain.to_line());
  }
  if (features_.xforward) {
    std::string text = "XFORWARD";
    const auto add = [&](std::string_view name, std::string_view value) {
      const auto& known = features_.xforward_attributes;
      if (std::ranges::find(known, name) == known.end()) return;
      text += fmt::format(" {}={}", name, value.empty() ? "[UNAVAILABLE]" : xtext_encode(value));
    };
    add("NAME", client.name == "unknown" ? std::string() : client.name);
    add("ADDR", client.address);
    add("PORT", client.port);
    add("HELO", client.helo);
    add("IDENT", ident);
    add("PROTO", client.protocol);
    add("SOURCE", is_local ? "LOCAL" : "REMOTE");
    CO_TRY(const auto reply, co_await ask(std::move(text)));
    if (reply.klass() != '2') log::warning("proxy filter: XFORWARD: {}", reply.to_line());
  }
  co_return Result<void>{};
}

loop::Task<Result<mail::Reply>> ProxyFilter::command(std::string text) {
  CO_TRY(auto reply, co_await ask(std::move(text)));
  co_return reply_of(std::move(reply));
}

loop::Task<Result<void>> ProxyFilter::add(std::string content) {
  std::array<char, kEncodeRoom> room;
  std::string_view rest = content;
  while (!rest.empty()) {
    const std::size_t used = encoder_.encode(rest, room);
    const loop::Io io = co_await stream_->write({room.data(), used}, deadline());
    if (io != loop::Io::kOk) co_return fail_temporary("lost connection while sending content");
  }
  co_return Result<void>{};
}

loop::Task<Result<mail::Reply>> ProxyFilter::finish() {
  std::array<char, smtpwire::DotEncoder::kFinishSize> room{};
  const std::size_t used = encoder_.finish(room);
  const loop::Io io = co_await stream_->write({room.data(), used}, deadline());
  if (io != loop::Io::kOk) co_return fail_temporary("lost connection while sending content");
  CO_TRY(auto reply, co_await read_reply());
  co_return reply_of(std::move(reply));
}

// ---- the session's part

namespace {

mail::Reply proxy_failed(std::string_view service, const Error& error) {
  log::warning("proxy {}: {}", service, error.text);
  return mail::make_reply(451, "4.3.0 Error: queue file write error");
}

}  // namespace

bool Session::has_proxy_filter() const { return settings_->proxy_filter.number != 0; }

// The proxy hears of the sender with the first recipient that we accept.
loop::Task<std::optional<mail::Reply>> Session::open_proxy() {
  const auto& envelope = transaction_->envelope();
  proxy_ = std::make_unique<ProxyFilter>(settings_->proxy_filter);
  const auto opened = co_await proxy_->open(neighbours().broker, envelope.client, "NOQUEUE",
                                            envelope.rewrite_context == "local");
  if (!opened) {
    // As broker says it: "connect to inet:127.0.0.1:10025: Connection refused".
    std::string_view why = opened.error().text;
    const std::string known = fmt::format("connect to {}: ", proxy_->settings().endpoint);
    if (why.starts_with(known)) why.remove_prefix(known.size());
    log::warning("connect to proxy filter {}: {}", settings_->smtpd.smtpd_proxy_filter, why);
    co_return mail::make_reply(451, "4.3.0 Error: queue file write error");
  }
  std::string text = fmt::format("MAIL FROM:<{}>", mail::quote_address(*sender_));
  const auto& features = proxy_->features();
  if (features.size && mail_arguments_->size)
    text += fmt::format(" SIZE={}", *mail_arguments_->size);
  if (features.eight_bit_mime && mail_arguments_->body == smtpwire::BodyType::k8BitMime) {
    text += " BODY=8BITMIME";
  }
  if (features.smtputf8 && mail_arguments_->smtputf8) text += " SMTPUTF8";
  co_return co_await ask_proxy(std::move(text));
}

// A refusal, or what the client hears of a failure. A reply of another class than `wanted` that is
// no refusal either (250 to DATA) makes no sense at its place, and is nothing to be passed on.
loop::Task<std::optional<mail::Reply>> Session::ask_proxy(std::string command, int wanted) {
  auto reply = co_await proxy_->command(command);
  if (!reply) {
    auto failed = proxy_failed(settings_->smtpd.smtpd_proxy_filter, reply.error());
    proxy_.reset();
    co_return failed;
  }
  if (reply->code / 100 == wanted) co_return std::nullopt;
  log::warning("proxy {} rejected \"{}\": \"{}\"", settings_->smtpd.smtpd_proxy_filter,
               log::clean(command), log::clean(reply->to_line()));
  if (reply->code < 400) reply = mail::make_reply(451, "4.3.0 Error: queue file write error");
  note_rejection(*reply);
  co_return *std::move(reply);
}

loop::Task<std::optional<mail::Reply>> Session::proxy_recipient(std::string address) {
  if (proxy_ == nullptr) {
    if (auto refusal = co_await open_proxy()) {
      proxy_.reset();
      co_return refusal;
    }
  }
  co_return co_await ask_proxy(fmt::format("RCPT TO:<{}>", mail::quote_address(address)));
}

// DATA to the proxy, and our trace field in front of the content. A refusal is the client's.
loop::Task<std::optional<mail::Reply>> Session::begin_proxy_content() {
  if (settings_->proxy_filter.is_late) {
    const auto recipients = transaction_->envelope().recipients;
    for (const auto& recipient : recipients) {
      if (auto refusal = co_await proxy_recipient(recipient.address)) co_return refusal;
    }
  }
  if (auto refusal = co_await ask_proxy("DATA", 3)) co_return refusal;
  const auto& envelope = transaction_->envelope();
  mail::ReceivedTrace trace;
  trace.helo = helo_;
  trace.client_name = client_name_;
  trace.client_address =
      client_address_.find(':') == std::string::npos ? client_address_ : "IPv6:" + client_address_;

  trace.myhostname = settings_->address.myhostname;
  trace.mail_name = settings_->mail_name;
  trace.protocol = protocol_;
  if (protocol_ != "SMTP") {
    if (is_encrypted()) trace.protocol += 'S';
    if (is_authenticated()) trace.protocol += 'A';
  }
  if (settings_->login.has_trace) trace.sasl_username = sasl_username();
  trace.tls = tls_trace();
  trace.tls_peer = tls_peer_trace();
  if (envelope.recipients.size() == 1) trace.recipient = envelope.recipients.front().address;
  trace.arrival = WallTime(std::chrono::seconds(envelope.arrival.seconds)) +
                  std::chrono::microseconds(envelope.arrival.microseconds);
  std::string header;
  for (const auto& field : actions().prepend) header += field + "\n";
  header += mail::format_received(trace) + "\n";
  const auto added = co_await proxy_->add(std::move(header));
  if (!added) co_return proxy_failed(settings_->smtpd.smtpd_proxy_filter, added.error());
  co_return std::nullopt;
}

loop::Task<mail::Reply> Session::finish_proxy_content() {
  mail::Reply reply;
  if (proxy_refusal_) {
    reply = *std::exchange(proxy_refusal_, std::nullopt);
  } else if (proxy_content_failed_) {
    reply = mail::make_reply(451, "4.3.0 Error: queue file write error");
  } else {
    const auto answer = co_await proxy_->finish();
    reply = answer ? *answer : proxy_failed(settings_->smtpd.smtpd_proxy_filter, answer.error());
  }
  if (reply.is_success()) {
    forgive_errors();
  } else {
    note_rejection(reply);
  }
  const auto& recipients = transaction_->envelope().recipients;
  log::info(
      "proxy-{}: END-OF-MESSAGE: {}; from=<{}>{} proto={} helo=<{}>",
      reply.is_success() ? "accept" : "reject", log::clean(trim_right(reply.to_wire(), "\r\n")),
      log::clean(mail::quote_address(sender_.value_or(""))),
      recipients.empty()
          ? std::string()
          : fmt::format(" to=<{}>", log::clean(mail::quote_address(recipients.front().address))),
      protocol_, log::clean(helo_));
  reset();
  co_return reply;
}

// Content on to where it goes.
loop::Task<bool> Session::add_content(std::string content) {
  if (proxy_refusal_) {
    proxied_size_ += content.size();
    co_return true;
  }
  if (proxy_ == nullptr) {
    const auto added = co_await transaction_->submission().add(content, deadline());
    co_return added.has_value();
  }
  proxied_size_ += content.size();
  const auto added = co_await proxy_->add(std::move(content));
  if (!added) {
    (void)proxy_failed(settings_->smtpd.smtpd_proxy_filter, added.error());
    proxy_content_failed_ = true;
  }
  co_return added.has_value();
}

std::uint64_t Session::content_size() const {
  return has_proxy_filter() ? proxied_size_ : transaction_->submission_size();
}

}  // namespace postern::smtpd
