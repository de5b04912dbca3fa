#include "common/milter/filter.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/config/param.h"
#include "common/ipc/broker.h"
#include "common/log/log.h"

namespace postern::milter {

namespace {

constexpr std::string_view kRejected = "550 5.7.1 Command rejected";
constexpr std::string_view kTempfailed = "451 4.7.1 Service unavailable - try again later";
constexpr std::string_view kShutdown = "421 4.7.0 Service unavailable";
constexpr std::string_view kDefaultReject = "550 5.5.0 Service unavailable";

struct StepBits {
  char command;
  std::uint32_t not_wanted;
  std::uint32_t no_reply;
  std::uint32_t macro_stage;
};
constexpr std::uint32_t kNoStage = 99;
constexpr StepBits kSteps[] = {
    {kConnect, kNoConnect, kNoReplyConnect, 0},
    {kHelo, kNoHelo, kNoReplyHelo, 1},
    {kMail, kNoMail, kNoReplyMail, 2},
    {kRcpt, kNoRcpt, kNoReplyRcpt, 3},
    {kData, kNoData, kNoReplyData, 4},
    {kHeader, kNoHeaders, kNoReplyHeader, kNoStage},
    {kEndOfHeader, kNoEndOfHeader, kNoReplyEndOfHeader, 6},
    {kBody, kNoBody, kNoReplyBody, kNoStage},
    {kEndOfBody, 0, 0, 5},
    {kUnknownCommand, kNoUnknown, kNoReplyUnknown, kNoStage},
};

const StepBits* find_step(char command) {
  const auto* const found = std::find_if(std::begin(kSteps), std::end(kSteps),
                                         [&](const auto& step) { return step.command == command; });
  return found == std::end(kSteps) ? nullptr : found;
}

// Connect and HELO speak of the session, all else of a message.
bool is_of_session(char command) { return command == kConnect || command == kHelo; }

// The name of a command in the milter protocol.
std::string_view protocol_name(char command) {
  switch (command) {
    case kConnect:
      return "SMFIC_CONNECT";
    case kHelo:
      return "SMFIC_HELO";
    case kMail:
      return "SMFIC_MAIL";
    case kRcpt:
      return "SMFIC_RCPT";
    case kData:
      return "SMFIC_DATA";
    case kHeader:
      return "SMFIC_HEADER";
    case kEndOfHeader:
      return "SMFIC_EOH";
    case kBody:
      return "SMFIC_BODY";
    case kEndOfBody:
      return "SMFIC_BODYEOB";
    default:
      return "SMFIC_UNKNOWN";
  }
}

std::string unread(char command, std::string_view why) {
  return fmt::format("can't read {} reply packet header: {}", protocol_name(command),
                     why == "timed out" ? "Connection timed out" : why);
}

}  // namespace

Filter::Filter(ipc::milter::FilterState state, sys::Fd fd) {
  spec_.endpoint = std::move(state.endpoint);
  spec_.command_timeout = std::chrono::seconds(state.command_timeout);
  spec_.content_timeout = std::chrono::seconds(state.content_timeout);
  spec_.default_action = std::move(state.default_action);
  version_ = static_cast<std::uint32_t>(state.version);
  actions_ = static_cast<std::uint32_t>(state.actions);
  protocol_ = static_cast<std::uint32_t>(state.protocol);
  for (auto& list : state.macro_lists) {
    const auto stage = parse_integer<std::uint32_t>(list.name);
    if (stage) macro_lists_.emplace_back(*stage, std::move(list.value));
  }
  has_failed_ = state.has_failed;
  is_message_done_ = state.is_done;
  has_message_ = !state.is_done;
  if (fd) stream_ = std::make_unique<loop::Stream>(std::move(fd));
  is_borrowed_ = true;
}

Filter::~Filter() {
  if (stream_ == nullptr || is_borrowed_) return;
  // What does not fit now is not worth a wait: the end of the connection says the same.
  std::string goodbye;
  if (has_message_) append_packet(goodbye, kAbort);
  append_packet(goodbye, kQuit);
  [[maybe_unused]] const auto sent =
      ::send(stream_->fd(), goodbye.data(), goodbye.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void Filter::fail(std::string_view why) {
  if (!has_failed_) log::warning("milter {}: {}", spec_.endpoint, why);
  has_failed_ = true;
  // Who lent it must not take it for good.
  if (stream_ != nullptr && is_borrowed_) ::shutdown(stream_->fd(), SHUT_RDWR);
  stream_.reset();
}

loop::Task<void> Filter::open(ipc::Client& broker) {
  const loop::Deadline deadline = loop::Clock::now() + spec_.connect_timeout;
  ipc::broker::Connect question;
  question.endpoint = spec_.number;
  std::vector<sys::Fd> fds;
  const auto connected = co_await broker.call(question, deadline, {}, &fds);
  if (!connected || fds.size() != 1) {
    // In the words that log readers know; the reason is what stands last.
    const std::string_view text =
        connected ? std::string_view("no connection came") : connected.error().text;
    const auto reason = text.rfind(": ");
    log::warning("connect to Milter service {}: {}", spec_.endpoint,
                 reason == std::string_view::npos ? text : text.substr(reason + 2));
    has_failed_ = true;
    co_return;
  }
  stream_ = std::make_unique<loop::Stream>(std::move(fds.front()));
  const auto done = co_await negotiate();
  if (!done) fail(done.error().text);
}

loop::Task<Result<void>> Filter::negotiate() {
  std::string packet;
  const std::string payload = options_payload(spec_.version);
  append_packet(packet, kOptions, payload);
  const loop::Deadline deadline = loop::Clock::now() + spec_.command_timeout;
  loop::Io io = co_await stream_->write(packet, deadline);
  while (io == loop::Io::kOk) {
    const Packet answer = parse_packet(stream_->input());
    if (answer.state == Packet::State::kBad) co_return fail_temporary("malformed packet");
    if (answer.state == Packet::State::kWhole) {
      if (answer.command != kOptions) co_return fail_temporary("no answer to the negotiation");
      CO_TRY(auto options, parse_options(answer.payload));
      stream_->consume(answer.consumed);
      if (options.version < 2 || options.version > spec_.version) {
        co_return fail_temporary(fmt::format("protocol version {}", options.version));
      }
      if ((options.protocol & ~protocol_of_version(spec_.version)) != 0 ||
          (options.actions & ~kAllActions) != 0) {
        co_return fail_temporary("wants more of the protocol than was offered");
      }
      version_ = options.version;
      actions_ = options.actions;
      protocol_ = options.protocol;
      macro_lists_ = std::move(options.macro_lists);
      co_return Result<void>{};
    }
    io = co_await stream_->fill(deadline, kMaxPacket + 4);
  }
  co_return fail_temporary(io == loop::Io::kTimeout ? "timed out" : "connection lost");
}

bool Filter::wants(char command) const {
  if (has_failed_ || is_connection_done_) return true;  // its default action, or its last reply
  if (is_message_done_ && !is_of_session(command)) return false;
  if (is_body_skipped_ && command == kBody) return false;
  const auto* step = find_step(command);
  if (step == nullptr) return true;
  // Older versions know nothing of these.
  if (command == kData && version_ < 4) return false;
  if (command == kUnknownCommand && version_ < 3) return false;
  return (protocol_ & step->not_wanted) == 0;
}

bool Filter::has_reply(char command) const {
  const auto* step = find_step(command);
  return step == nullptr || (protocol_ & step->no_reply) == 0 || step->no_reply == 0;
}

Macros Filter::macros_of(char command, const std::vector<std::string>& names,
                         const MacroSource& macros) const {
  Macros values;
  const auto add = [&](std::string_view name) {
    // In braces or not: sites write both.
    const std::string key =
        name.size() > 1 && !name.starts_with('{') ? fmt::format("{{{}}}", name) : std::string(name);
    std::string value = macros(key);
    if (!value.empty()) values.emplace_back(key, std::move(value));
  };
  const auto* step = find_step(command);
  for (const auto& [stage, wanted] : macro_lists_) {
    if (step == nullptr || stage != step->macro_stage) continue;
    for (const auto name : split_words(wanted)) add(name);
    return values;
  }
  for (const auto& name : names) add(name);
  return values;
}

Decision Filter::failed_decision() const {
  Decision decision;
  if (spec_.default_action == "accept") return decision;
  if (spec_.default_action == "quarantine") {
    decision.is_hold = true;
  } else if (spec_.default_action == "reject") {
    decision.reply = kDefaultReject;
  } else if (spec_.default_action == "shutdown") {
    decision.reply = kShutdown;
  } else {
    decision.reply = kTempfailed;
  }
  return decision;
}

Decision Filter::decide(char command, const Reply& reply) {
  Decision decision;
  using Kind = Reply::Kind;
  switch (reply.kind) {
    case Kind::kContinue:
    case Kind::kProgress:
      return decision;
    case Kind::kSkip:
      is_body_skipped_ = true;
      return decision;
    case Kind::kAccept:
      (is_of_session(command) ? is_connection_done_ : is_message_done_) = true;
      return decision;
    case Kind::kDiscard:
      if (is_of_session(command)) {
        log::warning("milter {}: DISCARD action is not allowed for connect or helo",
                     spec_.endpoint);
        return failed_decision();
      }
      is_message_done_ = true;
      decision.is_discard = true;
      return decision;
    case Kind::kReject:
      decision.reply = kRejected;
      break;
    case Kind::kTempfail:
      decision.reply = kTempfailed;
      break;
    case Kind::kReplyCode:
      decision.reply = reply.text;
      break;
    case Kind::kConnFail:
    case Kind::kShutdown:
      decision.reply = kShutdown;
      break;
    default:
      fail("a change of the message before its end");
      return failed_decision();
  }
  if (is_of_session(command)) {
    // The whole session is refused, whatever the client tries next.
    is_connection_done_ = true;
    last_reply_ = decision.reply;
  } else if (command != kRcpt && command != kUnknownCommand) {
    is_message_done_ = true;
  }
  return decision;
}

loop::Task<Result<Reply>> Filter::read_reply(std::chrono::seconds timeout) {
  const loop::Deadline deadline = loop::Clock::now() + timeout;
  for (;;) {
    const Packet packet = parse_packet(stream_->input());
    if (packet.state == Packet::State::kBad) co_return fail_temporary("malformed packet");
    if (packet.state == Packet::State::kWhole) {
      auto reply = parse_reply(packet.command, packet.payload);
      stream_->consume(packet.consumed);
      co_return reply;
    }
    const loop::Io io = co_await stream_->fill(deadline, kMaxPacket + 4);
    if (io == loop::Io::kTimeout) co_return fail_temporary("timed out");
    if (io != loop::Io::kOk) co_return fail_temporary("connection lost");
  }
}

loop::Task<Decision> Filter::show(char command, std::string payload,
                                  const std::vector<std::string>& names,
                                  const MacroSource& macros) {
  if (has_failed_) co_return failed_decision();
  if (is_connection_done_) {
    Decision again;
    again.reply = last_reply_;
    co_return again;
  }
  if (!wants(command)) co_return Decision{};
  if (command == kMail) has_message_ = true;
  std::string wire;
  append_macros(wire, command, macros_of(command, names, macros));
  append_packet(wire, command, payload);
  const auto timeout = command == kHeader || command == kBody || command == kEndOfHeader
                           ? spec_.content_timeout
                           : spec_.command_timeout;
  if (!has_reply(command)) {
    stream_->put(wire);
    co_return Decision{};
  }
  const loop::Io io = co_await stream_->write(wire, loop::Clock::now() + timeout);
  if (io != loop::Io::kOk) {
    fail(io == loop::Io::kTimeout ? "timed out" : "connection lost");
    co_return failed_decision();
  }
  for (;;) {
    const auto reply = co_await read_reply(timeout);
    if (!reply) {
      fail(unread(command, reply.error().text));
      co_return failed_decision();
    }
    if (reply->kind == Reply::Kind::kProgress) continue;
    co_return decide(command, *reply);
  }
}

loop::Task<Decision> Filter::end_of_body(const std::vector<std::string>& names,
                                         const MacroSource& macros, const Change& change) {
  if (has_failed_) co_return failed_decision();
  if (is_message_done_ || is_connection_done_) co_return Decision{};
  std::string wire;
  append_macros(wire, kEndOfBody, macros_of(kEndOfBody, names, macros));
  append_packet(wire, kEndOfBody);
  const auto timeout = spec_.content_timeout;
  const loop::Io io = co_await stream_->write(wire, loop::Clock::now() + timeout);
  if (io != loop::Io::kOk) {
    fail(io == loop::Io::kTimeout ? "timed out" : "connection lost");
    co_return failed_decision();
  }
  for (;;) {
    auto reply = co_await read_reply(timeout);
    if (!reply) {
      fail(unread(kEndOfBody, reply.error().text));
      co_return failed_decision();
    }
    if (reply->kind == Reply::Kind::kProgress) continue;
    if (!reply->is_change()) {
      has_message_ = false;
      co_return decide(kEndOfBody, *reply);
    }
    co_await change(*reply);
  }
}

loop::Task<void> Filter::flush() {
  if (stream_ == nullptr || stream_->pending_output() == 0) co_return;
  const loop::Io io = co_await stream_->flush(loop::Clock::now() + spec_.command_timeout);
  if (io != loop::Io::kOk) fail("connection lost");
}

void Filter::abort() {
  if (stream_ != nullptr && has_message_) {
    std::string wire;
    append_packet(wire, kAbort);
    stream_->put(wire);
  }
  message_done();
}

void Filter::message_done() {
  has_message_ = false;
  is_message_done_ = false;
  is_body_skipped_ = false;
}

ipc::milter::FilterState Filter::state() const {
  ipc::milter::FilterState state;
  state.endpoint = spec_.endpoint;
  state.command_timeout = spec_.command_timeout.count();
  state.content_timeout = spec_.content_timeout.count();
  state.default_action = spec_.default_action;
  state.version = version_;
  state.actions = actions_;
  state.protocol = protocol_;
  for (const auto& [stage, names] : macro_lists_) {
    state.macro_lists.push_back({std::to_string(stage), names});
  }
  state.has_failed = has_failed_;
  state.is_done = is_message_done_ || is_connection_done_;
  return state;
}

std::optional<sys::Fd> Filter::copy_of_descriptor() const {
  if (stream_ == nullptr) return std::nullopt;
  auto copy = sys::duplicate(stream_->fd());
  if (!copy) return std::nullopt;
  return *std::move(copy);
}

}  // namespace postern::milter
