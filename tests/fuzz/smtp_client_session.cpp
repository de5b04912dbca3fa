// A whole session of the SMTP or LMTP client with an arbitrary server: what it says is the input,
// in pieces, the last one before it closes. Nothing but a reply of class 5 may bounce, nothing is
// reported twice, and the delivery comes to its end.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/loop/loop.h"
#include "common/loop/stream.h"
#include "common/loop/task.h"
#include "common/smtpclient/engine.h"
#include "common/sys/socket.h"

namespace {

using namespace postern;
using namespace std::chrono_literals;

void require(bool condition) {
  if (!condition) std::abort();
}

class Job final : public smtpclient::Job {
 public:
  Job(std::string nexthop, std::size_t recipients)
      : nexthop_(std::move(nexthop)), told_(recipients), pool_(1) {
    for (std::size_t i = 0; i < recipients; ++i) names_.push_back("r" + std::to_string(i) + "@x");
    const std::string body = ".\ntext\n..\n" + std::string(1200, 'x') + "\n";
    const std::string header = "Subject: x\n";
    message_.layout.body = {0, body.size()};
    message_.layout.header = {body.size(), header.size()};
    message_.layout.message_size = body.size() + header.size() + 1;
    message_.bytes = body + header;
  }
  const std::string& queue_id() const override { return id_; }
  const std::string& nexthop() const override { return nexthop_; }
  const std::string& sender() const override { return sender_; }
  std::size_t recipients() const override { return told_.size(); }
  smtpclient::Recipient recipient(std::size_t i) const override { return {names_[i], "", "", 0}; }
  const queuefile::Message& message() const override { return message_; }
  int fd() const override { return -1; }
  loop::WorkerPool& pool() override { return pool_; }
  void mark_connecting() override {}
  void mark_connected() override {}
  void delivered(std::size_t i, const smtpclient::Verdict&) override { tell(i); }
  void failed(std::size_t i, const smtpclient::Verdict& verdict) override {
    tell(i);
    has_bounced = has_bounced || !verdict.is_temporary();
  }
  void reroute(std::size_t i, const std::string&) override { tell(i); }
  bool is_reported(std::size_t i) const override { return told_[i]; }
  std::size_t unreported() const override {
    return static_cast<std::size_t>(std::ranges::count(told_, false));
  }
  void mark_destination_failure() override {}

  bool has_bounced = false;

 private:
  void tell(std::size_t i) {
    require(!told_[i]);
    told_[i] = true;
  }
  std::string id_ = "4abcdef";
  std::string sender_ = "s@example.org";
  std::string nexthop_;
  std::vector<std::string> names_;
  std::vector<bool> told_;
  queuefile::Message message_;
  loop::WorkerPool pool_;
};

// Says the next piece whenever the client has said something, and throws away what it hears.
class Server final : loop::Watched {
 public:
  explicit Server(std::vector<std::string> pieces) : pieces_(std::move(pieces)) {
    listener_ = sys::listen_inet(*sys::parse_address("127.0.0.1", 0), 10).value();
    port = sys::local_address(listener_.get())->port();
    loop::Loop::current().watch_level(listener_.get(), *this);
  }
  ~Server() { loop::Loop::current().unwatch(listener_.get(), *this); }

  std::uint16_t port = 0;
  unsigned open = 0;

 private:
  void on_events(std::uint32_t) override {
    auto accepted = sys::accept_connection(listener_.get());
    if (accepted && accepted->fd) loop::spawn(serve(std::move(accepted->fd)));
  }
  loop::Task<void> serve(sys::Fd fd) {
    ++open;
    co_await talk(std::move(fd));
    --open;
  }
  loop::Task<void> talk(sys::Fd fd) {
    loop::Stream stream(std::move(fd));
    for (const std::string& piece : pieces_) {
      stream.put(piece);
      const loop::Io sent = co_await stream.flush(loop::Clock::now() + 1s);
      if (sent != loop::Io::kOk) co_return;
      if (&piece == &pieces_.back()) co_return;
      const loop::Io io = co_await stream.fill(loop::Clock::now() + 20ms, 1 << 20);
      if (io == loop::Io::kTimeout) continue;
      if (io != loop::Io::kOk) co_return;
      stream.consume(stream.input().size());
    }
  }

  std::vector<std::string> pieces_;
  sys::Fd listener_;
};

std::shared_ptr<smtpclient::Settings> settings_of(bool is_lmtp) {
  auto settings = std::make_shared<smtpclient::Settings>();
  auto& p = settings->params;
  settings->protocol = is_lmtp ? smtpclient::Protocol::kLmtp : smtpclient::Protocol::kSmtp;
  settings->myhostname = "me.example.org";
  p.smtp_tcp_port = "25";
  p.smtp_helo_name = "me.example.org";
  p.smtp_always_send_ehlo = true;
  p.smtp_quote_rfc821_envelope = true;
  p.smtp_skip_5xx_greeting = true;
  p.smtp_skip_quit_response = true;
  p.smtp_line_length_limit = 998;
  p.smtp_mx_address_limit = 5;
  p.smtp_mx_session_limit = 2;
  for (auto* timeout : {&p.smtp_connect_timeout, &p.smtp_helo_timeout, &p.smtp_mail_timeout,
                        &p.smtp_rcpt_timeout, &p.smtp_data_init_timeout, &p.smtp_data_xfer_timeout,
                        &p.smtp_data_done_timeout, &p.smtp_rset_timeout, &p.smtp_quit_timeout}) {
    *timeout = 2s;
  }
  return settings;
}

loop::Task<void> deliver(loop::Loop& loop, smtpclient::Engine& engine, Job& job) {
  co_await engine.deliver(job);
  loop.stop();
}

}  // namespace

// The first byte: LMTP or SMTP, how many recipients; then pieces, cut at '|'.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view all(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::vector<std::string> pieces(1);
  for (const char c : all) {
    if (c == '|') {
      pieces.emplace_back();
    } else {
      pieces.back() += c;
    }
  }
  if (pieces.size() > 40) return 0;
  const bool is_lmtp = (data[0] & 1U) != 0;

  loop::Loop loop;
  Server server(pieces);
  std::optional<smtpclient::Engine> engine;
  engine.emplace(settings_of(is_lmtp),
                 [](ipc::resolver::FindHosts) -> loop::Task<Result<ipc::resolver::Hosts>> {
                   co_return ipc::resolver::Hosts{};
                 });
  const std::string place = "[127.0.0.1]:" + std::to_string(server.port);
  Job job(is_lmtp ? "inet:" + place : place, 1 + (data[0] >> 1U) % 4U);
  loop::CallbackTimer too_long([] { std::abort(); });
  too_long.arm(loop::Clock::now() + 30s);
  loop::spawn(deliver(loop, *engine, job));
  if (job.unreported() > 0) loop.run();
  require(job.unreported() == 0);
  // Farewells, and what the server still says.
  engine.reset();
  loop::CallbackTimer turn([&loop] { loop.stop(); });
  for (unsigned turns = 0; turns < 3 || server.open > 0; ++turns) {
    turn.arm(loop::Clock::now() + 1ms);
    loop.run();
  }
  // Only a server's word ends a delivery for good.
  if (job.has_bounced) require(all.find('5') != std::string_view::npos);
  return 0;
}
