#include "common/smtpclient/connection.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/policy/debug_peers.h"
#include "common/sys/socket.h"

namespace postern::smtpclient {

namespace {

constexpr std::size_t kMaxReplyBytes = std::size_t{64} << 10;
constexpr std::chrono::seconds kGoodbyeTime{10};

loop::Deadline after(std::chrono::seconds time) {
  return time.count() > 0 ? loop::Clock::now() + time : loop::kNever;
}

const std::string& source_for(int family, const Settings& settings) {
  return family == AF_INET6 ? settings.bind_address6 : settings.bind_address;
}

// False: the address cannot be had, and smtp_bind_address_enforce says that this is fatal.
bool bind_source(int fd, int family, const Settings& settings) {
  if (family == AF_UNIX) return true;
  const std::string& source = source_for(family, settings);
  if (source.empty()) return true;
  const auto address = sys::parse_address(trim(source, "[]"), 0);
  const bool fits = address && address->family() == family;
  if (fits && ::bind(fd, address->get(), address->length) == 0) return true;
  log::warning("cannot send from {}: {}", source,
               fits ? sys::errno_text(errno) : std::string("no address of this kind"));
  return !settings.params.smtp_bind_address_enforce;
}

loop::Task<void> finish_goodbye(ConnectionPtr connection, std::chrono::seconds wait) {
  // Some servers answer QUIT in the middle of a transaction with an error.
  if (connection->needs_reset) connection->stream().put("RSET\r\n");
  connection->stream().put("QUIT\r\n");
  const loop::Io sent = co_await connection->stream().flush(loop::Clock::now() + kGoodbyeTime);
  if (sent == loop::Io::kOk && wait.count() > 0) {
    const auto reply = co_await connection->read_reply(wait);
    static_cast<void>(reply);
  }
}

// A firewall that knows only the SMTP of 1982 hides what the server can do.
bool is_masked(const smtpwire::ServerReply& greeting) {
  return greeting.code == 220 && !greeting.lines.empty() &&
         std::ranges::all_of(greeting.lines, [](const std::string& line) {
           return line.find('*') != std::string::npos &&
                  line.find_first_not_of("20* \t") == std::string::npos;
         });
}

}  // namespace

loop::Task<Result<ConnectionPtr>> Connection::open(Endpoint endpoint, SettingsPtr settings) {
  Result<sys::SocketAddress> address = endpoint.port == 0
                                           ? sys::unix_address(endpoint.address)
                                           : sys::parse_address(endpoint.address, endpoint.port);
  if (!address) co_return std::unexpected(address.error());
  CO_TRY(sys::Fd fd, sys::stream_socket(address->family()));
  const int raw = fd.get();
  if (!bind_source(raw, address->family(), *settings)) {
    co_return fail_temporary("cannot use the configured source address");
  }
  if (address->family() != AF_UNIX) {
    const int on = 1;
    ::setsockopt(raw, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  const bool is_connected = ::connect(raw, address->get(), address->length) == 0;
  if (!is_connected && errno != EINPROGRESS) co_return fail_temporary(sys::errno_text(errno));
  auto connection = std::make_unique<Connection>(std::move(endpoint), std::move(fd));
  if (address->family() != AF_UNIX) connection->source = source_for(address->family(), *settings);
  // Nothing was said yet: the first wait is one for the kernel.
  connection->stream_.watch().clear_read();
  if (!is_connected) {
    connection->stream_.watch().clear_write();
    const loop::Deadline deadline = after(settings->params.smtp_connect_timeout);
    const loop::Wait wait = co_await connection->stream_.watch().writable(deadline);
    if (wait != loop::Wait::kReady) co_return fail_temporary(sys::errno_text(ETIMEDOUT));
    int error = 0;
    socklen_t length = sizeof error;
    ::getsockopt(raw, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) co_return fail_temporary(sys::errno_text(error));
  }
  co_return connection;
}

bool Connection::comes_from(const Settings& settings) const {
  if (endpoint_.port == 0) return true;
  const bool is_ipv6 = endpoint_.address.find(':') != std::string::npos;
  return source == source_for(is_ipv6 ? AF_INET6 : AF_INET, settings);
}

loop::Task<Connection::Reply> Connection::read_reply(std::chrono::seconds timeout) {
  Reply out;
  const loop::Deadline deadline = after(timeout);
  const bool is_filtered = !reply_filter.is_empty();
  for (;;) {
    Result<bool> is_whole = false;
    if (is_filtered) {
      is_whole = co_await feed_filtered(out);
      if (out.is_ours) co_return out;
    } else {
      std::string_view in = stream_.input();
      const std::size_t before = in.size();
      is_whole = reader_.feed(in);
      stream_.consume(before - in.size());
    }
    if (!is_whole) {
      out.garbage = is_whole.error().text;
      co_return out;
    }
    if (*is_whole) {
      out.reply = reader_.take();
      if (is_dialogue_logged) {
        log::info("< {}: {}", endpoint_.relay(), log::clean(out.reply.to_line()));
      }
      if (transcript != nullptr) transcript->add_reply(out.reply);
      co_return out;
    }
    out.io = co_await stream_.fill(deadline, kMaxReplyBytes);
    if (out.io != loop::Io::kOk) co_return out;
  }
}

loop::Task<Result<bool>> Connection::feed_filtered(Reply& out) {
  for (;;) {
    const std::string_view in = stream_.input();
    const std::size_t end = in.find('\n');
    if (end == std::string_view::npos) co_return false;
    std::string line(trim_right(in.substr(0, end), "\r"));
    stream_.consume(end + 1);
    const auto filtered = co_await reply_filter.apply(std::move(line));
    out.is_ours = !filtered.has_value();
    if (out.is_ours) co_return false;
    const std::string whole = *filtered + "\n";
    std::string_view rest = whole;
    CO_TRY(const bool is_whole, reader_.feed(rest));
    if (is_whole) co_return true;
  }
}

loop::Task<Connection::Reply> Connection::ask(std::string command, std::chrono::seconds timeout) {
  log_command(command);
  command += "\r\n";
  Reply out;
  out.io = co_await stream_.write(command, after(timeout));
  if (out.io == loop::Io::kOk) out = co_await read_reply(timeout);
  co_return out;
}

void Connection::log_command(std::string_view line) {
  if (transcript != nullptr) transcript->add_command(line);
  if (is_dialogue_logged) {
    log::info("> {}: {}", endpoint_.relay(), policy::loggable_command(line));
  }
}

Verdict Connection::failure(const Reply& reply, Step step) const {
  if (reply.is_ours) {
    Verdict out =
        own_failure("4.3.0", fmt::format("local data error while talking to {}", endpoint_.host()));
    out.relay = endpoint_.relay();
    return out;
  }
  return reply.garbage.empty() ? stream_failed(endpoint_, reply.io, step)
                               : not_smtp(endpoint_, reply.garbage, step);
}

loop::Task<Verdict> Connection::hello(SettingsPtr settings, TlsPlanPtr tls_plan,
                                      std::string nexthop, bool detect_loop) {
  const auto& params = settings->params;
  plan = std::move(tls_plan);
  const bool is_wrapped = plan != nullptr && settings->tls.params.smtp_tls_wrappermode;
  if (is_wrapped) {
    const Verdict insecure = co_await shake_hands(settings);
    if (!insecure.status.empty()) co_return insecure;
  }
  const Reply greeting = co_await read_reply(params.smtp_helo_timeout);
  if (!greeting.is_ok()) co_return failure(greeting, Step::kGreeting);
  if (greeting.reply.klass() != '2') {
    co_return refused_to_talk(endpoint_, greeting.reply, params.smtp_skip_5xx_greeting);
  }
  std::string_view banner =
      greeting.reply.lines.empty() ? std::string_view() : greeting.reply.lines.front();
  const bool says_esmtp = to_upper(banner).find("ESMTP") != std::string::npos;
  bool may_say_ehlo = true;
  if (avoids_esmtp && is_masked(greeting.reply)) {
    const bool is_without = co_await avoids_esmtp();
    may_say_ehlo = !is_without;
  }
  const Verdict refusal =
      co_await say_hello(settings, may_say_ehlo, says_esmtp, nexthop, detect_loop);
  if (!refusal.status.empty() || is_encrypted()) co_return refusal;
  if (plan == nullptr) {
    if (features_.starttls && settings->tls.params.smtp_tls_note_starttls_offer) {
      log::info("Host offered STARTTLS: [{}]", endpoint_.name);
    }
    co_return refusal;
  }
  const Verdict insecure = co_await begin_tls(settings);
  if (!insecure.status.empty() || !is_encrypted()) co_return insecure;
  // RFC 3207 4.2: what was said in the clear is forgotten.
  const Verdict second = co_await say_hello(settings, true, true, nexthop, detect_loop);
  co_return second;
}

// EHLO or LHLO, where the server may know it, else HELO.
loop::Task<Verdict> Connection::say_hello(SettingsPtr settings, bool may_say_ehlo, bool says_esmtp,
                                          std::string nexthop, bool detect_loop) {
  const auto& params = settings->params;
  const bool try_ehlo = settings->is_lmtp() || (may_say_ehlo && !params.smtp_never_send_ehlo &&
                                                (params.smtp_always_send_ehlo || says_esmtp));
  if (try_ehlo) {
    const Step step = settings->is_lmtp() ? Step::kLhlo : Step::kEhlo;
    std::string command = settings->is_lmtp() ? "LHLO " : "EHLO ";
    command += params.smtp_helo_name;
    const Reply reply = co_await ask(std::move(command), params.smtp_helo_timeout);
    if (!reply.is_ok()) co_return failure(reply, step);
    if (reply.reply.klass() == '2') {
      features_ = smtpwire::parse_ehlo(reply.reply.lines, discarded_keywords
                                                              ? *discarded_keywords
                                                              : settings->discard_ehlo_keywords);
      if (detect_loop && equal_nocase(features_.greeting_name, settings->myhostname)) {
        Verdict loop_back =
            own_failure("5.4.6", fmt::format("mail for {} loops back to myself", nexthop));
        loop_back.relay = endpoint_.relay();
        co_return loop_back;
      }
      co_return Verdict{};
    }
    if (settings->is_lmtp() || reply.reply.code == 421) {
      co_return refused_to_talk(endpoint_, reply.reply, false);
    }
    if (transcript != nullptr) transcript->forgive();
  }
  std::string command = "HELO ";
  command += params.smtp_helo_name;
  const Reply reply = co_await ask(std::move(command), params.smtp_helo_timeout);
  if (!reply.is_ok()) co_return failure(reply, Step::kHelo);
  if (reply.reply.klass() != '2') co_return refused_to_talk(endpoint_, reply.reply, false);
  features_ = {};
  co_return Verdict{};
}

bool Connection::is_idle() {
  if (!stream_.input().empty() || reader_.is_partial() || stream_.has_hung_up()) return false;
  if (!stream_.has_input_waiting()) return true;
  char byte = 0;
  const ssize_t count = ::recv(stream_.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (count >= 0 || errno != EAGAIN) return false;
  stream_.watch().clear_read();
  return true;
}

void say_goodbye(ConnectionPtr connection, SettingsPtr settings) {
  const auto wait = settings->params.smtp_skip_quit_response
                        ? std::chrono::seconds(0)
                        : std::chrono::seconds(settings->params.smtp_quit_timeout);
  loop::spawn(finish_goodbye(std::move(connection), wait));
}

}  // namespace postern::smtpclient
