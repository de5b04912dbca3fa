#include "common/smtpclient/transaction.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/mailauth/converted_top.h"

namespace postern::smtpclient {

namespace {

// Replies to one group fit into any socket buffer, as do its commands.
constexpr std::size_t kMaxGroupBytes = std::size_t{16} << 10;
constexpr std::size_t kMaxGroupCommands = 100;
constexpr std::chrono::seconds kSendTime{300};
// A server that has closed its side while it was sent to may have said why.
constexpr std::chrono::seconds kLastWordTime{5};

}  // namespace

Transaction::Transaction(Connection& connection, Job& job, SettingsPtr settings,
                         BufferPool& buffers, bool is_final, ipc::TablesClient* tables)
    : connection_(connection),
      job_(job),
      settings_(std::move(settings)),
      buffers_(buffers),
      is_final_(is_final),
      tables_(tables),
      states_(job.recipients(), State::kOpen),
      is_probe_(job.is_probe()) {
  for (std::size_t i = 0; i < states_.size(); ++i) {
    if (job_.is_reported(i)) states_[i] = State::kSettled;
  }
}

loop::Task<Transaction::End> Transaction::run() {
  ++connection_.uses;
  job_.mark_connected();
  const auto& message = job_.message();
  const Verdict obstacle = find_obstacle(connection_.endpoint(), message.envelope,
                                         message.layout.message_size, connection_.features());
  if (!obstacle.status.empty()) {
    fail_all(obstacle);
    co_return end_;
  }
  if (!is_sendable(job_.sender())) {
    fail_all(own_failure("5.1.7", "the sender address holds control characters"));
    co_return end_;
  }
  const bool is_mapped = co_await map_envelope();
  if (!is_mapped) co_return end_;
  const bool is_open = co_await send_envelope();
  if (!is_open) co_return end_;
  if (data_accepted_ && is_probe_) {
    // The server waits for content that will not come.
    end_ = End::kBroken;
  } else if (data_accepted_) {
    co_await send_message();
  } else if (end_ != End::kBroken && has_heard_) {
    // MAIL may still stand: RSET comes before whatever is said next.
    connection_.needs_reset = true;
  }
  co_return end_;
}

loop::Task<bool> Transaction::map_envelope() {
  if (tables_ == nullptr || settings_->params.smtp_generic_maps.empty()) co_return true;
  std::vector<std::string> addresses;
  addresses.push_back(job_.sender());
  for (std::size_t i = 0; i < states_.size(); ++i) {
    addresses.emplace_back(job_.recipient(i).address);
  }
  auto mapped = co_await map_generic(*tables_, settings_, std::move(addresses));
  if (!mapped) {
    log::warning("{}: {}", job_.queue_id(), mapped.error().text);
    fail_all(own_failure("4.3.0", "generic address mapping failed: " + mapped.error().text));
    co_return false;
  }
  mapped_ = *std::move(mapped);
  co_return true;
}

bool Transaction::is_downgraded() const {
  return !connection_.features().eight_bit_mime &&
         !settings_->params.disable_mime_output_conversion &&
         job_.message().envelope.encoding != queuefile::ContentEncoding::k7bit;
}

bool Transaction::is_data_probed() const {
  return settings_->params.smtp_address_verify_target == "data";
}

std::vector<Transaction::Sent> Transaction::plan_commands() {
  std::vector<Sent> commands;
  if (connection_.needs_reset) commands.push_back({Step::kRset});
  if (settings_->params.smtp_send_xforward_command) {
    const auto& client = job_.message().envelope;
    for (std::size_t part = 0; part < kXforwardParts; ++part) {
      if (!xforward_command(client, job_.queue_id(), connection_.features(), part).empty()) {
        commands.push_back({Step::kXforward, part});
      }
    }
  }
  commands.push_back({Step::kMail});
  for (std::size_t i = 0; i < states_.size(); ++i) {
    if (states_[i] != State::kOpen) continue;
    if (is_sendable(job_.recipient(i).address)) {
      commands.push_back({Step::kRcpt, i});
    } else {
      fail_one(i, own_failure("5.1.3", "the address holds control characters"));
    }
  }
  // A probe wants to hear no more than this.
  if (!is_probe_ || is_data_probed()) commands.push_back({Step::kData});
  return commands;
}

std::string Transaction::text_of(const Sent& command) const {
  const bool quote = settings_->params.smtp_quote_rfc821_envelope;
  switch (command.step) {
    case Step::kRset:
      return "RSET";
    case Step::kMail: {
      const auto& message = job_.message();
      const std::string& sender = mapped_.empty() ? job_.sender() : mapped_.front();
      smtpwire::Features features = connection_.features();
      // Converted, it has another size: where that may be, Postfix says none.
      features.size =
          features.size &&
          (features.eight_bit_mime || settings_->params.disable_mime_output_conversion ||
           message.envelope.encoding == queuefile::ContentEncoding::k7bit);
      std::string line =
          mail_command(sender, message.envelope, message.layout.message_size, features, quote);
      if (connection_.sends_require_tls) line += " REQUIRETLS";
      if (connection_.is_logged_in && settings_->login.sends_dummy_sender) line += " AUTH=<>";
      return line;
    }
    case Step::kXforward:
      return xforward_command(job_.message().envelope, job_.queue_id(), connection_.features(),
                              command.recipient);
    case Step::kRcpt: {
      Recipient recipient = job_.recipient(command.recipient);
      if (!mapped_.empty()) recipient.address = mapped_[command.recipient + 1];
      return rcpt_command(recipient, connection_.features(), quote);
    }
    default:
      return "DATA";
  }
}

std::chrono::seconds Transaction::timeout_of(Step step) const {
  const auto& params = settings_->params;
  switch (step) {
    case Step::kRset:
      return params.smtp_rset_timeout;
    case Step::kXforward:
      return params.smtp_xforward_timeout;
    case Step::kMail:
      return params.smtp_mail_timeout;
    case Step::kRcpt:
      return params.smtp_rcpt_timeout;
    case Step::kData:
      return params.smtp_data_init_timeout;
    default:
      return params.smtp_data_done_timeout;
  }
}

// False: the transaction is over.
loop::Task<bool> Transaction::send_envelope() {
  const std::vector<Sent> commands = plan_commands();
  if (std::ranges::find(states_, State::kOpen) == states_.end()) co_return false;
  const bool pipelining = connection_.features().pipelining;
  std::vector<Sent> group;
  std::size_t group_bytes = 0;
  for (std::size_t i = 0; i < commands.size(); ++i) {
    const Sent& command = commands[i];
    // After a refusal nothing more is sent; DATA without recipients would only be refused.
    const bool is_pointless = mail_refused_ || (command.step == Step::kData && accepted_ == 0);
    if (group.empty() && is_pointless) break;
    const std::string text = text_of(command);
    group_bytes += text.size() + 2;
    connection_.log_command(text);
    connection_.stream().put(text);
    connection_.stream().put("\r\n");
    group.push_back(command);
    const bool is_full = !pipelining || i + 1 == commands.size() || group_bytes >= kMaxGroupBytes ||
                         group.size() >= kMaxGroupCommands;
    if (!is_full) continue;
    const bool is_open = co_await send_group(std::exchange(group, {}));
    if (!is_open) co_return false;
    group_bytes = 0;
  }
  co_return true;
}

loop::Task<bool> Transaction::send_group(std::vector<Sent> group) {
  Connection::Reply reply;
  reply.io = co_await connection_.stream().flush(loop::Clock::now() + kSendTime);
  if (reply.io != loop::Io::kOk && reply.io != loop::Io::kError) {
    lost(reply, group.front().step);
    co_return false;
  }
  for (const Sent& command : group) {
    // After a failed write the server's last words may still wait to be read.
    const auto timeout = reply.io == loop::Io::kOk ? timeout_of(command.step) : kLastWordTime;
    reply = co_await connection_.read_reply(timeout);
    const bool is_goodbye = reply.is_ok() && reply.reply.code == 421;
    const bool has_ended = is_goodbye || reply.io == loop::Io::kEof || reply.io == loop::Io::kError;
    const bool no_reset =
        command.step == Step::kRset && !(reply.is_ok() && reply.reply.klass() == '2');
    if (no_reset || (connection_.uses > 1 && !has_heard_ && has_ended)) {
      end_ = End::kStale;
      co_return false;
    }
    if (command.step == Step::kRset) {
      connection_.needs_reset = false;
      continue;
    }
    if (!reply.is_ok()) {
      lost(reply, command.step);
      co_return false;
    }
    has_heard_ = true;
    judge(command, std::move(reply.reply));
  }
  co_return true;
}

void Transaction::judge(const Sent& command, smtpwire::ServerReply reply) {
  if (reply.code == 421) end_ = End::kSpent;
  const Endpoint& endpoint = connection_.endpoint();
  switch (command.step) {
    case Step::kXforward:
      if (reply.klass() != '2') {
        log::warning("{}: {}", job_.queue_id(),
                     log::clean(said(endpoint, reply, Step::kXforward).text));
      }
      return;
    case Step::kMail:
      if (reply.klass() == '2') return;
      mail_refused_ = true;
      fail_all(said(endpoint, reply, Step::kMail));
      return;
    case Step::kRcpt:
      if (mail_refused_) return;
      if (reply.klass() == '2') {
        states_[command.recipient] = State::kAccepted;
        ++accepted_;
        if (is_probe_ && !is_data_probed()) {
          --accepted_;
          succeed(command.recipient, reply);
        }
        return;
      }
      correct_rcpt_reply(reply);
      fail_one(command.recipient, said(endpoint, reply, Step::kRcpt));
      return;
    default:
      data_accepted_ = reply.klass() == '3';
      if (data_accepted_ && is_probe_) {
        for (std::size_t i = 0; i < states_.size(); ++i) {
          if (states_[i] == State::kAccepted) succeed(i, reply);
        }
      }
      if (data_accepted_) return;
      // Out of step: what it takes for commands is anybody's guess.
      if (reply.klass() == '2') end_ = End::kSpent;
      if (accepted_ > 0) fail_all(said(endpoint, reply, Step::kData));
      return;
  }
}

loop::Task<void> Transaction::send_message() {
  if (accepted_ == 0) {
    // The server waits for content that is for nobody: end it, and do not stay to hear what it
    // says.
    connection_.stream().put(".\r\n");
    end_ = End::kSpent;
    co_return;
  }
  const auto& params = settings_->params;
  const auto line_limit = static_cast<std::size_t>(params.smtp_line_length_limit);
  Outgoing changes(settings_, tables_, job_.queue_id(), is_downgraded());
  if (is_downgraded()) {
    changes.set_converted_top(std::string(job_.attribute(mailauth::kConvertedTop)));
  }
  Outgoing* const needed = changes.is_needed() ? &changes : nullptr;
  ContentResult sent = co_await send_content(connection_.stream(), job_, buffers_, line_limit,
                                             params.smtp_data_xfer_timeout, needed);
  if (!sent.read_error.empty()) {
    log::warning("{}: read queue file: {}", job_.queue_id(), sent.read_error);
    fail_all(own_failure("4.3.0", "cannot read the message: " + sent.read_error));
    // Without the final dot the server drops what it has.
    end_ = End::kBroken;
    co_return;
  }
  if (sent.io != loop::Io::kOk) {
    Connection::Reply last;
    last.io = sent.io;
    if (sent.io == loop::Io::kError) last = co_await connection_.read_reply(kLastWordTime);
    end_ = End::kBroken;
    if (last.is_ok() && last.reply.klass() >= '4') {
      fail_all(said(connection_.endpoint(), last.reply, Step::kEndOfData));
    } else {
      lost(last, Step::kContent);
    }
    co_return;
  }
  co_await read_outcome();
}

loop::Task<void> Transaction::read_outcome() {
  const auto timeout = timeout_of(Step::kEndOfData);
  if (!settings_->is_lmtp()) {
    const Connection::Reply reply = co_await connection_.read_reply(timeout);
    if (!reply.is_ok()) {
      lost(reply, Step::kEndOfData);
      co_return;
    }
    if (reply.reply.code == 421 || reply.reply.klass() == '3') end_ = End::kSpent;
    if (reply.reply.klass() != '2') {
      fail_all(said(connection_.endpoint(), reply.reply, Step::kEndOfData));
      co_return;
    }
    for (std::size_t i = 0; i < states_.size(); ++i) {
      if (states_[i] == State::kAccepted) succeed(i, reply.reply);
    }
    co_return;
  }
  // RFC 2033 4.2: one reply for each RCPT that was accepted, in their order.
  for (std::size_t i = 0; i < states_.size(); ++i) {
    if (states_[i] != State::kAccepted) continue;
    const Connection::Reply reply = co_await connection_.read_reply(timeout);
    if (!reply.is_ok()) {
      lost(reply, Step::kEndOfData);
      co_return;
    }
    if (reply.reply.code == 421 || reply.reply.klass() == '3') end_ = End::kSpent;
    if (reply.reply.klass() == '2') {
      succeed(i, reply.reply);
    } else {
      fail_one(i, said(connection_.endpoint(), reply.reply, Step::kEndOfData));
    }
  }
}

void Transaction::lost(const Connection::Reply& reply, Step step) {
  end_ = End::kBroken;
  const Verdict verdict = connection_.failure(reply, step);
  if (is_kept_when_lost_) {
    log::info("{}: {}", job_.queue_id(), log::clean(verdict.text));
    std::ranges::fill(states_, State::kSettled);
    accepted_ = 0;
    return;
  }
  if (is_final_) job_.mark_destination_failure();
  fail_all(verdict);
}

void Transaction::fail_all(const Verdict& verdict) {
  const bool keep = is_kept(verdict, is_final_, settings_->soft_bounce);
  if (keep) {
    log::info("{}: {}", job_.queue_id(), log::clean(verdict.text));
  }
  for (std::size_t i = 0; i < states_.size(); ++i) {
    if (states_[i] == State::kSettled) continue;
    states_[i] = State::kSettled;
    if (keep) continue;
    Verdict own = verdict;
    own.conn_use = connection_.uses;
    job_.failed(i, own);
  }
  accepted_ = 0;
}

void Transaction::fail_one(std::size_t recipient, Verdict verdict) {
  if (states_[recipient] == State::kAccepted) --accepted_;
  states_[recipient] = State::kSettled;
  if (is_kept(verdict, is_final_, settings_->soft_bounce)) {
    log::info("{}: {}", job_.queue_id(), log::clean(verdict.text));
    return;
  }
  verdict.conn_use = connection_.uses;
  job_.failed(recipient, verdict);
}

void Transaction::succeed(std::size_t recipient, const smtpwire::ServerReply& reply) {
  Verdict verdict = accepted(connection_.endpoint(), reply);
  verdict.conn_use = connection_.uses;
  // Where the server promises notices itself (RFC 3461), the sender's wish has been passed on.
  if (!connection_.features().dsn) {
    verdict.action = settings_->lmtp_assume_final ? "delivered" : "relayed";
  }
  states_[recipient] = State::kSettled;
  job_.delivered(recipient, verdict);
}

}  // namespace postern::smtpclient
