#include "resolver/service.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <random>

#include "common/base/encode.h"
#include "common/base/text.h"
#include "common/dns/mx.h"
#include "common/dns/srv.h"
#include "common/log/log.h"
#include "common/loop/gather.h"

namespace postern::resolver {

namespace {

using dns::LookupPtr;
using dns::LookupStatus;
using dns::RecordType;
using ipc::resolver::Status;

constexpr std::chrono::seconds kLookAgain{1};
constexpr std::size_t kMaxFile = std::size_t{16} << 20;
constexpr std::size_t kMaxMxHosts = 30;       // asked for addresses; the others are not tried
constexpr std::size_t kMaxAddresses = 100;    // of one host
constexpr std::size_t kMaxReverseNames = 10;  // PTR records of one address that are checked

Status status_of(LookupStatus status) {
  switch (status) {
    case LookupStatus::kFound:
      return Status::kFound;
    case LookupStatus::kNoSuchName:
      return Status::kNoSuchName;
    case LookupStatus::kNoData:
      return Status::kNoData;
    case LookupStatus::kTemporary:
      return Status::kTemporary;
  }
  return Status::kTemporary;
}

std::size_t random_below(std::size_t limit) {
  static thread_local std::mt19937 generator{std::random_device{}()};
  return std::uniform_int_distribution<std::size_t>(0, limit - 1)(generator);
}

std::string read_file(const std::string& path) {
  const sys::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  std::string text;
  if (!fd) return text;
  std::array<char, 16384> buffer{};
  while (text.size() < kMaxFile) {
    const ssize_t size = ::read(fd.get(), buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(size));
  }
  return text;
}

// A record's data as text, and its preference where it has one.
struct ToText {
  ipc::resolver::Record& out;
  void operator()(const dns::Address& address) const { out.data = address.to_text(); }
  void operator()(const dns::Host& host) const { out.data = host.name; }
  void operator()(const dns::Mx& mx) const {
    out.data = mx.host;
    out.preference = mx.preference;
  }
  void operator()(const dns::Txt& txt) const { out.data = txt.text; }
  void operator()(const dns::Srv& srv) const {
    out.data = fmt::format("{} {} {}", srv.weight, srv.port, srv.target);
    out.preference = srv.priority;
  }
  void operator()(const dns::Tlsa& tlsa) const {
    out.data = fmt::format("{} {} {} {}", tlsa.usage, tlsa.selector, tlsa.matching_type,
                           hex_encode(tlsa.data));
  }
  void operator()(const dns::Soa& soa) const {
    out.data = fmt::format("{} {} {} {} {} {} {}", soa.primary, soa.mailbox, soa.serial,
                           soa.refresh, soa.retry, soa.expire, soa.minimum);
  }
};

void add_addresses(std::vector<std::string>& out, const dns::Lookup& lookup) {
  for (const auto& record : lookup.records) {
    const auto* address = std::get_if<dns::Address>(&record.data);
    if (address != nullptr && out.size() < kMaxAddresses) out.push_back(address->to_text());
  }
}

// Of two look-ups that found nothing, the one that says more: a failure, then "no such record".
const dns::Lookup& more_telling(const dns::Lookup& a, const dns::Lookup& b) {
  const auto rank = [](const dns::Lookup& lookup) {
    return lookup.status == LookupStatus::kTemporary ? 2
           : lookup.status == LookupStatus::kNoData  ? 1
                                                     : 0;
  };
  return rank(a) > rank(b) ? a : b;
}

// The words of gai_strerror(3), which log readers know.
std::string_view library_words(LookupStatus status) {
  switch (status) {
    case LookupStatus::kFound:
    case LookupStatus::kNoData:
      return "No address associated with hostname";
    case LookupStatus::kNoSuchName:
      return "Name or service not known";
    case LookupStatus::kTemporary:
      return "Temporary failure in name resolution";
  }
  return "";
}

}  // namespace

Finder::Finder(Files files) : files_(std::move(files)), resolver_(dns::ResolvConf{}) {}

void Finder::use(dns::ResolvConf conf, dns::HostsFile hosts) {
  is_fixed_ = true;
  hosts_ = std::move(hosts);
  resolver_.configure(std::move(conf));
}

std::optional<Finder::Stamp> Finder::stamp_of(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) < 0) return std::nullopt;
  return Stamp{status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ino, status.st_size};
}

void Finder::refresh() {
  const auto now = loop::Clock::now();
  const bool is_first = looked_ == loop::TimePoint{};
  if (is_fixed_ || (!is_first && now < looked_ + kLookAgain)) return;
  looked_ = now;
  if (const auto stamp = stamp_of(files_.resolv_conf); is_first || stamp != resolv_stamp_) {
    resolv_stamp_ = stamp;
    resolver_.configure(dns::parse_resolv_conf(read_file(files_.resolv_conf)));
  }
  if (const auto stamp = stamp_of(files_.hosts); is_first || stamp != hosts_stamp_) {
    hosts_stamp_ = stamp;
    hosts_ = dns::HostsFile::parse(read_file(files_.hosts));
  }
}

loop::Task<Result<ipc::resolver::Answer>> Finder::query(ipc::resolver::Query query) {
  refresh();
  const auto type = dns::find_type(query.type);
  if (!type) co_return fail_temporary(fmt::format("{}: unknown record type", query.type));
  const LookupPtr lookup = co_await resolver_.look_up(query.name, *type);
  ipc::resolver::Answer answer;
  answer.status = status_of(lookup->status);
  answer.is_authenticated = lookup->is_authenticated;
  answer.error = lookup->error;
  const auto left = lookup->ttl_left(loop::Clock::now()).count();
  for (const auto& record : lookup->records) {
    auto& out = answer.records.emplace_back();
    out.name = lookup->canonical_name;
    out.ttl = std::min<std::int64_t>(record.ttl, left);
    std::visit(ToText{out}, record.data);
  }
  co_return answer;
}

loop::Task<ipc::resolver::Host> Finder::find_addresses(std::string name,
                                                       ipc::resolver::FindHosts how) {
  ipc::resolver::Host host;
  host.name = name;
  if (const auto literal = dns::parse_address(name); literal && !literal->is_ipv6) {
    // As the host of an MX record; a name server has nothing to say of it.
    log::warning("numeric domain name in a record of mail exchangers: {}", name);
    if (how.use_ipv4) {
      host.addresses.push_back(literal->to_text());
      co_return host;
    }
  }
  if (how.use_hosts_file) {
    for (const auto& address : hosts_.addresses_of(name)) {
      if (address.is_ipv6 ? how.use_ipv6 : how.use_ipv4)
        host.addresses.push_back(address.to_text());
    }
    if (!host.addresses.empty()) co_return host;
  }
  const auto last_type = how.use_ipv6 ? RecordType::kAaaa : RecordType::kA;
  if (!how.use_dns) {
    host.status = Status::kNoSuchName;
    host.error = dns::lookup_error(name, last_type, LookupStatus::kNoSuchName);
    co_return host;
  }
  LookupPtr v4;
  LookupPtr v6;
  loop::Gather both;
  if (how.use_ipv4) both.add(loop::store(resolver_.look_up(name, RecordType::kA), &v4));
  if (how.use_ipv6) both.add(loop::store(resolver_.look_up(name, RecordType::kAaaa), &v6));
  co_await both.done();
  host.is_authenticated = true;
  for (const auto& found : {v4, v6}) {
    if (found == nullptr || found->status != LookupStatus::kFound) continue;
    add_addresses(host.addresses, *found);
    host.is_authenticated = host.is_authenticated && found->is_authenticated;
    if (!equal_nocase(found->canonical_name, name)) host.canonical_name = found->canonical_name;
  }
  if (!host.addresses.empty()) co_return host;
  host.is_authenticated = false;
  if (v4 == nullptr) v4 = v6;
  if (v6 == nullptr) v6 = v4;
  if (v4 == nullptr) {
    host.status = Status::kNoSuchName;
    host.error = dns::lookup_error(name, last_type, LookupStatus::kNoSuchName);
    co_return host;
  }
  const dns::Lookup& telling = more_telling(*v4, *v6);
  host.status = status_of(telling.status);
  host.error = telling.error;
  co_return host;
}

loop::Task<ipc::resolver::Hosts> Finder::find_servers(std::string domain,
                                                      ipc::resolver::FindHosts how) {
  ipc::resolver::Hosts found;
  const std::string name = fmt::format("_{}._tcp.{}", how.service, domain);
  const LookupPtr srv = co_await resolver_.look_up(name, RecordType::kSrv);
  found.status = status_of(srv->status);
  found.error = srv->error;
  if (srv->status != LookupStatus::kFound) co_return found;
  const dns::SrvPlan plan = dns::plan_srv(srv->records, random_below);
  if (plan.servers.empty()) {
    found.status = Status::kNoData;
    found.error = plan.is_null
                      ? fmt::format("domain {} does not offer the service {}", domain, how.service)
                      : fmt::format("no usable SRV record of {}", name);
    co_return found;
  }
  found.has_srv = true;
  found.is_authenticated = srv->is_authenticated;
  const std::size_t count = std::min(plan.servers.size(), kMaxMxHosts);
  found.hosts.resize(count);
  loop::Gather all;
  for (std::size_t i = 0; i < count; ++i) {
    all.add(loop::store(find_addresses(plan.servers[i].target, how), &found.hosts[i]));
  }
  co_await all.done();
  for (std::size_t i = 0; i < count; ++i) {
    found.hosts[i].preference = static_cast<std::int64_t>(i);
    found.hosts[i].port = plan.servers[i].port;
  }
  co_return found;
}

loop::Task<Result<ipc::resolver::Hosts>> Finder::find_hosts(ipc::resolver::FindHosts request) {
  refresh();
  std::string domain = request.domain;
  if (domain.ends_with('.')) domain.pop_back();
  ipc::resolver::Hosts found;
  if (!request.service.empty() && request.use_dns) {
    found = co_await find_servers(domain, request);
    co_return found;
  }
  if (request.use_mx && request.use_dns) {
    const LookupPtr mx = co_await resolver_.look_up(domain, RecordType::kMx);
    if (mx->status == LookupStatus::kTemporary) {
      found.status = Status::kTemporary;
      found.error = mx->error;
      co_return found;
    }
    if (mx->status == LookupStatus::kFound) {
      found.has_mx = true;
      found.is_authenticated = mx->is_authenticated;
      const dns::MxPlan plan = dns::plan_mx(mx->records, random_below);
      found.is_null_mx = plan.is_null;
      if (plan.hosts.empty()) {
        found.status = Status::kNoData;
        found.error = fmt::format(
            "Host or domain name not found. Name service error for name={} type=MX: "
            "Malformed or unexpected name server reply",
            domain);
        co_return found;
      }
      const std::size_t count = std::min(plan.hosts.size(), kMaxMxHosts);
      found.hosts.resize(count);
      loop::Gather all;
      for (std::size_t i = 0; i < count; ++i) {
        all.add(loop::store(find_addresses(plan.hosts[i].host, request), &found.hosts[i]));
      }
      co_await all.done();
      for (std::size_t i = 0; i < count; ++i) found.hosts[i].preference = plan.hosts[i].preference;
      co_return found;
    }
  }
  ipc::resolver::Host host = co_await find_addresses(domain, request);
  found.status = host.status;
  found.error = host.error;
  found.is_authenticated = host.is_authenticated;
  found.hosts.push_back(std::move(host));
  co_return found;
}

loop::Task<std::optional<std::string>> Finder::why_not(std::string name, dns::Address address,
                                                       Status* status) {
  *status = Status::kFound;
  for (const auto& listed : hosts_.addresses_of(name)) {
    if (listed == address) co_return std::nullopt;
  }
  const LookupPtr forward =
      co_await resolver_.look_up(name, address.is_ipv6 ? RecordType::kAaaa : RecordType::kA);
  for (const auto& record : forward->records) {
    const auto* found = std::get_if<dns::Address>(&record.data);
    if (found != nullptr && *found == address) co_return std::nullopt;
  }
  *status =
      forward->status == LookupStatus::kFound ? Status::kNoSuchName : status_of(forward->status);
  std::string why =
      fmt::format("hostname {} does not resolve to address {}", name, address.to_text());
  if (forward->status != LookupStatus::kFound) {
    why += fmt::format(": {}", library_words(forward->status));
  }
  co_return why;
}

loop::Task<Result<ipc::resolver::Peer>> Finder::find_peer(ipc::resolver::FindPeer request) {
  refresh();
  ipc::resolver::Peer peer;
  const auto address = dns::parse_address(request.address);
  if (!address) {
    peer.name_status = peer.reverse_status = Status::kNoSuchName;
    co_return peer;
  }
  std::vector<std::string> names;
  if (std::string name = hosts_.name_of(*address); !name.empty()) {
    names.push_back(std::move(name));
  } else {
    const LookupPtr reverse =
        co_await resolver_.look_up(dns::reverse_name(*address), RecordType::kPtr);
    peer.name_status = peer.reverse_status = status_of(reverse->status);
    if (reverse->status != LookupStatus::kFound) co_return peer;
    for (const auto& record : reverse->records) {
      const auto* host = std::get_if<dns::Host>(&record.data);
      if (host != nullptr && names.size() < kMaxReverseNames) names.push_back(host->name);
    }
  }
  std::erase_if(names, [](const std::string& name) {
    return !dns::is_host_name(name) || dns::parse_address(name).has_value();
  });
  if (names.empty()) {
    peer.name_status = peer.reverse_status = Status::kNoSuchName;
    co_return peer;
  }
  // The C library takes the first PTR record, and so do those who read the logs.
  peer.reverse_name = names.front();
  peer.reverse_status = Status::kFound;
  auto why = co_await why_not(names.front(), *address, &peer.name_status);
  if (why) {
    peer.warning = *std::move(why);
  } else {
    peer.name = names.front();
  }
  co_return peer;
}

Service::Service(sys::Fd listener, ipc::Peers clients, Files files)
    : finder_(std::move(files)), server_(std::move(listener)) {
  server_.only_for(std::move(clients));
}

void Service::start() {
  auto& dispatcher = server_.dispatcher();
  dispatcher.serve<ipc::resolver::Query>([this](ipc::resolver::Query request, ipc::ChannelPtr) {
    return finder_.query(std::move(request));
  });
  dispatcher.serve<ipc::resolver::FindHosts>(
      [this](ipc::resolver::FindHosts request, ipc::ChannelPtr) {
        return finder_.find_hosts(std::move(request));
      });
  dispatcher.serve<ipc::resolver::FindPeer>(
      [this](ipc::resolver::FindPeer request, ipc::ChannelPtr) {
        return finder_.find_peer(std::move(request));
      });
  server_.start();
}

void Service::stop() {
  server_.stop_accepting();
  const auto channels = server_.channels();
  for (const auto& channel : channels) channel->close();
}

}  // namespace postern::resolver
