// proxy.cpp - smtpd_upstream_proxy_protocol: the client is the one that the proxy names.

#include <fmt/format.h>

#include "common/log/log.h"
#include "common/smtpwire/proxy_header.h"
#include "smtpd/session.h"

namespace postern::smtpd {

loop::Task<bool> Session::learn_from_proxy() {
  const auto& params = settings_->smtpd;
  if (is_introduced_ || params.smtpd_upstream_proxy_protocol.empty()) co_return true;
  const auto& proxies = params.smtpd_upstream_proxy_hosts;
  if (!proxies.empty() && !co_await is_client_in(proxies)) co_return true;

  using State = smtpwire::ProxyHeader::State;
  const auto until = loop::Clock::now() + params.smtpd_upstream_proxy_timeout;
  smtpwire::ProxyHeader header;
  for (;;) {
    header = smtpwire::parse_proxy_header(stream_.input());
    if (header.state != State::kMore) break;
    const loop::Io io = co_await stream_.fill(until);
    if (io == loop::Io::kOk) continue;
    log::warning("haproxy read from {}: {}", client_address_,
                 io == loop::Io::kTimeout ? "time limit exceeded" : "lost connection");
    co_return false;
  }
  if (header.state == State::kBad) {
    log::warning("haproxy read from {}: {}", client_address_, header.fault);
    co_return false;
  }
  stream_.consume(header.consumed);
  if (!header.is_local) take_client_of(header);
  co_return true;
}

void Session::take_client_of(const smtpwire::ProxyHeader& header) {
  client_address_ = header.client_address;
  ip_ = config::parse_ip_address(client_address_);
  SessionExtras& more = extras();
  more.port = std::to_string(header.client_port);
  more.server_address = header.server_address;
  more.server_port = std::to_string(header.server_port);
}

void Session::introduce(const std::optional<smtpwire::ProxyHeader>& proxied) {
  is_introduced_ = true;
  if (proxied) take_client_of(*proxied);
}

}  // namespace postern::smtpd
