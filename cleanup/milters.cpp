#include "cleanup/milters.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/loop/gather.h"
#include "common/mail/address.h"
#include "common/mail/header.h"

namespace postern::cleanup {

namespace {

using milter::Decision;
using milter::Reply;

// A NUL behind each.
std::string strings(std::initializer_list<std::string_view> parts) {
  std::string out;
  for (const auto part : parts) {
    out += part.substr(0, part.find('\0'));
    out += '\0';
  }
  return out;
}

// Content has LF here, and CR LF there.
std::string with_crlf(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 32);
  for (const char c : text) {
    if (c == '\n') out += '\r';
    out += c;
  }
  return out;
}

// CR LF back to LF, over packets that may part the two.
class LineEnds {
 public:
  std::string to_lf(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (const char c : text) {
      if (has_cr_ && c != '\n') out += '\r';
      has_cr_ = c == '\r';
      if (!has_cr_) out += c;
    }
    return out;
  }

 private:
  bool has_cr_ = false;
};

std::string_view name_of(const std::string& field) {
  return std::string_view(field).substr(0, mail::header_name_length(field));
}

// `index` counts fields of this name from 1. Our own trace field, which no filter is shown, is not
// counted, wherever it stands by now.
std::optional<std::size_t> find_field(const std::vector<std::string>& fields, std::string_view own,
                                      std::string_view name, std::uint32_t index) {
  std::uint32_t seen = 0;
  const std::uint32_t wanted = std::max<std::uint32_t>(index, 1);
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (fields[i] != own && equal_nocase(name_of(fields[i]), name) && ++seen == wanted) return i;
  }
  return std::nullopt;
}

std::string compose_field(const Reply& reply, bool keeps_leading_space) {
  std::string value = replace_all(reply.text, "\r\n", "\n");
  // No value may end the header.
  while (value.ends_with('\n')) value.pop_back();
  std::string text;
  for (std::size_t i = 0; i < value.size(); ++i) {
    text += value[i];
    if (value[i] != '\n' || i + 1 == value.size()) continue;
    if (value[i + 1] != ' ' && value[i + 1] != '\t') text += '\t';
  }
  return fmt::format("{}:{}{}", reply.name, keeps_leading_space ? "" : " ", text);
}

std::string address_of(std::string_view text) {
  const auto addresses = mail::AddressList::parse(text).addresses();
  return addresses.empty() ? std::string() : mail::unquote_address(addresses.front());
}

}  // namespace

Milters::Milters(ipc::milter::Handover handover, std::vector<sys::Fd> fds) {
  std::size_t next = 0;
  for (auto& state : handover.filters) {
    sys::Fd fd;
    if (!state.has_failed && next < fds.size()) fd = std::move(fds[next++]);
    if (!fd) state.has_failed = true;
    filters_.push_back(std::make_unique<milter::Filter>(std::move(state), std::move(fd)));
  }
  for (auto& value : handover.macros) macros_[std::move(value.name)] = std::move(value.value);
  settings_.end_of_header_macros = std::move(handover.end_of_header_macros);
  settings_.end_of_data_macros = std::move(handover.end_of_data_macros);
}

std::string Milters::macro(std::string_view name) const {
  const auto found = macros_.find(name);
  if (found != macros_.end()) return found->second;
  const auto otherwise = settings_.macro_defaults.find(name);
  return otherwise == settings_.macro_defaults.end() ? std::string() : otherwise->second;
}

loop::Task<Decision> Milters::begin(ipc::Client& broker, Local local) {
  loop::Gather all;
  for (const auto& spec : settings_.milters) {
    filters_.push_back(std::make_unique<milter::Filter>(spec));
    all.add(filters_.back()->open(broker));
  }
  co_await all.done();
  set_macro("_", "localhost [127.0.0.1]");
  set_macro("{client_name}", "localhost");
  set_macro("{client_addr}", "127.0.0.1");
  set_macro("{client_ptr}", "localhost");
  set_macro("{daemon_name}", settings_.daemon_name);
  set_macro("v", settings_.v);
  const milter::MacroSource source = [this](std::string_view name) { return macro(name); };

  struct Step {
    char command;
    std::string payload;
    const std::vector<std::string>& names;
    std::string address;
    std::string_view name;
  };
  std::string connect = strings({"localhost"});
  connect += '4';
  connect += std::string_view("\0\0", 2);
  connect += strings({"127.0.0.1"});
  std::vector<Step> steps;
  steps.push_back({milter::kConnect, connect, settings_.connect_macros, {}, "CONNECT"});
  steps.push_back({milter::kHelo, strings({"localhost"}), settings_.helo_macros, {}, "HELO"});
  steps.push_back({milter::kMail, strings({mail::quote_address(local.sender)}),
                   settings_.mail_macros, local.sender, "MAIL"});
  for (const auto& recipient : local.recipients) {
    steps.push_back({milter::kRcpt, strings({mail::quote_address(recipient)}),
                     settings_.rcpt_macros, recipient, "RCPT"});
  }
  steps.push_back({milter::kData, {}, settings_.data_macros, {}, "DATA"});
  for (const auto& step : steps) {
    step_ = step.name;
    // Both are known from here on.
    if (step.command == milter::kMail) set_macro("{mail_addr}", step.address);
    if (step.command == milter::kRcpt) set_macro("{rcpt_addr}", step.address);
    Decision total;
    for (auto& filter : filters_) {
      const auto decision = co_await filter->show(step.command, step.payload, step.names, source);
      total.is_hold = total.is_hold || decision.is_hold;
      if (!decision.stops()) continue;
      total.reply = decision.reply;
      total.is_discard = decision.is_discard;
      co_return total;
    }
    if (total.is_hold) co_return total;
  }
  co_return Decision{};
}

loop::Task<void> Milters::give_up() {
  for (auto& filter : filters_) {
    filter->abort();
    co_await filter->flush();
  }
}

loop::Task<Decision> Milters::run(std::vector<std::string>& fields, MilterSubject& subject) {
  Decision total;
  own_field_.clear();
  if (!fields.empty() && equal_nocase(name_of(fields.front()), "Received")) {
    own_field_ = fields.front();
  }
  for (auto& filter : filters_) {
    Decision decision = co_await show_content(*filter, fields, subject);
    total.is_hold = total.is_hold || decision.is_hold;
    if (!decision.stops()) continue;
    total.reply = std::move(decision.reply);
    total.is_discard = decision.is_discard;
    break;
  }
  co_await give_up();
  co_return total;
}

loop::Task<Decision> Milters::show_content(milter::Filter& filter, std::vector<std::string>& fields,
                                           MilterSubject& subject) {
  const milter::MacroSource source = [this](std::string_view name) { return macro(name); };
  const auto& names = settings_.end_of_header_macros;
  if (filter.is_over()) co_return co_await filter.show(milter::kEndOfHeader, {}, names, source);
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (fields[i] == own_field_) continue;
    const std::string_view name = name_of(fields[i]);
    std::string_view value = std::string_view(fields[i]).substr(fields[i].find(':') + 1);
    if (!filter.keeps_leading_space() && value.starts_with(' ')) value.remove_prefix(1);
    std::string payload = strings({name, value});
    const Decision decision =
        co_await filter.show(milter::kHeader, std::move(payload), names, source);
    if (decision.stops() || decision.is_hold) co_return decision;
  }
  Decision decision = co_await filter.show(milter::kEndOfHeader, {}, names, source);
  if (decision.stops() || decision.is_hold) co_return decision;
  decision = co_await show_body(filter, subject);
  if (decision.stops() || decision.is_hold) co_return decision;

  LineEnds line_ends;
  bool is_body_new = false;
  bool is_held = false;
  const bool spaces = filter.keeps_leading_space();
  const auto apply = [&](Reply& reply) -> loop::Task<void> {
    switch (reply.kind) {
      case Reply::Kind::kAddHeader: {
        std::string field = co_await subject.check_field(compose_field(reply, spaces));
        if (!field.empty()) fields.push_back(std::move(field));
        break;
      }
      case Reply::Kind::kInsertHeader: {
        std::string field = co_await subject.check_field(compose_field(reply, spaces));
        const std::size_t at = std::min<std::size_t>(reply.index, fields.size());
        if (!field.empty()) {
          fields.insert(fields.begin() + static_cast<std::ptrdiff_t>(at), std::move(field));
        }
        break;
      }
      case Reply::Kind::kChangeHeader: {
        const auto at = find_field(fields, own_field_, reply.name, reply.index);
        if (reply.text.empty()) {
          if (at) fields.erase(fields.begin() + static_cast<std::ptrdiff_t>(*at));
          break;
        }
        std::string field = co_await subject.check_field(compose_field(reply, spaces));
        if (field.empty()) break;
        if (at) {
          fields[*at] = std::move(field);
        } else {
          fields.push_back(std::move(field));
        }
        break;
      }
      case Reply::Kind::kAddRecipient:
        subject.add_recipient(address_of(reply.text));
        break;
      case Reply::Kind::kDeleteRecipient:
        subject.delete_recipient(address_of(reply.text));
        break;
      case Reply::Kind::kChangeSender:
        subject.change_sender(address_of(reply.text));
        break;
      case Reply::Kind::kReplaceBody:
        if (!is_body_new) subject.restart_body();
        is_body_new = true;
        co_await subject.add_body(line_ends.to_lf(reply.text));
        break;
      case Reply::Kind::kQuarantine:
        is_held = true;
        break;
      default:
        break;
    }
  };
  decision = co_await filter.end_of_body(settings_.end_of_data_macros, source, apply);
  decision.is_hold = decision.is_hold || is_held;
  co_return decision;
}

loop::Task<Decision> Milters::show_body(milter::Filter& filter, MilterSubject& subject) {
  const milter::MacroSource source = [this](std::string_view name) { return macro(name); };
  std::uint64_t offset = 0;
  std::string waiting;
  bool at_end = false;
  while (filter.wants(milter::kBody) && !(at_end && waiting.empty())) {
    while (!at_end && waiting.size() < milter::kBodyChunk) {
      const auto piece = co_await subject.read_body(offset, milter::kBodyChunk);
      if (!piece) {
        Decision decision;
        decision.reply = "451 4.3.0 Error: queue file read error";
        co_return decision;
      }
      offset += piece->size();
      at_end = piece->empty();
      waiting += with_crlf(*piece);
    }
    if (waiting.empty()) break;
    std::string chunk = waiting.substr(0, milter::kBodyChunk);
    waiting.erase(0, chunk.size());
    const Decision decision =
        co_await filter.show(milter::kBody, std::move(chunk), settings_.end_of_data_macros, source);
    if (decision.stops() || decision.is_hold) co_return decision;
  }
  co_return Decision{};
}

}  // namespace postern::cleanup
