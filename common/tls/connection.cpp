#include "common/tls/connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/tls/openssl.h"

namespace postern::tls {

namespace {

Connection* connection_of(BIO* bio) { return static_cast<Connection*>(BIO_get_data(bio)); }

}  // namespace

std::unique_ptr<Connection> Connection::make(loop::Stream& stream, ContextPtr context) {
  SslPtr ssl(SSL_new(context->get()));
  BIO* const bio = ssl ? BIO_new(socket_method()) : nullptr;
  if (bio == nullptr) {
    ERR_clear_error();
    return nullptr;
  }
  SSL_set0_rbio(ssl.get(), bio);
  BIO_up_ref(bio);
  SSL_set0_wbio(ssl.get(), bio);
  std::unique_ptr<Connection> made(new Connection(stream, std::move(context), std::move(ssl)));
  BIO_set_data(bio, made.get());
  BIO_set_init(bio, 1);
  return made;
}

Connection::Connection(loop::Stream& stream, ContextPtr context, SslPtr ssl)
    : stream_(stream), context_(std::move(context)), ssl_(std::move(ssl)) {}

Connection::~Connection() = default;

Connection* Connection::of(const SSL* ssl) {
  // The reading side is ours alone; extra data of an SSL would be two more allocations.
  return connection_of(SSL_get_rbio(ssl));
}

Connection* Connection::of(const loop::Stream& stream) {
  return dynamic_cast<Connection*>(stream.transport());
}

void Connection::give_session(SSL_SESSION* session) {
  if (under_way_ == nullptr && !on_session_) return;
  unsigned char* der = nullptr;
  const int length = i2d_SSL_SESSION(session, &der);
  if (length <= 0) return;
  std::string bytes(static_cast<char*>(static_cast<void*>(der)), static_cast<std::size_t>(length));
  OPENSSL_clear_free(der, static_cast<std::size_t>(length));
  if (under_way_ != nullptr) {
    under_way_->sessions.push_back(std::move(bytes));
  } else {
    on_session_(std::move(bytes));
  }
}

const BIO_METHOD* Connection::socket_method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* const made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    BIO_meth_set_read(made, socket_read);
    BIO_meth_set_write(made, socket_write);
    BIO_meth_set_ctrl(made, socket_control);
    return made;
  }();
  return method;
}

int Connection::socket_read(BIO* bio, char* into, int size) {
  Connection& self = *connection_of(bio);
  BIO_clear_retry_flags(bio);
  if (self.under_way_ != nullptr && !self.under_way_->put_back.empty()) {
    std::string& first = self.under_way_->put_back;
    const std::size_t count = std::min(first.size(), static_cast<std::size_t>(size));
    std::memcpy(into, first.data(), count);
    first.erase(0, count);
    return static_cast<int>(count);
  }
  loop::FdWatch& watch = self.stream_.watch();
  // What is known to be empty is not asked: a record that was read whole costs one system call.
  if (watch.can_read()) {
    const auto wanted = static_cast<std::size_t>(size);
    const ssize_t count = ::recv(self.stream_.fd(), into, wanted, MSG_DONTWAIT);
    if (count > 0) {
      if (static_cast<std::size_t>(count) < wanted && !watch.has_hung_up()) watch.clear_read();
      self.is_starved_ = false;
      return static_cast<int>(count);
    }
    if (count == 0) {
      self.has_ended_ = true;
      return 0;
    }
    if (errno != EAGAIN && errno != EINTR) {
      self.socket_error_ = errno;
      return -1;
    }
    watch.clear_read();
  }
  BIO_set_retry_read(bio);
  return -1;
}

int Connection::socket_write(BIO* bio, const char* from, int size) {
  Connection& self = *connection_of(bio);
  BIO_clear_retry_flags(bio);
  loop::FdWatch& watch = self.stream_.watch();
  if (watch.can_write()) {
    const ssize_t count = ::send(self.stream_.fd(), from, static_cast<std::size_t>(size),
                                 MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count >= 0) return static_cast<int>(count);
    if (errno != EAGAIN && errno != EINTR) {
      self.socket_error_ = errno;
      return -1;
    }
    watch.clear_write();
  }
  BIO_set_retry_write(bio);
  return -1;
}

long Connection::socket_control(BIO* bio, int command, long /*number*/, void* /*pointer*/) {
  switch (command) {
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_PUSH:
    case BIO_CTRL_POP:
      return 1;
    case BIO_CTRL_EOF:
      return connection_of(bio)->has_ended_ ? 1 : 0;
    default:
      return 0;
  }
}

loop::Transport::Moved Connection::stopped(int result) {
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      is_starved_ = true;
      return {Status::kWantRead, 0};
    case SSL_ERROR_WANT_WRITE:
      return {Status::kWantWrite, 0};
    case SSL_ERROR_ZERO_RETURN:
      return {Status::kEof, 0};
    default:
      is_broken_ = true;
      ERR_clear_error();
      if (socket_error_ == 0 && has_ended_) return {Status::kEof, 0};
      errno = socket_error_ != 0 ? socket_error_ : EPROTO;
      return {Status::kError, 0};
  }
}

loop::Transport::Moved Connection::read_some(std::span<char> into) {
  std::size_t total = 0;
  while (total < into.size()) {
    ERR_clear_error();
    std::size_t count = 0;
    const int result = SSL_read_ex(ssl_.get(), into.data() + total, into.size() - total, &count);
    if (result != 1) {
      // What came before the end or the trouble goes first; both are met again.
      const Moved why = stopped(result);
      return total > 0 ? Moved{Status::kMoved, total} : why;
    }
    total += count;
    if (SSL_has_pending(ssl_.get()) == 0 && !stream_.watch().can_read()) break;
  }
  return {Status::kMoved, total};
}

loop::Transport::Moved Connection::write_some(std::string_view bytes) {
  ERR_clear_error();
  std::size_t count = 0;
  const int result = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &count);
  if (result != 1) return stopped(result);
  return {Status::kMoved, count};
}

bool Connection::holds_input() const {
  return SSL_pending(ssl_.get()) > 0 || (!is_starved_ && SSL_has_pending(ssl_.get()) != 0);
}

void Connection::say_goodbye() {
  if (is_broken_ || SSL_is_init_finished(ssl_.get()) == 0) return;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

}  // namespace postern::tls
