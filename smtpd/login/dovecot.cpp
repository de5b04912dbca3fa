#include "smtpd/login/dovecot.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "common/ipc/broker.h"
#include "common/log/clean.h"
#include "common/log/log.h"

namespace postern::smtpd {

namespace {

using sasl::DovecotLine;

// Connecting and the server's greeting; a client waits for it in EHLO.
constexpr std::chrono::seconds kGreetingTime{10};
// Dovecot makes whoever fails wait for some seconds, and may ask slow data bases.
constexpr std::chrono::seconds kAnswerTime{60};
constexpr std::chrono::milliseconds kFirstBackOff{200};
constexpr std::chrono::seconds kLongestBackOff{10};
// Of one server; more are no list of mechanisms.
constexpr std::size_t kMaxMechanisms = 100;
// Older servers let a request time out.
constexpr unsigned kMinorWithCancel = 1;
constexpr std::string_view kLost = "Connection lost to authentication server";
constexpr std::string_view kNoConnection = "Can't connect to authentication server";

}  // namespace

// The stream's reader runs until the end; requests wait in `waiting` for their line.
struct DovecotClient::Connection {
  Connection(sys::Fd fd, std::uint64_t its_number) : stream(std::move(fd)), number(its_number) {}

  struct Waiter {
    loop::Condition answered;
    std::optional<DovecotLine> line;
  };

  void put(std::string_view text, const ConnectionPtr& self) {
    stream.put(text);
    if (!is_flushing) loop::spawn(flush(self));
  }
  static loop::Task<void> flush(ConnectionPtr self) {
    self->is_flushing = true;
    const loop::Io io = co_await self->stream.flush(loop::Clock::now() + kAnswerTime);
    self->is_flushing = false;
    if (io != loop::Io::kOk) self->lose();
  }
  // Nothing more will come of it.
  void lose() {
    if (is_lost) return;
    is_lost = true;
    stream.close();
    for (auto& [id, waiter] : waiting) waiter->answered.notify_all();
  }
  // The next line; nothing when the connection is lost.
  loop::Task<std::optional<DovecotLine>> read_line(loop::Deadline deadline) {
    for (;;) {
      const std::string_view input = stream.input();
      const auto end = input.find('\n');
      if (end != std::string_view::npos) {
        auto line = sasl::parse_dovecot_line(input.substr(0, end));
        stream.consume(end + 1);
        co_return line;
      }
      if (is_lost || input.size() >= sasl::kMaxDovecotLine) co_return std::nullopt;
      const loop::Io io = co_await stream.fill(deadline, sasl::kMaxDovecotLine);
      if (io != loop::Io::kOk) co_return std::nullopt;
    }
  }
  static loop::Task<void> read_answers(ConnectionPtr self) {
    for (;;) {
      auto line = co_await self->read_line(loop::kNever);
      if (!line || line->kind == DovecotLine::Kind::kBad) break;
      const auto found = self->waiting.find(line->id);
      // Answers that nobody waits for belong to clients that have gone.
      if (found == self->waiting.end()) continue;
      found->second->line = std::move(line);
      found->second->answered.notify_all();
    }
    self->lose();
  }

  loop::Stream stream;
  std::uint64_t number;
  unsigned version_minor = 0;
  std::vector<sasl::Mechanism> mechanisms;
  std::unordered_map<std::uint32_t, Waiter*> waiting;
  std::uint32_t last_id = 0;
  bool is_flushing = false;
  bool is_lost = false;
};

DovecotClient::DovecotClient(ipc::Client& broker, std::uint64_t endpoint, std::string name)
    : broker_(broker), endpoint_(endpoint), name_(std::move(name)) {}

DovecotClient::~DovecotClient() {
  if (connection_ != nullptr) connection_->lose();
}

loop::Task<Result<DovecotClient::ConnectionPtr>> DovecotClient::connected() {
  const loop::Deadline deadline = loop::Clock::now() + kGreetingTime;
  if (connection_ == nullptr || connection_->is_lost) {
    connection_ = nullptr;
    if (!is_connecting_ && loop::Clock::now() >= not_before_) {
      is_connecting_ = true;
      loop::spawn(connect());
    }
    if (is_connecting_) (void)co_await settled_.wait(deadline);
  }
  if (connection_ == nullptr) co_return fail_temporary(std::string(kNoConnection));
  co_return connection_;
}

loop::Task<void> DovecotClient::connect() {
  // Whoever has asked is waiting before this goes on.
  co_await loop::Yield();
  const loop::Deadline deadline = loop::Clock::now() + kGreetingTime;
  ipc::broker::Connect question;
  question.endpoint = endpoint_;
  std::vector<sys::Fd> fds;
  const auto opened = co_await broker_.call(question, deadline, {}, &fds);
  if (!opened) {
    fail(opened.error().text);
  } else if (fds.size() != 1) {
    fail("no connection came");
  } else {
    auto greeted = co_await greet(std::move(fds.front()), deadline);
    if (greeted) {
      connection_ = *std::move(greeted);
      back_off_ = {};
      loop::spawn(Connection::read_answers(connection_));
    } else {
      fail(greeted.error().text);
    }
  }
  is_connecting_ = false;
  settled_.notify_all();
}

void DovecotClient::fail(std::string why) {
  log::warning("SASL: {}: {}", name_, log::clean(why));
  back_off_ = std::clamp<loop::Clock::duration>(back_off_ * 2, kFirstBackOff, kLongestBackOff);
  not_before_ = loop::Clock::now() + back_off_;
}

loop::Task<Result<DovecotClient::ConnectionPtr>> DovecotClient::greet(sys::Fd fd,
                                                                      loop::Deadline deadline) {
  auto connection = std::make_shared<Connection>(std::move(fd), ++connections_);
  connection->put(sasl::dovecot_hello(static_cast<std::uint32_t>(::getpid())), connection);
  bool has_version = false;
  for (;;) {
    auto line = co_await connection->read_line(deadline);
    if (!line) co_return fail_temporary("no greeting from the authentication server");
    switch (line->kind) {
      case DovecotLine::Kind::kVersion:
        if (line->version_major != 1) {
          co_return fail_temporary(
              fmt::format("protocol version {} instead of 1", line->version_major));
        }
        connection->version_minor = line->version_minor;
        has_version = true;
        break;
      case DovecotLine::Kind::kMechanism:
        if (!line->is_private && connection->mechanisms.size() < kMaxMechanisms) {
          connection->mechanisms.push_back(std::move(line->mechanism));
        }
        break;
      case DovecotLine::Kind::kDone:
        if (!has_version) co_return fail_temporary("no version in the greeting");
        co_return connection;
      case DovecotLine::Kind::kOther:
        break;
      default:
        co_return fail_temporary("the greeting is no greeting of Dovecot's authentication server");
    }
  }
}

loop::Task<Result<std::vector<sasl::Mechanism>>> DovecotClient::mechanisms() {
  CO_TRY(const ConnectionPtr connection, co_await connected());
  co_return connection->mechanisms;
}

loop::Task<DovecotLine> DovecotClient::answer(ConnectionPtr connection, std::uint32_t id,
                                              std::string request) {
  DovecotLine lost;
  lost.reason = kLost;
  if (connection->is_lost) co_return lost;
  if (request.size() > sasl::kMaxDovecotRequest) {
    DovecotLine refused;
    refused.kind = DovecotLine::Kind::kFail;
    refused.reason = "response too long";
    co_return refused;
  }
  Connection::Waiter waiter;
  connection->waiting[id] = &waiter;
  connection->put(request, connection);
  if (!connection->is_lost && !waiter.line) {
    (void)co_await waiter.answered.wait(loop::Clock::now() + kAnswerTime);
  }
  connection->waiting.erase(id);
  if (waiter.line) co_return *std::move(waiter.line);
  if (!connection->is_lost && connection->version_minor >= kMinorWithCancel) {
    connection->put(sasl::dovecot_cancel(id), connection);
  }
  co_return lost;
}

loop::Task<DovecotLine> DovecotClient::start(sasl::DovecotRequest request, Ticket& ticket) {
  const auto connection = co_await connected();
  if (!connection) {
    DovecotLine failed;
    failed.reason = connection.error().text;
    co_return failed;
  }
  Connection& on = **connection;
  do {
    ++on.last_id;
  } while (on.last_id == 0 || on.waiting.contains(on.last_id));
  request.id = on.last_id;
  ticket = {on.number, request.id};
  co_return co_await answer(*connection, request.id, sasl::dovecot_auth(request));
}

loop::Task<DovecotLine> DovecotClient::next(Ticket ticket, std::string response) {
  if (connection_ == nullptr || connection_->number != ticket.connection) {
    DovecotLine lost;
    lost.reason = kLost;
    co_return lost;
  }
  co_return co_await answer(connection_, ticket.id, sasl::dovecot_continue(ticket.id, response));
}

void DovecotClient::cancel(Ticket ticket) {
  if (connection_ == nullptr || connection_->is_lost) return;
  if (connection_->number != ticket.connection || connection_->version_minor < kMinorWithCancel) {
    return;
  }
  connection_->put(sasl::dovecot_cancel(ticket.id), connection_);
}

namespace {

class DovecotExchange final : public LoginExchange {
 public:
  DovecotExchange(DovecotClient& client, std::string service)
      : client_(client), service_(std::move(service)) {}
  ~DovecotExchange() override {
    if (is_open_) client_.cancel(ticket_);
  }

  loop::Task<LoginStep> start(LoginRequest request) override {
    sasl::DovecotRequest line;
    line.mechanism = std::move(request.mechanism);
    line.service = service_;
    line.local_address = std::move(request.server_address);
    line.remote_address = std::move(request.client_address);
    line.is_secured = request.is_encrypted;
    line.initial_response = std::move(request.initial_response);
    auto answer = co_await client_.start(std::move(line), ticket_);
    co_return step(std::move(answer));
  }

  loop::Task<LoginStep> next(std::string response) override {
    auto answer = co_await client_.next(ticket_, std::move(response));
    co_return step(std::move(answer));
  }

 private:
  LoginStep step(DovecotLine line) {
    is_open_ = line.kind == DovecotLine::Kind::kContinue;
    LoginStep step;
    step.username = std::move(line.user);
    step.text = std::move(line.reason);
    switch (line.kind) {
      case DovecotLine::Kind::kContinue:
        step.kind = LoginStep::Kind::kChallenge;
        step.text = std::move(line.challenge);
        break;
      case DovecotLine::Kind::kOk:
        step.kind = LoginStep::Kind::kDone;
        break;
      case DovecotLine::Kind::kFail:
        // What the server could not judge is a refusal all the same, as it is with Postfix.
        step.kind = LoginStep::Kind::kFailed;
        step.is_judged = !line.is_temporary;
        break;
      default:
        if (step.text.empty()) step.text = kLost;
    }
    return step;
  }

  DovecotClient& client_;
  std::string service_;
  DovecotClient::Ticket ticket_;
  bool is_open_ = false;
};

}  // namespace

std::unique_ptr<LoginExchange> make_dovecot_exchange(DovecotClient& client, std::string service) {
  return std::make_unique<DovecotExchange>(client, std::move(service));
}

}  // namespace postern::smtpd
