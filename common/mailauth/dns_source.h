// dns_source.h - who answers the DNS questions of mail authentication: the resolver in a daemon, a
// table in a test.

#pragma once

#include <string>
#include <vector>

#include "common/dns/wire.h"
#include "common/loop/task.h"

namespace postern::mailauth {

enum class DnsStatus : unsigned char {
  kFound,
  kNoSuchName,
  kNoData,     // the name is there, no record of the type
  kTemporary,  // nobody knows: never the reason of a refusal
};

struct DnsAnswer {
  DnsStatus status = DnsStatus::kTemporary;
  // Addresses, host names (MX by preference, the null MX as an empty name) or texts.
  std::vector<std::string> records{};

  // There is no such record, and that is certain.
  [[nodiscard]] bool is_void() const {
    return status == DnsStatus::kNoSuchName || status == DnsStatus::kNoData;
  }
};

class DnsSource {
 public:
  DnsSource() = default;
  DnsSource(const DnsSource&) = delete;
  DnsSource& operator=(const DnsSource&) = delete;
  virtual ~DnsSource() = default;

  // A, AAAA, MX, PTR or TXT of a name. Ends within a time that the implementation bounds.
  [[nodiscard]] virtual loop::Task<DnsAnswer> look_up(std::string name, dns::RecordType type) = 0;
};

// What may be asked for at all: labels of 1 to 63 bytes, 253 in all, no byte that a zone file would
// have to escape.
[[nodiscard]] bool is_query_name(std::string_view name);

}  // namespace postern::mailauth
