#include "common/dns/resolver.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <array>

#include "common/base/scratch.h"
#include "common/base/text.h"
#include "common/loop/stream.h"

namespace postern::dns {

namespace {

using loop::Clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Datagrams that are no answer to the question: an attempt to spoof, or a late duplicate.
constexpr unsigned kMaxStrays = 100;
constexpr std::size_t kEntryOverhead = 256;
constexpr milliseconds kShortestWait{1000};

// Ids, not drawn one system call each.
std::uint16_t random_id() {
  static thread_local std::array<std::uint16_t, 128> pool;
  static thread_local std::size_t left = 0;
  if (left == 0) {
    if (::getrandom(pool.data(), sizeof pool, 0) != static_cast<ssize_t>(sizeof pool)) std::abort();
    left = pool.size();
  }
  return pool[--left];
}

std::string key_of(const Question& question) {
  std::string key = to_lower(question.name);
  key += '/';
  key += type_name(question.type);
  return key;
}

std::size_t data_size(const RecordData& data) {
  if (const auto* txt = std::get_if<Txt>(&data)) return txt->text.size();
  if (const auto* host = std::get_if<Host>(&data)) return host->name.size();
  if (const auto* mx = std::get_if<Mx>(&data)) return mx->host.size();
  if (const auto* tlsa = std::get_if<Tlsa>(&data)) return tlsa->data.size();
  return 0;
}

std::size_t size_of(const Lookup& lookup) {
  std::size_t size = kEntryOverhead + lookup.error.size() + lookup.canonical_name.size();
  for (const Record& record : lookup.records) size += sizeof(Record) + data_size(record.data);
  return size;
}

std::string_view reason_of(LookupStatus status) {
  switch (status) {
    case LookupStatus::kFound:
      return "";
    case LookupStatus::kNoSuchName:
      return "Host not found";
    case LookupStatus::kNoData:
      return "Host found but no data record of requested type";
    case LookupStatus::kTemporary:
      return "Host not found, try again";
  }
  return "";
}

bool is_answer(const Answer& answer) {
  return answer.rcode == Rcode::kNoError || answer.rcode == Rcode::kNoSuchName;
}

}  // namespace

seconds Lookup::ttl_left(loop::TimePoint now) const {
  return std::max(seconds(0), std::chrono::duration_cast<seconds>(expires - now));
}

std::string lookup_error(std::string_view name, RecordType type, LookupStatus status) {
  if (status == LookupStatus::kFound) return {};
  return fmt::format("Host or domain name not found. Name service error for name={} type={}: {}",
                     name, type_name(type), reason_of(status));
}

Resolver::Resolver(ResolvConf conf) : Resolver(std::move(conf), Limits{}) {}

Resolver::Resolver(ResolvConf conf, Limits limits) : limits_(limits) { configure(std::move(conf)); }

void Resolver::configure(ResolvConf conf) {
  conf_ = std::move(conf);
  servers_.clear();
  for (const auto& address : conf_.servers) servers_.push_back({address, {}});
  ++generation_;
  cache_.clear();
  entries_.clear();
  cached_bytes_ = 0;
}

LookupPtr Resolver::find_cached(const std::string& key) {
  const auto found = cache_.find(key);
  if (found == cache_.end()) return nullptr;
  if (found->second->lookup->expires <= Clock::now()) {
    evict(found->second);
    return nullptr;
  }
  entries_.splice(entries_.begin(), entries_, found->second);
  return entries_.front().lookup;
}

void Resolver::keep(const std::string& key, const LookupPtr& lookup) {
  if (lookup->expires <= Clock::now()) return;
  if (const auto old = cache_.find(key); old != cache_.end()) evict(old->second);
  entries_.push_front({key, lookup, size_of(*lookup)});
  cache_.emplace(entries_.front().key, entries_.begin());
  cached_bytes_ += entries_.front().size;
  while (entries_.size() > limits_.entries || cached_bytes_ > limits_.bytes) {
    evict(std::prev(entries_.end()));
  }
}

void Resolver::evict(std::list<Entry>::iterator entry) {
  cached_bytes_ -= entry->size;
  cache_.erase(entry->key);
  entries_.erase(entry);
}

loop::Task<LookupPtr> Resolver::look_up(std::string name, RecordType type) {
  if (name.size() > 1 && name.ends_with('.')) name.pop_back();
  const Question question{std::move(name), type};
  const std::string key = key_of(question);
  if (auto cached = find_cached(key)) co_return cached;

  if (const auto same = pending_.find(key); same != pending_.end()) {
    const std::shared_ptr<Pending> pending = same->second;
    while (pending->result == nullptr) co_await pending->done.wait(loop::kNever);
    co_return pending->result;
  }
  const auto pending = std::make_shared<Pending>();
  pending_.emplace(key, pending);
  while (under_way_ >= limits_.under_way) co_await room_.wait(loop::kNever);
  ++under_way_;
  const std::uint64_t generation = generation_;
  pending->result = co_await resolve(question);
  --under_way_;
  room_.notify_one();
  if (generation == generation_) keep(key, pending->result);
  pending_.erase(key);
  pending->done.notify_all();
  co_return pending->result;
}

// Follows aliases that lead out of an answer: most servers do that themselves.
loop::Task<LookupPtr> Resolver::resolve(Question question) {
  auto lookup = std::make_shared<Lookup>();
  const std::string asked = question.name;
  std::uint32_t ttl = kMaxTtl;
  lookup->is_authenticated = conf_.trust_ad;
  for (std::size_t i = 0; i <= kMaxAliases; ++i) {
    auto answer = co_await ask(question);
    if (!answer) {
      if (answer.error().kind == Error::Kind::kPermanent) {
        lookup->status = LookupStatus::kNoSuchName;
        lookup->error =
            fmt::format("Name service error for {}: invalid host or domain name", asked);
        lookup->expires = Clock::now() + kFailureTtl;
        co_return lookup;
      }
      break;
    }
    lookup->is_authenticated = lookup->is_authenticated && answer->is_authenticated;
    lookup->canonical_name = answer->canonical_name;
    ttl = std::min(ttl, answer->ttl);
    const bool leads_on = answer->rcode == Rcode::kNoError && answer->records.empty() &&
                          answer->is_alias(question) && question.type != RecordType::kCname;
    if (leads_on && i < kMaxAliases) {
      question.name = answer->canonical_name;
      continue;
    }
    if (leads_on) break;
    lookup->records = std::move(answer->records);
    lookup->status = answer->rcode == Rcode::kNoSuchName ? LookupStatus::kNoSuchName
                     : lookup->records.empty()           ? LookupStatus::kNoData
                                                         : LookupStatus::kFound;
    lookup->error = lookup_error(asked, question.type, lookup->status);
    lookup->expires = Clock::now() + std::min(seconds(ttl), kMaxKept);
    co_return lookup;
  }
  lookup->status = LookupStatus::kTemporary;
  lookup->is_authenticated = false;
  lookup->error = lookup_error(asked, question.type, lookup->status);
  lookup->expires = Clock::now() + kFailureTtl;
  co_return lookup;
}

// Indexes of servers_, those that were silent lately last.
std::vector<std::size_t> Resolver::server_order() const {
  std::vector<std::size_t> order;
  const auto now = Clock::now();
  for (const bool silent : {false, true}) {
    for (std::size_t i = 0; i < servers_.size(); ++i) {
      if ((servers_[i].silent_until > now) == silent) order.push_back(i);
    }
  }
  return order;
}

loop::Task<Result<Answer>> Resolver::ask(Question question) {
  if (auto packet = encode_query(0, question, Edns::kPlain); !packet) {
    co_return std::unexpected(packet.error());
  }
  const std::uint64_t generation = generation_;
  Result<Answer> last = fail_temporary("no name server");
  std::vector<std::size_t> order = server_order();
  for (unsigned attempt = 0; attempt < conf_.attempts; ++attempt) {
    const auto share =
        milliseconds(conf_.timeout) * (1U << attempt) /
        (attempt == 0 ? 1 : static_cast<int>(std::max<std::size_t>(1, order.size())));
    const milliseconds wait = std::max(kShortestWait, share);
    std::vector<std::size_t> silent;
    for (const std::size_t i : order) {
      const sys::SocketAddress address = servers_[i].address;
      last = co_await ask_server(address, question, wait);
      if (generation != generation_) co_return last;
      if (last) servers_[i].silent_until = {};
      if (last && is_answer(*last)) co_return last;
      if (!last) {
        silent.push_back(i);
        servers_[i].silent_until = Clock::now() + kSilentServer;
      }
    }
    // One that said that it failed is not asked again; one that said nothing may have lost it.
    order = std::move(silent);
  }
  if (last) last = fail_temporary("name servers answer " + rcode_name(last->rcode));
  co_return last;
}

loop::Task<Result<Answer>> Resolver::ask_server(sys::SocketAddress server, Question question,
                                                milliseconds wait) {
  const loop::Deadline deadline = Clock::now() + wait;
  auto answer = co_await exchange_udp(server, question, Edns::kPlain, deadline);
  if (answer && answer->rcode == Rcode::kFormatError) {
    answer = co_await exchange_udp(server, question, Edns::kNone, deadline);
  }
  if (answer && answer->is_truncated) {
    const loop::Deadline tcp_deadline = Clock::now() + wait;
    answer = co_await exchange_tcp(server, question, tcp_deadline);
  }
  co_return answer;
}

loop::Task<Result<Answer>> Resolver::exchange_udp(sys::SocketAddress server, Question question,
                                                  Edns edns, loop::Deadline deadline) {
  const std::uint16_t id = random_id();
  CO_TRY(const std::string packet, encode_query(id, question, edns));
  sys::Fd fd(::socket(server.family(), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) co_return sys::fail_errno("socket");
  if (::connect(fd.get(), server.get(), server.length) < 0) co_return sys::fail_errno("connect");
  if (::send(fd.get(), packet.data(), packet.size(), MSG_NOSIGNAL) < 0) {
    co_return sys::fail_errno("send");
  }
  loop::FdWatch watch(fd.get());
  watch.clear_read();
  const auto buffer = scratch<Resolver, kMaxMessage>();
  for (unsigned strays = 0; strays < kMaxStrays;) {
    const loop::Wait outcome = co_await watch.readable(deadline);
    if (outcome != loop::Wait::kReady) co_return fail_temporary("no answer in time");
    const ssize_t size = ::recv(fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size < 0) {
      if (errno != EAGAIN && errno != EINTR) co_return sys::fail_errno("receive");
      watch.clear_read();
      continue;
    }
    auto answer = parse_answer({buffer.data(), static_cast<std::size_t>(size)}, id, question);
    if (answer) co_return answer;
    ++strays;
  }
  co_return fail_temporary("nothing but foreign datagrams");
}

loop::Task<Result<Answer>> Resolver::exchange_tcp(sys::SocketAddress server, Question question,
                                                  loop::Deadline deadline) {
  const std::uint16_t id = random_id();
  CO_TRY(const std::string packet, encode_query(id, question, Edns::kPlain));
  CO_TRY(sys::Fd fd, sys::stream_socket(server.family()));
  if (::connect(fd.get(), server.get(), server.length) < 0 && errno != EINPROGRESS) {
    co_return sys::fail_errno("connect");
  }
  loop::Stream stream(std::move(fd));
  stream.watch().clear_write();
  stream.watch().clear_read();
  const loop::Wait connected = co_await stream.watch().writable(deadline);
  if (connected != loop::Wait::kReady) co_return fail_temporary("no TCP connection in time");
  std::string frame;
  frame += static_cast<char>(packet.size() >> 8U);
  frame += static_cast<char>(packet.size() & 0xffU);
  frame += packet;
  stream.put(frame);
  const loop::Io sent = co_await stream.flush(deadline);
  if (sent != loop::Io::kOk) co_return fail_temporary("cannot send over TCP");
  for (;;) {
    const std::string_view in = stream.input();
    if (in.size() >= 2) {
      const auto high = static_cast<unsigned char>(in[0]);
      const auto low = static_cast<unsigned char>(in[1]);
      const std::size_t length = std::size_t{high} * 256 + low;
      if (in.size() >= 2 + length) co_return parse_answer(in.substr(2, length), id, question);
    }
    const loop::Io io = co_await stream.fill(deadline, kMaxMessage + 2);
    if (io != loop::Io::kOk) co_return fail_temporary("no answer over TCP");
  }
}

}  // namespace postern::dns
