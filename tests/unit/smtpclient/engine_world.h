// engine_world.h - an engine, its neighbours and a loop, for tests.

#pragma once

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <vector>

#include "common/smtpclient/engine.h"
#include "fake_server.h"

namespace postern::smtpclient {

using namespace std::chrono_literals;

// A job that keeps what it is told.
class TestJob final : public Job {
 public:
  TestJob(std::string nexthop, std::vector<std::string> to, std::string header = "Subject: x\n",
          std::string body = "text\n")
      : nexthop_(std::move(nexthop)), to_(std::move(to)), pool_(1), told(to_.size()) {
    set_age(0s);
    message_.layout.body = {0, body.size()};
    message_.layout.header = {body.size(), header.size()};
    message_.layout.message_size = body.size() + header.size() + 1;
    const std::string bytes = body + header;
    if (bytes.size() <= queuefile::kSmallFile) {
      message_.bytes = bytes;
    } else {
      fd_.reset(::memfd_create("message", MFD_CLOEXEC));
      REQUIRE(::write(fd_.get(), bytes.data(), bytes.size()) == std::ssize(bytes));
    }
  }
  void want_no_tls() { message_.envelope.attributes.emplace_back(queuefile::kTlsOptional, "1"); }
  void require_tls() { message_.envelope.attributes.emplace_back(queuefile::kRequireTls, "1"); }
  void is_for_no_report() {
    message_.envelope.attributes.emplace_back(queuefile::kNoTlsReport, "1");
  }
  void set_age(std::chrono::seconds age) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    message_.envelope.arrival.seconds =
        (std::chrono::duration_cast<std::chrono::seconds>(now) - age).count();
  }
  const std::string& queue_id() const override { return id_; }
  const std::string& nexthop() const override { return nexthop_; }
  const std::string& sender() const override { return sender_; }
  bool is_busy_destination() const override { return is_busy; }
  std::size_t recipients() const override { return to_.size(); }
  Recipient recipient(std::size_t i) const override { return {to_[i], "", "", 0}; }
  const queuefile::Message& message() const override { return message_; }
  int fd() const override { return fd_.get(); }
  loop::WorkerPool& pool() override { return pool_; }
  void mark_connecting() override {}
  void mark_connected() override {}
  void delivered(std::size_t i, const Verdict& verdict) override { tell(i, "sent", verdict); }
  void failed(std::size_t i, const Verdict& verdict) override {
    tell(i, verdict.is_temporary() ? "deferred" : "bounced", verdict);
  }
  void reroute(std::size_t i, const std::string& transport_and_nexthop) override {
    REQUIRE(told[i].empty());
    told[i] = "rerouted " + transport_and_nexthop;
  }
  bool is_reported(std::size_t i) const override { return !told[i].empty(); }
  std::size_t unreported() const override {
    return static_cast<std::size_t>(std::ranges::count(told, ""));
  }
  void mark_destination_failure() override { destination_failed = true; }

 private:
  void tell(std::size_t i, std::string_view what, const Verdict& verdict) {
    REQUIRE(told[i].empty());
    told[i] = fmt::format("{} {} {}", what, verdict.status, verdict.text);
    last = verdict;
  }
  std::string id_ = "4abcdef";
  std::string sender_ = "s@example.org";
  std::string nexthop_;
  std::vector<std::string> to_;
  queuefile::Message message_;
  sys::Fd fd_;
  loop::WorkerPool pool_;

 public:
  bool is_busy = false;
  std::vector<std::string> told;  // per recipient
  Verdict last;
  bool destination_failed = false;
};

struct World {
  loop::Loop loop;
  std::shared_ptr<Settings> settings = std::make_shared<Settings>();
  ipc::resolver::Hosts hosts;
  unsigned lookups = 0;
  std::optional<Engine> engine;

  explicit World(Protocol protocol = Protocol::kSmtp) {
    auto& p = settings->params;
    settings->protocol = protocol;
    settings->myhostname = "me.example.org";
    p.smtp_tcp_port = "25";
    p.smtp_helo_name = "me.example.org";
    p.smtp_always_send_ehlo = true;
    p.smtp_quote_rfc821_envelope = true;
    p.smtp_skip_5xx_greeting = true;
    p.smtp_skip_quit_response = true;
    p.smtp_connection_cache_on_demand = true;
    p.smtp_line_length_limit = 998;
    p.smtp_mx_address_limit = 5;
    p.smtp_mx_session_limit = 2;
    for (auto* timeout :
         {&p.smtp_connect_timeout, &p.smtp_helo_timeout, &p.smtp_mail_timeout, &p.smtp_rcpt_timeout,
          &p.smtp_data_init_timeout, &p.smtp_data_xfer_timeout, &p.smtp_data_done_timeout,
          &p.smtp_rset_timeout, &p.smtp_quit_timeout, &p.smtp_connection_reuse_time_limit}) {
      *timeout = 20s;
    }
    p.smtp_connection_cache_time_limit = p.connection_cache_ttl_limit = 2s;
  }

  Engine& get() {
    if (!engine) {
      engine.emplace(settings, [this](ipc::resolver::FindHosts) { return find(); });
      engine->use_resolver([this](ipc::resolver::Query query) { return answer(std::move(query)); });
    }
    return *engine;
  }

  // By "name type"; what is not there does not exist.
  std::map<std::string, ipc::resolver::Answer> records;
  std::vector<std::string> questions;
  loop::Task<Result<ipc::resolver::Answer>> answer(ipc::resolver::Query query) {
    questions.push_back(query.name + " " + query.type);
    const auto found = records.find(questions.back());
    if (found != records.end()) co_return found->second;
    ipc::resolver::Answer none;
    none.status = ipc::resolver::Status::kNoSuchName;
    co_return none;
  }

  loop::Task<Result<ipc::resolver::Hosts>> find() {
    ++lookups;
    co_return hosts;
  }

  // Delivers the jobs at once, and turns the loop until all are done.
  void deliver(std::vector<TestJob*> jobs) {
    left_ = jobs.size();
    for (TestJob* job : jobs) loop::spawn(one(*job));
    loop.run();
  }
  void deliver(TestJob& job) { deliver(std::vector<TestJob*>{&job}); }
  // Lets the other side see what was sent.
  void settle(std::chrono::milliseconds time = 20ms) {
    loop::CallbackTimer timer([this] { loop.stop(); });
    timer.arm(loop::Clock::now() + time);
    loop.run();
  }

 private:
  loop::Task<void> one(TestJob& job) {
    co_await get().deliver(job);
    if (--left_ == 0) loop.stop();
  }
  std::size_t left_ = 0;
};

inline std::string at(const FakeServer& server) {
  return fmt::format("[127.0.0.1]:{}", server.port);
}

inline ipc::resolver::Host host(std::string name, std::vector<std::string> addresses) {
  ipc::resolver::Host out;
  out.name = std::move(name);
  out.addresses = std::move(addresses);
  return out;
}

}  // namespace postern::smtpclient
