// connection.h - one SSL on one socket, as a stream's transport. For common/tls itself.

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/loop/stream.h"
#include "common/tls/context.h"
#include "common/tls/session.h"
#include "common/tls/signer.h"

namespace postern::tls {

class Connection final : public loop::Transport {
 public:
  // What only the handshake needs, and its callbacks leave behind.
  struct UnderWay {
    bool finds_names = false;               // server: certificates by name are configured
    std::optional<std::string> asked_name;  // a valid one, in lower case
    bool is_name_answered = false;
    IdentityPtr named;
    std::string error;  // of our own, that ends the handshake
    // Of the chain: the first thing wrong with it.
    int chain_error = X509_V_OK;
    std::string chain_distrust;
    std::vector<std::string> sessions;
    std::string put_back;  // bytes that the socket no longer has and that come first
    Signing signing;
  };

  // Null when memory ran out. The stream outlives it.
  [[nodiscard]] static std::unique_ptr<Connection> make(loop::Stream& stream, ContextPtr context);
  ~Connection() override;

  [[nodiscard]] static Connection* of(const SSL* ssl);
  // The stream's, when it is one.
  [[nodiscard]] static Connection* of(const loop::Stream& stream);

  [[nodiscard]] SSL& ssl() const { return *ssl_; }
  [[nodiscard]] const Context& context() const { return *context_; }
  void begin(UnderWay* under_way) { under_way_ = under_way; }
  [[nodiscard]] UnderWay* under_way() const { return under_way_; }
  void on_session(std::function<void(std::string)> call) { on_session_ = std::move(call); }
  void give_session(SSL_SESSION* session);
  void set_broken() { is_broken_ = true; }
  // errno of the last socket call that failed; 0: none did, or the peer closed.
  [[nodiscard]] int socket_error() const { return socket_error_; }
  void clear_socket_error() { socket_error_ = 0; }

  // ---- loop::Transport
  [[nodiscard]] Moved read_some(std::span<char> into) override;
  [[nodiscard]] Moved write_some(std::string_view bytes) override;
  [[nodiscard]] bool holds_input() const override;
  void say_goodbye() override;

 private:
  Connection(loop::Stream& stream, ContextPtr context, SslPtr ssl);
  [[nodiscard]] Moved stopped(int result);
  static const BIO_METHOD* socket_method();
  static int socket_read(BIO* bio, char* into, int size);
  static int socket_write(BIO* bio, const char* from, int size);
  static long socket_control(BIO* bio, int command, long number, void* pointer);

  loop::Stream& stream_;
  ContextPtr context_;
  UnderWay* under_way_ = nullptr;
  std::function<void(std::string)> on_session_;
  int socket_error_ = 0;
  bool has_ended_ = false;   // the peer closed its side
  bool is_broken_ = false;   // nothing may be said any more, not even goodbye
  bool is_starved_ = false;  // what the library holds is no whole record
  SslPtr ssl_;
};

}  // namespace postern::tls
