// fake_server.h - an SMTP or LMTP server on a loopback socket, in the loop of the test.

#pragma once

#include <catch2/catch.hpp>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/loop/loop.h"
#include "common/loop/stream.h"
#include "common/loop/task.h"
#include "common/smtpwire/dot.h"
#include "common/sys/socket.h"
#include "common/tls/session.h"

namespace postern::smtpclient {

class FakeServer final : loop::Watched {
 public:
  // What is said to each command: the whole reply; "" closes the connection, "-" says nothing.
  // Asked with the line ("RCPT TO:<a@x>"), "." at the end of the content.
  using Script = std::function<std::string(const std::string& line)>;

  explicit FakeServer(Script script, bool is_lmtp = false)
      : script_(std::move(script)), is_lmtp_(is_lmtp) {
    const auto address = sys::parse_address("127.0.0.1", 0);
    listener_ = sys::listen_inet(*address, 100).value();
    port = sys::local_address(listener_.get())->port();
    loop::Loop::current().watch_level(listener_.get(), *this);
  }
  ~FakeServer() { stop(); }

  void stop() {
    if (listener_) loop::Loop::current().unwatch(listener_.get(), *this);
    listener_.reset();
  }

  std::uint16_t port = 0;
  std::string banner = "220 fake ESMTP";
  unsigned connections = 0;
  std::vector<std::string> lines;     // of all sessions
  std::vector<std::string> messages;  // content, LF
  std::size_t reads_of_last_message = 0;
  // With it STARTTLS is a handshake where the script answers 220.
  tls::ContextPtr tls{};
  std::vector<tls::Session> sessions{};
  bool garbage_after_starttls = false;
  std::string said_behind_starttls{};  // in the clear, in one write with the answer
  bool is_wrapped = false;             // TLS from the first byte

  static std::string polite(const std::string& line) {
    if (line.starts_with("EHLO")) return "250-fake\r\n250-PIPELINING\r\n250-SIZE\r\n250 DSN";
    if (line.starts_with("LHLO")) return "250-fake\r\n250-PIPELINING\r\n250 SIZE";
    if (line == "DATA") return "354 go on";
    if (line == ".") return "250 2.0.0 stored";
    if (line == "QUIT") return "221 bye";
    return "250 2.1.0 ok";
  }

 private:
  void on_events(std::uint32_t) override {
    auto accepted = sys::accept_connection(listener_.get());
    if (!accepted || !accepted->fd) return;
    ++connections;
    loop::spawn(serve(std::move(accepted->fd)));
  }

  loop::Task<void> serve(sys::Fd fd) {
    loop::Stream stream(std::move(fd));
    if (banner.empty()) co_return;
    if (is_wrapped) {
      const auto session = co_await tls::accept(stream, tls, {}, loop::kNever);
      if (!session) co_return;
      sessions.push_back(*session);
    }
    stream.put(banner + "\r\n");
    std::size_t accepted = 0;
    for (;;) {
      const auto end = stream.input().find("\r\n");
      if (end == std::string_view::npos) {
        co_await stream.flush(loop::kNever);
        const loop::Io io = co_await stream.fill(loop::kNever, 1 << 20);
        if (io != loop::Io::kOk) co_return;
        continue;
      }
      const std::string line(stream.input().substr(0, end));
      stream.consume(end + 2);
      lines.push_back(line);
      const std::string reply = script_(line);
      if (reply.empty()) {
        co_await stream.flush(loop::kNever);
        co_return;
      }
      if (reply != "-") stream.put(reply + "\r\n");
      if (line == "QUIT") break;
      if (line == "STARTTLS" && garbage_after_starttls) {
        stream.put("no TLS here\r\n");
        co_await stream.flush(loop::kNever);
        co_return;
      }
      if (line == "STARTTLS" && reply.starts_with("220") && tls != nullptr) {
        stream.put(said_behind_starttls);
        co_await stream.flush(loop::kNever);
        const auto session = co_await tls::accept(stream, tls, {}, loop::kNever);
        if (!session) co_return;
        lines.emplace_back(session->has_peer_certificate ? "(TLS, certificate)" : "(TLS)");
        sessions.push_back(*session);
      }
      if (line.starts_with("MAIL")) accepted = 0;
      if (line.starts_with("RCPT") && reply.starts_with("2")) ++accepted;
      if (line == "DATA" && reply.starts_with("3")) {
        smtpwire::DotDecoder decoder{smtpwire::DecodeRules{}};
        std::string content;
        while (!decoder.done()) {
          stream.consume(decoder.decode(stream.input(), content));
          if (decoder.done()) break;
          co_await stream.flush(loop::kNever);
          const loop::Io io = co_await stream.fill(loop::kNever, 1 << 20);
          if (io != loop::Io::kOk) co_return;
        }
        messages.push_back(content);
        for (std::size_t i = 0; i < (is_lmtp_ ? accepted : 1); ++i) {
          stream.put(script_(".") + "\r\n");
        }
      }
    }
    co_await stream.flush(loop::kNever);
  }

  Script script_;
  bool is_lmtp_;
  sys::Fd listener_;
};

}  // namespace postern::smtpclient
