// resolver.h - asks name servers: transport, retransmission and the one cache.
//
// Each query has its own socket, and with it a random port, and a random id; the socket is
// connected, so that only the server asked can answer. A truncated answer is asked for again over
// TCP. Servers that do not answer, refuse or fail are followed by the next one; one that was silent
// is asked last for a while. Identical questions under way are one query.
//
// The cache is bounded in entries and bytes, oldest use first out. "There is none" is kept as long
// as its SOA record says, a failure for kFailureTtl.

#pragma once

#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/keyed_hash.h"
#include "common/base/result.h"
#include "common/dns/conf.h"
#include "common/dns/wire.h"
#include "common/loop/loop.h"
#include "common/loop/task.h"

namespace postern::dns {

enum class LookupStatus : unsigned char {
  kFound,
  kNoSuchName,
  kNoData,     // the name is there, no record of the type
  kTemporary,  // no usable answer from any server
};

struct Lookup {
  LookupStatus status = LookupStatus::kTemporary;
  bool is_authenticated = false;
  std::string canonical_name{};
  std::vector<Record> records{};
  loop::TimePoint expires{};
  std::string error{};  // empty when found

  [[nodiscard]] std::chrono::seconds ttl_left(loop::TimePoint now) const;
};
using LookupPtr = std::shared_ptr<const Lookup>;

// "Host or domain name not found. Name service error for name=x type=MX: Host not found".
[[nodiscard]] std::string lookup_error(std::string_view name, RecordType type, LookupStatus status);

class Resolver {
 public:
  struct Limits {
    std::size_t entries = 50'000;
    std::size_t bytes = std::size_t{64} << 20;
    std::size_t under_way = 500;  // further questions wait
  };
  static constexpr std::chrono::seconds kMaxKept{86'400};
  static constexpr std::chrono::seconds kFailureTtl{2};
  static constexpr std::chrono::seconds kSilentServer{30};

  explicit Resolver(ResolvConf conf);
  Resolver(ResolvConf conf, Limits limits);
  ~Resolver() = default;
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Other servers, and nothing of what the old ones said.
  void configure(ResolvConf conf);

  // Never null. Ends within the time that resolv.conf gives, 30 s by default.
  [[nodiscard]] loop::Task<LookupPtr> look_up(std::string name, RecordType type);

  [[nodiscard]] std::size_t cached() const { return cache_.size(); }

 private:
  struct Pending {
    LookupPtr result;
    loop::Condition done;
  };
  struct Entry {
    std::string key;
    LookupPtr lookup;
    std::size_t size = 0;
  };
  struct Server {
    sys::SocketAddress address;
    loop::TimePoint silent_until{};
  };

  [[nodiscard]] LookupPtr find_cached(const std::string& key);
  void keep(const std::string& key, const LookupPtr& lookup);
  void evict(std::list<Entry>::iterator entry);

  loop::Task<LookupPtr> resolve(Question question);
  loop::Task<Result<Answer>> ask(Question question);
  loop::Task<Result<Answer>> ask_server(sys::SocketAddress server, Question question,
                                        std::chrono::milliseconds wait);
  static loop::Task<Result<Answer>> exchange_udp(sys::SocketAddress server, Question question,
                                                 Edns edns, loop::Deadline deadline);
  static loop::Task<Result<Answer>> exchange_tcp(sys::SocketAddress server, Question question,
                                                 loop::Deadline deadline);
  [[nodiscard]] std::vector<std::size_t> server_order() const;

  Limits limits_;
  ResolvConf conf_;
  std::vector<Server> servers_;
  std::uint64_t generation_ = 0;  // of the configuration
  std::size_t under_way_ = 0;
  loop::Condition room_;
  StringMap<std::shared_ptr<Pending>> pending_;
  std::list<Entry> entries_;  // latest use first
  StringViewMap<std::list<Entry>::iterator> cache_;
  std::size_t cached_bytes_ = 0;
};

}  // namespace postern::dns
