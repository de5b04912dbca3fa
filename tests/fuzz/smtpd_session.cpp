// A whole session of smtpd with a client that says anything, in pieces. Its neighbours (tables,
// resolver, flush, cleanup) are scripted: what they answer depends on the question alone. Every
// reply is well formed, the session comes to its end, and nothing is taken that has no content.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/config/snapshot.h"
#include "common/daemon/daemon.h"
#include "common/ipc/cleanup.h"
#include "common/ipc/flush.h"
#include "common/ipc/resolver.h"
#include "common/ipc/server.h"
#include "common/ipc/tables.h"
#include "common/loop/loop.h"
#include "common/loop/stream.h"
#include "common/sys/socket.h"
#include "smtpd/server.h"
#include "smtpd/session.h"

namespace {

using namespace postern;
using namespace std::chrono_literals;

void require(bool condition) {
  if (!condition) std::abort();
}

ipc::tables::Resolved resolved(const std::string& address) {
  ipc::tables::Resolved answer;
  answer.address = answer.recipient = address;
  answer.transport = "virtual";
  answer.nexthop = "box.test";
  answer.address_class = ipc::tables::AddressClass::kVirtualMailbox;
  answer.existence = ipc::tables::Existence::kKnown;
  if (address.starts_with("no")) answer.existence = ipc::tables::Existence::kUnknown;
  if (address.starts_with("error")) answer.existence = ipc::tables::Existence::kError;
  if (!address.ends_with("@box.test")) {
    answer.address_class = ipc::tables::AddressClass::kDefault;
    answer.transport = "smtp";
  }
  return answer;
}

config::Snapshot snapshot() {
  config::Snapshot made;
  unsigned line = 0;
  for (const auto& [name, value] : std::initializer_list<std::pair<const char*, const char*>>{
           {"mail_owner", "root"},
           {"myhostname", "mx.home.test"},
           {"mynetworks", "127.0.0.0/8"},
           {"virtual_mailbox_domains", "box.test"},
           {"smtpd_relay_restrictions", "reject_unauth_destination"},
           {"smtpd_client_connection_count_limit", "0"},
           {"smtpd_error_sleep_time", "0"},
           {"smtpd_timeout", "5s"},
           {"smtpd_hard_error_limit", "50"},
           {"message_size_limit", "100000"},
           {"smtpd_recipient_limit", "20"},
           {"smtpd_authorized_xclient_hosts", "198.51.100.1"},
           {"smtpd_authorized_xforward_hosts", "198.51.100.1"}}) {
    made.settings.push_back({name, value, "main.cf", ++line});
  }
  made.index();
  config::Service service;
  service.name = "smtp";
  service.type = config::ServiceType::kInet;
  service.program = "smtpd";
  made.services.push_back(std::move(service));
  return made;
}

class World {
 public:
  static World& get() {
    // Never taken down: its sessions' neighbours are still in the middle of their work.
    static World* const world = [] {
      (void)folder();  // outlives the handler
      std::atexit([] { std::filesystem::remove_all(folder()); });
      return new World;
    }();
    return *world;
  }

  // The session's replies to these pieces.
  std::string talk(const std::vector<std::string>& pieces) {
    int ends[2] = {-1, -1};
    require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    said_.clear();
    left_ = 2;
    loop::CallbackTimer too_long([] { std::abort(); });
    too_long.arm(loop::Clock::now() + 60s);
    loop::spawn(serve(sys::Fd(ends[0])));
    loop::spawn(speak(sys::Fd(ends[1]), pieces));
    if (left_ > 0) process_->loop().run();
    return said_;
  }
  std::size_t accepted = 0;

  World(const World&) = delete;
  World& operator=(const World&) = delete;

 private:
  static std::string& folder() {
    static std::string path = "/tmp/smtpd-session-XXXXXX";
    return path;
  }
  World() {
    require(::mkdtemp(folder().data()) != nullptr && ::chdir(folder().c_str()) == 0);
    require(::mkdir("public", 0700) == 0 && ::mkdir("private", 0700) == 0);
    const std::string bytes = config::serialize(snapshot());
    const int memory = ::memfd_create("snapshot", MFD_CLOEXEC);
    require(::write(memory, bytes.data(), bytes.size()) == std::ssize(bytes));
    const int nowhere = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    const int high_memory = ::fcntl(memory, F_DUPFD_CLOEXEC, 100);
    const int high_nowhere = ::fcntl(nowhere, F_DUPFD_CLOEXEC, 100);
    require(::dup2(high_nowhere, daemon::kControlFd) >= 0);
    require(::dup2(high_memory, daemon::kSnapshotFd) >= 0);
    require(::dup2(high_nowhere, daemon::kLogFd) >= 0);
    static char* words[] = {const_cast<char*>("smtpd"), const_cast<char*>("-n"),
                            const_cast<char*>("smtp"),  const_cast<char*>("-t"),
                            const_cast<char*>("inet"),  nullptr};
    process_ = std::make_unique<daemon::Process>(5, words, "smtpd");
    start_tables();
    start_resolver();
    start_flush();
    start_cleanup();
    server_ = std::make_unique<smtpd::Server>(*process_);
    config::Problems problems;
    settings_ = smtpd::read_settings(process_->values(), problems);
  }

  ipc::Server& neighbour(const char* path) {
    neighbours_.push_back(std::make_unique<ipc::Server>(sys::listen_unix(path, 0600, 10).value()));
    return *neighbours_.back();
  }
  void start_tables() {
    auto& server = neighbour("private/rewrite");
    auto& to = server.dispatcher();
    using namespace ipc::tables;
    to.answer<Resolve>([](Resolve& question, const ipc::ChannelPtr&) -> Result<Resolved> {
      return resolved(question.address);
    });
    to.answer<Expand>([](Expand& question, const ipc::ChannelPtr&) -> Result<Expanded> {
      Expanded answer;
      answer.recipients = {resolved(question.address)};
      answer.canonical = question.address;
      if (question.address.starts_with("many")) answer.error = "too many";
      return answer;
    });
    to.answer<Lookup>([](Lookup& question, const ipc::ChannelPtr&) -> Result<Found> {
      if (!question.keys.empty() && question.keys.front().text.starts_with("fail")) {
        return fail_temporary("table");
      }
      return Found{};
    });
    server.start();
  }
  void start_resolver() {
    auto& server = neighbour("private/resolver");
    using namespace ipc::resolver;
    server.dispatcher().answer<FindPeer>(
        [](FindPeer&, const ipc::ChannelPtr&) -> Result<Peer> { return Peer{}; });
    server.dispatcher().answer<Query>([](Query&, const ipc::ChannelPtr&) -> Result<Answer> {
      Answer none;
      none.status = Status::kNoSuchName;
      return none;
    });
    server.start();
  }
  void start_flush() {
    auto& server = neighbour("public/flush");
    server.dispatcher().answer<ipc::flush::SendSite>(
        [](ipc::flush::SendSite& question, const ipc::ChannelPtr&) -> Result<ipc::flush::Sent> {
          return ipc::flush::Sent{question.site.size() % 2 == 0 ? ipc::flush::Status::kOk
                                                                : ipc::flush::Status::kDenied};
        });
    server.start();
  }
  Result<ipc::cleanup::Outcome> outcome(std::size_t size) {
    ipc::cleanup::Outcome answer;
    answer.queue_id = "4abcdef";
    answer.is_accepted = size % 7 != 0;
    if (answer.is_accepted) {
      ++accepted;
    } else {
      answer.reply_code = 452;
      answer.status = "4.3.1";
      answer.text = "no room";
    }
    return answer;
  }
  void start_cleanup() {
    auto& server = neighbour("public/cleanup");
    auto& to = server.dispatcher();
    using namespace ipc::cleanup;
    to.answer<NewId>(
        [](NewId&, const ipc::ChannelPtr&) -> Result<Opened> { return Opened{"4abcdef"}; });
    to.answer<Submit>([this](Submit& message, const ipc::ChannelPtr&) {
      require(message.content.size() <= kSmallContent);
      return outcome(message.content.size());
    });
    to.answer<Open>([this](Open& message, const ipc::ChannelPtr&) -> Result<Opened> {
      sizes_[message.transaction] = 0;
      return Opened{"4abcdef"};
    });
    to.raw(kContentType, [this](const ipc::ChannelPtr& channel, ipc::Frame& frame) {
      const auto found = sizes_.find(frame.id);
      require(found != sizes_.end());
      found->second += frame.payload.size();
      Taken taken;
      taken.transaction = frame.id;
      taken.bytes = static_cast<std::int64_t>(found->second);
      channel->notify(taken);
    });
    to.answer<Finish>([this](Finish& end, const ipc::ChannelPtr&) {
      const std::size_t size = sizes_[end.transaction];
      sizes_.erase(end.transaction);
      return outcome(size);
    });
    to.notice<Abort>([this](Abort& end, const ipc::ChannelPtr&) { sizes_.erase(end.transaction); });
    server.start();
  }

  void ended() {
    if (--left_ == 0) process_->loop().stop();
  }
  loop::Task<void> serve(sys::Fd fd) {
    {
      sys::Accepted client{std::move(fd), *sys::parse_address("198.51.100.1", 4711)};
      smtpd::Session session(*server_, settings_, std::move(client), ++number_);
      co_await session.run();
    }
    ended();
  }
  // The last piece is followed by the end of the connection.
  loop::Task<void> speak(sys::Fd fd, std::vector<std::string> pieces) {
    {
      const int socket = fd.get();
      loop::Stream stream(std::move(fd));
      bool is_open = true;
      for (const std::string& piece : pieces) {
        stream.put(piece);
        const loop::Io sent = co_await stream.flush(loop::Clock::now() + 10s);
        if (sent != loop::Io::kOk) break;
        const loop::Io io = co_await stream.fill(loop::Clock::now() + 5ms, 1 << 20);
        said_ += stream.input();
        stream.consume(stream.input().size());
        is_open = io == loop::Io::kOk || io == loop::Io::kTimeout;
        if (!is_open) break;
      }
      ::shutdown(socket, SHUT_WR);
      while (is_open) {
        const loop::Io io = co_await stream.fill(loop::Clock::now() + 30s, 1 << 20);
        said_ += stream.input();
        stream.consume(stream.input().size());
        require(io != loop::Io::kTimeout);
        is_open = io == loop::Io::kOk;
      }
    }
    ended();
  }

  std::unique_ptr<daemon::Process> process_;
  std::vector<std::unique_ptr<ipc::Server>> neighbours_;
  std::unique_ptr<smtpd::Server> server_;
  smtpd::SettingsPtr settings_;
  std::unordered_map<std::uint32_t, std::size_t> sizes_;
  std::string said_;
  std::int64_t number_ = 0;
  int left_ = 0;
};

// Each line is "ddd-text" or "ddd text", printable, and ends in CR LF; 250 to content at most as
// often as cleanup took some.
void check_replies(std::string_view said) {
  while (!said.empty()) {
    const auto end = said.find("\r\n");
    require(end != std::string_view::npos);
    const std::string_view line = said.substr(0, end);
    require(line.size() >= 4 && line[0] >= '2' && line[0] <= '5' && line[1] >= '0' &&
            line[1] <= '9' && line[2] >= '0' && line[2] <= '9' &&
            (line[3] == ' ' || line[3] == '-'));
    for (const char c : line) require(static_cast<unsigned char>(c) >= ' ' || c == '\t');
    said.remove_prefix(end + 2);
  }
}

}  // namespace

// A daemon closes what descriptors it was not given: before anybody else has some.
extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  World::get();
  return 0;
}

// Pieces are cut at '|'.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 300'000) return 0;
  std::vector<std::string> pieces(1);
  for (std::size_t i = 0; i < size; ++i) {
    if (data[i] == '|' && pieces.size() < 40) {
      pieces.emplace_back();
    } else {
      pieces.back() += static_cast<char>(data[i]);
    }
  }
  World& world = World::get();
  world.accepted = 0;
  const std::string said = world.talk(pieces);
  check_replies(said);
  std::size_t queued = 0;
  for (auto at = said.find("queued as"); at != std::string::npos;
       at = said.find("queued as", at + 1)) {
    ++queued;
  }
  require(queued <= world.accepted);
  return 0;
}
