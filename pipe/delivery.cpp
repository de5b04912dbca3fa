#include "pipe/delivery.h"

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/log/log.h"
#include "common/mail/address.h"

namespace postern::pipe {

Agent::Agent(const config::Values& values, std::string service, CommandLine line,
             agent::Identity who, sys::Fd broker)
    : service_(std::move(service)),
      line_(std::move(line)),
      who_(std::move(who)),
      deliverers_(std::move(broker)) {
  configure(values);
}

void Agent::configure(const config::Values& values) {
  auto settings = std::make_shared<Settings>();
  settings->time_limit = config::transport_duration(values, service_, "_time_limit");
  settings->environment = agent::command_environment(values.list("export_environment"),
                                                     values.text("config_directory"));
  settings->queue_directory = values.text("queue_directory");
  settings->recipient_delimiter = values.text("recipient_delimiter");
  settings->adds_original_to = values.flag("enable_original_recipient");
  settings_ = std::move(settings);
}

agent::Verdict Agent::verdict(std::string_view status, std::string text) const {
  agent::Verdict result;
  result.status = status;
  result.text = std::move(text);
  result.relay = service_;
  return result;
}

loop::Task<void> Agent::deliver(std::shared_ptr<agent::Delivery> delivery) {
  const queuefile::Message* message = co_await delivery->open();
  if (message == nullptr) co_return;
  const std::uint64_t size = message->layout.message_size;
  if (line_.size_limit > 0 && size > line_.size_limit) {
    delivery->fail_rest(verdict("5.2.3", "message too large"));
    co_return;
  }
  std::vector<std::size_t> recipients;
  const std::string header = line_.has('D') ? agent::header_of(*delivery, *message) : std::string();
  for (std::size_t i = 0; i < delivery->recipients().size(); ++i) {
    const std::string& address = delivery->recipients()[i].address;
    if (line_.has('D') && agent::was_delivered_to(header, mail::quote_address(address))) {
      delivery->bounced(i, verdict("5.4.6", fmt::format("mail forwarding loop for {}", address)));
      continue;
    }
    recipients.push_back(i);
  }
  if (!recipients.empty()) co_await run(*delivery, *message, std::move(recipients));
}

// The null sender has another name here, in header and command line.
const std::string& Agent::sender_of(const agent::Delivery& delivery) const {
  const std::string& sender = delivery.request().sender;
  return sender.empty() ? line_.null_sender : sender;
}

std::string Agent::prepended(const agent::Delivery& delivery,
                             const std::vector<std::size_t>& recipients) const {
  const std::string sender = mail::quote_address(sender_of(delivery));
  std::string out;
  if (line_.has('F')) {
    out += agent::from_line(sender,
                            std::chrono::system_clock::to_time_t(std::chrono::system_clock::now()));
  }
  const auto& first = delivery.recipients()[recipients.front()];
  const std::string fields = agent::mailbox_headers(
      sender,
      line_.has('O') && settings_->adds_original_to ? mail::quote_address(first.orig_to)
                                                    : std::string(),
      line_.has('D') ? mail::quote_address(first.address) : std::string());
  // Return-Path comes first, and is the R flag's.
  out += line_.has('R') ? fields : fields.substr(fields.find('\n') + 1);
  return out;
}

loop::Task<void> Agent::run(agent::Delivery& delivery, const queuefile::Message& message,
                            std::vector<std::size_t> recipients) {
  // D and O name one recipient; more of them can only come by a wrong configuration.
  if (recipients.size() > 1 && (line_.has('D') || line_.has('O'))) {
    log::warning("pipe flag D or O requires {}_destination_recipient_limit = 1", service_);
    delivery.defer_rest(verdict("4.3.5", "mail system configuration error"));
    co_return;
  }
  const auto settings = settings_;
  const queuefile::Envelope& envelope = message.envelope;
  MacroValues values;
  values.queue_id = delivery.queue_id();
  values.nexthop = delivery.request().nexthop;
  values.sender = sender_of(delivery);
  values.size = fmt::format("{}", message.layout.message_size);
  values.client_address = envelope.client.address;
  values.client_helo = envelope.client.helo;
  values.client_hostname = envelope.client.name;
  values.client_port = envelope.client.port;
  values.client_protocol = envelope.client.protocol;
  values.sasl_method = envelope.sasl_method;
  values.sasl_sender = envelope.sasl_sender;
  values.sasl_username = envelope.sasl_username;
  values.envid = envelope.dsn_envid;
  values.recipient_delimiter = settings->recipient_delimiter;
  for (const std::size_t i : recipients) {
    const auto& recipient = delivery.recipients()[i];
    values.recipients.push_back({recipient.address, recipient.orig_to});
  }
  auto arguments = expand_arguments(line_, values);
  if (!arguments) {
    log::warning("service {}: {}", service_, arguments.error().text);
    delivery.defer_rest(verdict("4.3.5", "mail system configuration error"));
    co_return;
  }
  if (delivery.request().is_probe) {
    agent::Verdict would;
    would.status = "2.0.0";
    would.text = "delivers to command: " + arguments->front();
    would.relay = service_;
    for (const std::size_t i : recipients) delivery.delivered(i, would);
    co_return;
  }
  agent::Job job =
      agent::command_job(message, prepended(delivery, recipients), settings->time_limit);
  job.arguments = *std::move(arguments);
  job.environment = settings->environment;
  job.directory = line_.directory.empty() ? settings->queue_directory : line_.directory;
  job.must_have_directory = !line_.directory.empty();
  job.eol = line_.eol;
  job.quote_from = line_.has('>');
  job.stuff_dots = line_.has('.');
  job.end_blank = line_.has('B');
  const auto reply = co_await deliverers_.run(who_, std::move(job), delivery.fd());
  agent::Verdict result = agent::verdict_of(reply, delivery.queue_id(), service_);
  const bool is_delivered = result.status.starts_with('2');
  if (is_delivered) {
    result.text = fmt::format("delivered via {} service", service_);
    const std::string_view said = trim(reply->output);
    if (!said.empty()) result.text += fmt::format(" ({})", said);
    // X: the command is the end of the way; without it, it passes the message on.
    result.action = line_.has('X') ? "delivered" : "relayed";
  }
  for (const std::size_t i : recipients) {
    if (is_delivered) {
      delivery.delivered(i, result);
    } else {
      delivery.failed(i, result);
    }
  }
}

}  // namespace postern::pipe
