#include "smtpd/milters.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/log/log.h"
#include "common/loop/gather.h"
#include "common/mail/address.h"
#include "common/mail/status.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

constexpr std::chrono::seconds kTablesTime{100};

void append_string(std::string& out, std::string_view text) {
  out += text.substr(0, text.find('\0'));
  out += '\0';
}

// "550 5.7.1 text", perhaps in several lines that repeat the code.
mail::Reply reply_of(std::string_view text) {
  mail::Reply reply;
  reply.code = parse_integer<int>(text.substr(0, 3)).value_or(451);
  for (std::string_view line : split_fields(text, '\n')) {
    while (line.ends_with('\r')) line.remove_suffix(1);
    reply.lines.emplace_back(line.size() > 4 ? line.substr(4) : std::string_view());
  }
  return reply;
}

}  // namespace

loop::Task<void> SessionMilters::open(ipc::Client& broker) {
  set("{daemon_name}", settings_.daemon_name);
  set("v", settings_.v);
  loop::Gather all;
  for (const auto& spec : settings_.milters) {
    filters_.push_back(std::make_unique<milter::Filter>(spec));
    all.add(open_one(*filters_.back(), broker));
  }
  co_await all.done();
}

loop::Task<void> SessionMilters::open_one(milter::Filter& filter, ipc::Client& broker) {
  const auto& spec = filter.spec();
  const bool has_place =
      co_await places_.take(spec.number, limit_, loop::Clock::now() + spec.command_timeout);
  if (!has_place) {
    filter.fail("milter_connection_limit: too many sessions use it");
    co_return;
  }
  taken_.push_back(spec.number);
  co_await filter.open(broker);
}

SessionMilters::~SessionMilters() {
  filters_.clear();  // first the connections
  for (const auto number : taken_) places_.leave(number);
}

std::string SessionMilters::macro(std::string_view name) const {
  const auto found = macros_.find(name);
  if (found != macros_.end() && !found->second.empty()) return found->second;
  const auto otherwise = settings_.macro_defaults.find(name);
  return otherwise == settings_.macro_defaults.end() ? std::string() : otherwise->second;
}

SessionMilters::RecipientMacros SessionMilters::recipient_macros() const {
  RecipientMacros values;
  for (std::size_t i = 0; i < kOfRecipient.size(); ++i) {
    const auto found = macros_.find(kOfRecipient[i]);
    if (found != macros_.end()) values[i] = found->second;
  }
  return values;
}

void SessionMilters::set_recipient_macros(const RecipientMacros& values) {
  for (std::size_t i = 0; i < kOfRecipient.size(); ++i) {
    set(std::string(kOfRecipient[i]), values[i]);
  }
}

const std::vector<std::string>& SessionMilters::names_of(char command) const {
  switch (command) {
    case milter::kConnect:
      return settings_.connect_macros;
    case milter::kHelo:
      return settings_.helo_macros;
    case milter::kMail:
      return settings_.mail_macros;
    case milter::kRcpt:
      return settings_.rcpt_macros;
    case milter::kData:
      return settings_.data_macros;
    default:
      return settings_.unknown_command_macros;
  }
}

// All filters hear of an event at once, and the first one that stops it decides: those behind it
// hear next that the message, or the session, is over. A refused recipient has no such end, the
// message goes on without it: those behind must not hear of it, so they are asked in turn.
loop::Task<milter::Decision> SessionMilters::show(char command, std::string payload) {
  const milter::MacroSource source = [this](std::string_view name) { return macro(name); };
  milter::Decision total;
  if (is_discard_) co_return total;
  const bool is_side_by_side = command != milter::kRcpt && filters_.size() > 1;
  std::vector<milter::Decision> decisions(filters_.size());
  if (is_side_by_side) {
    loop::Gather all;
    for (std::size_t i = 0; i < filters_.size(); ++i) {
      all.add(loop::store(filters_[i]->show(command, payload, names_of(command), source),
                          &decisions[i]));
    }
    co_await all.done();
  }
  for (std::size_t i = 0; i < filters_.size(); ++i) {
    if (!is_side_by_side) {
      decisions[i] = co_await filters_[i]->show(command, payload, names_of(command), source);
    }
    const milter::Decision& decision = decisions[i];
    total.is_hold = total.is_hold || decision.is_hold;
    is_hold_ = is_hold_ || decision.is_hold;
    if (!decision.stops()) continue;
    is_discard_ = decision.is_discard;
    total.reply = decision.reply;
    total.is_discard = decision.is_discard;
    co_return total;
  }
  co_return total;
}

loop::Task<void> SessionMilters::show_rejected(std::string payload) {
  const milter::MacroSource source = [this](std::string_view name) { return macro(name); };
  for (auto& filter : filters_) {
    if (!filter->wants_rejected()) continue;
    (void)co_await filter->show(milter::kRcpt, payload, names_of(milter::kRcpt), source);
  }
}

loop::Task<std::pair<ipc::milter::Handover, std::vector<sys::Fd>>> SessionMilters::hand_over() {
  std::pair<ipc::milter::Handover, std::vector<sys::Fd>> out;
  auto& [handover, fds] = out;
  handover.is_given = true;
  for (auto& filter : filters_) {
    co_await filter->flush();
    auto state = filter->state();
    auto fd = filter->copy_of_descriptor();
    state.has_failed = state.has_failed || !fd;
    if (fd) fds.push_back(*std::move(fd));
    handover.filters.push_back(std::move(state));
  }
  // As Postfix has it, no more than this is known while the content is shown.
  constexpr std::array<std::string_view, 11> kOfContent = {"_",
                                                           "i",
                                                           "j",
                                                           "v",
                                                           "{auth_authen}",
                                                           "{auth_author}",
                                                           "{auth_type}",
                                                           "{client_addr}",
                                                           "{client_name}",
                                                           "{client_ptr}",
                                                           "{daemon_name}"};
  for (const auto& [name, value] : macros_) {
    const bool is_known = std::ranges::find(kOfContent, name) != kOfContent.end();
    if (!value.empty() && is_known) handover.macros.push_back({name, value});
  }
  for (const auto& [name, value] : settings_.macro_defaults) {
    const auto is_given = [&](const auto& macro) { return macro.name == name; };
    if (std::ranges::none_of(handover.macros, is_given)) handover.macros.push_back({name, value});
  }
  handover.end_of_header_macros = settings_.end_of_header_macros;
  handover.end_of_data_macros = settings_.end_of_data_macros;
  is_content_done_ = false;
  co_return out;
}

void SessionMilters::end_message() {
  for (auto& filter : filters_) {
    if (is_content_done_) {
      filter->message_done();
    } else {
      filter->abort();
    }
  }
  is_content_done_ = false;
  is_discard_ = false;
  for (const char* name : {"i", "{mail_addr}", "{mail_host}", "{mail_mailer}", "{rcpt_addr}",
                           "{rcpt_host}", "{rcpt_mailer}"}) {
    macros_.erase(name);
  }
}

// ---- what a session tells of itself

loop::Task<void> Session::start_milters() {
  auto list = settings_->milters;
  if (!settings_->smtpd_milter_maps.empty()) {
    ipc::tables::Lookup question;
    question.tables = settings_->smtpd_milter_maps;
    question.keys.push_back({client_address_, false});
    const auto found =
        co_await neighbours().tables.lookup(std::move(question), loop::Clock::now() + kTablesTime);
    if (!found) {
      log::warning("smtpd_milter_maps: {}", found.error().text);
    } else if (found->is_found) {
      list.milters.clear();
      for (const auto& word : config::split_list(found->value)) {
        if (equal_nocase(word, "DISABLE")) continue;
        auto spec = milter::parse_spec(word, list.defaults);
        if (spec) {
          list.milters.push_back(*std::move(spec));
        } else {
          log::warning("smtpd_milter_maps: {}", spec.error().text);
        }
      }
    }
  }
  if (list.milters.empty()) co_return;
  milters_ = std::make_unique<SessionMilters>(std::move(list), neighbours().milter_places,
                                              settings_->smtpd.milter_connection_limit);
  milters_->set("j", settings_->address.myhostname);
  milters_->set("_", fmt::format("{} [{}]", client_name_, client_address_));
  milters_->set("{client_name}", client_name_);
  milters_->set("{client_addr}", client_address_);
  milters_->set("{client_port}", client_port());
  milters_->set("{client_ptr}", reverse_name_);
  if (limits_ != nullptr) {
    milters_->set("{client_connections}", std::to_string(limits_->connections));
  }
  using Status = ipc::resolver::Status;
  milters_->set("{client_resolve}", name_status_ == Status::kFound       ? "OK"
                                    : name_status_ == Status::kTemporary ? "TEMP"
                                    : reverse_status_ == Status::kFound  ? "FORGED"
                                                                         : "FAIL");
  set_tls_macros();
  co_await milters_->open(neighbours().broker);
}

loop::Task<std::optional<mail::Reply>> Session::ask_milters(char command, std::string payload,
                                                            std::string_view where,
                                                            std::string recipient) {
  if (milters_ == nullptr) co_return std::nullopt;
  if (is_authenticated()) {
    milters_->set("{auth_type}", sasl_method());
    milters_->set("{auth_authen}", sasl_username());
    milters_->set("{auth_author}", sasl_sender());
  }
  const std::string at(where);
  const auto decision = co_await milters_->show(command, std::move(payload));
  const auto log = [&](std::string_view action, std::string_view said) {
    log_action(fmt::format("milter-{}", action), said, at, recipient, !recipient.empty(),
               sasl_username());
  };
  if (decision.is_hold) log("hold", "milter triggers HOLD action");
  if (decision.is_discard) log("discard", "milter triggers DISCARD action");
  if (decision.reply.empty()) co_return std::nullopt;
  mail::Reply reply = reply_of(decision.reply);
  note_rejection(reply);
  log("reject", reply.to_line());
  co_return reply;
}

loop::Task<std::optional<mail::Reply>> Session::milter_connect() {
  if (milters_ == nullptr) co_return std::nullopt;
  std::string payload;
  append_string(payload,
                client_name_ == "unknown" ? fmt::format("[{}]", client_address_) : client_name_);
  if (!ip_) {
    payload += 'U';
  } else {
    payload += client_address_.find(':') == std::string::npos ? '4' : '6';
    const auto port = parse_integer<std::uint16_t>(client_port()).value_or(0);
    payload += static_cast<char>(port >> 8U);
    payload += static_cast<char>(port & 0xffU);
    append_string(payload, client_address_);
  }
  co_return co_await ask_milters(milter::kConnect, std::move(payload), "CONNECT");
}

loop::Task<std::optional<mail::Reply>> Session::milter_helo(std::string_view where) {
  if (milters_ == nullptr) co_return std::nullopt;
  const std::string at(where);
  std::string payload;
  append_string(payload, helo_);
  co_return co_await ask_milters(milter::kHelo, std::move(payload), at);
}

// The address as it came and the ESMTP parameters, each a string of its own.
std::string Session::milter_arguments(std::string_view argument) {
  std::string payload;
  argument.remove_prefix(std::min(argument.find(':') + 1, argument.size()));
  mail::PathError error{};
  std::string_view rest = argument;
  const auto path = mail::parse_path(rest, {false, true}, error);
  append_string(payload, fmt::format("<{}>", path ? path->original : std::string()));
  for (const auto word : split_words(rest)) append_string(payload, word);
  return payload;
}

loop::Task<std::optional<mail::Reply>> Session::milter_mail(std::string argument) {
  if (milters_ == nullptr) co_return std::nullopt;
  co_await set_milter_address("mail", sender_.value_or(""));
  co_return co_await ask_milters(milter::kMail, milter_arguments(argument), "MAIL");
}

loop::Task<std::optional<mail::Reply>> Session::milter_rcpt(std::string argument,
                                                            std::string address) {
  if (milters_ == nullptr) co_return std::nullopt;
  if (transaction_) milters_->set("i", transaction_->queue_id());
  const auto last = milters_->recipient_macros();
  co_await set_milter_address("rcpt", address);
  auto refusal = co_await ask_milters(milter::kRcpt, milter_arguments(argument), "RCPT", address);
  // DATA is about the first one that is accepted.
  const bool is_first = !transaction_ || transaction_->recipients() == 0;
  if (refusal || !is_first) milters_->set_recipient_macros(last);
  co_return refusal;
}

loop::Task<void> Session::milter_rejected_rcpt(std::string argument, const mail::Reply& reply) {
  if (milters_ == nullptr) co_return;
  const auto last = milters_->recipient_macros();
  milters_->set("{rcpt_mailer}", "error");
  if (transaction_) milters_->set("i", transaction_->queue_id());
  // The status where a host would be, and the text, which names the recipient first.
  const std::string line = reply.to_line();
  const auto said = mail::status_of_reply(
      reply.code, std::string_view(line).substr(std::min<std::size_t>(4, line.size())));
  std::string_view text = said.text;
  const std::string subject = fmt::format("<{}>: ", recipient_in_check_);
  if (text.starts_with(subject)) text.remove_prefix(subject.size());
  milters_->set("{rcpt_host}", said.status.to_string());
  milters_->set("{rcpt_addr}", std::string(text));
  co_await milters_->show_rejected(milter_arguments(argument));
  milters_->set_recipient_macros(last);
}

loop::Task<std::optional<mail::Reply>> Session::milter_data(std::string_view where) {
  if (milters_ == nullptr) co_return std::nullopt;
  const std::string at(where);
  milters_->set("i", transaction_->queue_id());
  const auto& recipients = transaction_->envelope().recipients;
  const std::string first = recipients.empty() ? std::string() : recipients.front().address;
  co_return co_await ask_milters(milter::kData, {}, at, first);
}

loop::Task<void> Session::set_milter_address(std::string which, std::string address) {
  ipc::tables::Resolve question;
  question.sender = sender_.value_or("");
  question.address = address;
  std::string host;
  std::string mailer;
  if (!address.empty()) {
    const auto resolved =
        co_await neighbours().tables.resolve(std::move(question), loop::Clock::now() + kTablesTime);
    if (resolved) {
      host = resolved->nexthop;
      mailer = resolved->transport;
    }
  }
  milters_->set(fmt::format("{{{}_addr}}", which), std::move(address));
  milters_->set(fmt::format("{{{}_host}}", which), std::move(host));
  milters_->set(fmt::format("{{{}_mailer}}", which), std::move(mailer));
}

loop::Task<void> Session::hand_over_milters() {
  // What a filter has discarded no filter sees more of.
  if (milters_ == nullptr || !transaction_ || milters_->is_discard()) co_return;
  auto [handover, fds] = co_await milters_->hand_over();
  transaction_->set_milters(std::move(handover), std::move(fds));
}

}  // namespace postern::smtpd
