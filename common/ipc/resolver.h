// resolver.h - what the resolver answers for everybody (private/resolver): DNS and hosts look-ups.

#pragma once

#include <string>
#include <vector>

#include "common/ipc/message.h"

namespace postern::ipc::resolver {

enum class Status : std::uint8_t {
  kFound = 0,
  kNoSuchName = 1,  // NXDOMAIN
  kNoData = 2,      // the name is there, no record of the type
  kTemporary = 3,   // SERVFAIL, time-out, REFUSED, garbage
};

struct Record {
  std::string name;             // owner, after CNAMEs
  std::string data;             // address, host, or text, by type
  std::int64_t preference = 0;  // MX
  std::int64_t ttl = 0;         // seconds left
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("name", self.name);
    field("data", self.data);
    field("preference", self.preference);
    field("ttl", self.ttl);
  }
};

struct Answer {
  Status status = Status::kFound;
  bool is_authenticated = false;  // AD bit from a trusted resolver
  std::vector<Record> records;
  std::string error;  // "Host or domain name not found. Name service error for name=x type=MX: Host
                      // not found"
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("status", self.status);
    field("is_authenticated", self.is_authenticated);
    field("records", self.records);
    field("error", self.error);
  }
};

// One DNS question. `type` as in a zone file: "A", "MX", "TXT", "PTR", "TLSA", ...
struct Query {
  static constexpr std::uint16_t kType = 0x0701;
  static constexpr bool kRepeatable = true;
  using Reply = Answer;
  std::string name;
  std::string type;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("name", self.name);
    field("type", self.type);
  }
};

struct Host {
  std::string name;
  std::int64_t preference = 0;
  std::int64_t port = 0;               // of an SRV record; 0: the one that was to be used
  std::vector<std::string> addresses;  // in the order to be tried
  bool is_authenticated = false;       // the addresses are: AD bit from a trusted resolver
  std::string canonical_name;          // where its aliases lead; empty: there is none
  Status status = Status::kFound;      // of the address look-up
  std::string error;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("name", self.name);
    field("preference", self.preference);
    field("port", self.port);
    field("addresses", self.addresses);
    field("is_authenticated", self.is_authenticated);
    field("canonical_name", self.canonical_name);
    field("status", self.status);
    field("error", self.error);
  }
};

struct Hosts {
  Status status = Status::kFound;
  bool has_mx = false;      // the hosts come from MX records, not from the name itself
  bool has_srv = false;     // from SRV records: their order is kept
  bool is_null_mx = false;  // RFC 7505
  // The MX records are; where there are none, the addresses of the name itself.
  bool is_authenticated = false;
  std::vector<Host> hosts;  // by preference, equals shuffled
  std::string error;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("status", self.status);
    field("has_mx", self.has_mx);
    field("has_srv", self.has_srv);
    field("is_null_mx", self.is_null_mx);
    field("is_authenticated", self.is_authenticated);
    field("hosts", self.hosts);
    field("error", self.error);
  }
};

// Where mail for a domain goes: MX hosts with their addresses, or the addresses of the name itself;
// with a service, the hosts of its SRV records and nothing else.
struct FindHosts {
  static constexpr std::uint16_t kType = 0x0702;
  static constexpr bool kRepeatable = true;
  using Reply = Hosts;
  std::string domain;
  std::string service;  // "submission": RFC 2782; empty: no SRV records
  bool use_mx = true;   // false: "[host]", only addresses
  bool use_dns = true;  // smtp_host_lookup, smtp_dns_support_level
  bool use_hosts_file = false;
  bool use_ipv4 = true;  // inet_protocols
  bool use_ipv6 = true;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("domain", self.domain);
    field("service", self.service);
    field("use_mx", self.use_mx);
    field("use_dns", self.use_dns);
    field("use_hosts_file", self.use_hosts_file);
    field("use_ipv4", self.use_ipv4);
    field("use_ipv6", self.use_ipv6);
  }
};

// The name of a client: PTR, and whether that name leads back to the address.
struct Peer {
  std::string name = "unknown";          // verified, or "unknown"
  std::string reverse_name = "unknown";  // the PTR alone
  Status name_status = Status::kFound;
  Status reverse_status = Status::kFound;
  std::string warning;  // "hostname H does not resolve to address IP"
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("name", self.name);
    field("reverse_name", self.reverse_name);
    field("name_status", self.name_status);
    field("reverse_status", self.reverse_status);
    field("warning", self.warning);
  }
};

struct FindPeer {
  static constexpr std::uint16_t kType = 0x0703;
  static constexpr bool kRepeatable = true;
  using Reply = Peer;
  std::string address;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("address", self.address);
  }
};

}  // namespace postern::ipc::resolver
