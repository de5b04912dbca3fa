#include "common/ipc/connect.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>

#include <cerrno>
#include <vector>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/ipc/resolver.h"

namespace postern::ipc {

namespace {

// Of one host: more are not tried.
constexpr std::size_t kMaxAddresses = 10;

std::optional<std::uint16_t> port_of(const std::string& name) {
  if (const auto number = parse_integer<std::uint16_t>(name)) return *number;
  const servent* known = ::getservbyname(name.c_str(), "tcp");
  if (known == nullptr) return std::nullopt;
  return ntohs(static_cast<std::uint16_t>(known->s_port));
}

loop::Task<Result<sys::Fd>> connect_inet(sys::SocketAddress address, loop::Deadline deadline) {
  CO_TRY(sys::Fd fd, sys::stream_socket(address.family()));
  if (::connect(fd.get(), address.get(), address.length) == 0) co_return fd;
  if (errno != EINPROGRESS) co_return fail_temporary(sys::errno_text(errno));
  loop::Wait wait;
  {
    loop::FdWatch watch(fd.get());
    watch.clear_write();
    wait = co_await watch.writable(deadline);
  }
  if (wait != loop::Wait::kReady) co_return fail_temporary("connection timed out");
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) co_return fail_temporary(sys::errno_text(error));
  co_return fd;
}

loop::Task<Result<std::vector<sys::SocketAddress>>> addresses_of(Client& resolver, Endpoint target,
                                                                 loop::Deadline deadline) {
  std::vector<sys::SocketAddress> addresses;
  const auto port = port_of(target.port);
  if (!port) {
    co_return fail(Error::Kind::kConfig, fmt::format("unknown port \"{}\"", target.port));
  }
  if (auto literal = sys::parse_address(target.host, *port)) {
    addresses.push_back(*literal);
    co_return addresses;
  }
  ipc::resolver::FindHosts question;
  question.domain = target.host;
  question.use_mx = false;
  question.use_hosts_file = true;
  CO_TRY(const auto found, co_await resolver.call(std::move(question), deadline));
  for (const auto& host : found.hosts) {
    for (const auto& text : host.addresses) {
      const auto address = sys::parse_address(text, *port);
      if (address && addresses.size() < kMaxAddresses) addresses.push_back(*address);
    }
  }
  if (addresses.empty()) co_return fail_temporary(found.error);
  co_return addresses;
}

}  // namespace

Endpoint split_endpoint(std::string_view endpoint) {
  Endpoint target;
  if (endpoint.starts_with("unix:")) {
    target.is_unix = true;
    target.path = endpoint.substr(5);
    return target;
  }
  if (endpoint.starts_with("inet:")) endpoint.remove_prefix(5);
  const auto [host, port] = split_at_last(endpoint, ':');
  target.host = host;
  target.port = port;
  if (target.host.starts_with('[') && target.host.ends_with(']')) {
    target.host = target.host.substr(1, target.host.size() - 2);
  }
  return target;
}

loop::Task<Result<sys::Fd>> connect_to(Client& resolver, std::string endpoint,
                                       loop::Deadline deadline) {
  const Endpoint target = split_endpoint(endpoint);
  if (target.is_unix) co_return sys::connect_unix(target.path);
  CO_TRY(const auto addresses, co_await addresses_of(resolver, target, deadline));
  Error last{Error::Kind::kTemporary, "no address"};
  for (const auto& address : addresses) {
    auto fd = co_await connect_inet(address, deadline);
    if (fd) co_return fd;
    last = std::move(fd).error();
  }
  co_return std::unexpected(std::move(last));
}

}  // namespace postern::ipc
