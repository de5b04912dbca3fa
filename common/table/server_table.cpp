#include "common/table/server_table.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>

#include <cerrno>
#include <optional>

#include "common/base/text.h"
#include "common/sys/socket.h"
#include "common/table/server_client.h"

namespace postern::table {

namespace {

// Waits for the network where it stands: the loop has nothing else to do.
loop::Task<Result<sys::Fd>> connect_now(std::string endpoint, loop::Deadline /*deadline*/) {
  if (endpoint.starts_with("unix:")) co_return sys::connect_unix(endpoint.substr(5));
  auto [host, port] = split_at_last(std::string_view(endpoint).substr(5), ':');
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int status =
      ::getaddrinfo(std::string(host).c_str(), std::string(port).c_str(), &hints, &found);
  if (status != 0) co_return fail_temporary(::gai_strerror(status));
  Result<sys::Fd> result = fail_temporary("no address");
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    sys::Fd fd(::socket(each->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (fd && ::connect(fd.get(), each->ai_addr, each->ai_addrlen) == 0) {
      result = sys::duplicate(fd.get());
      break;
    }
    result = fail_temporary(sys::errno_text(errno));
  }
  ::freeaddrinfo(found);
  if (result) ::fcntl(result->get(), F_SETFL, O_NONBLOCK);
  co_return result;
}

class ServerTable final : public Table {
 public:
  ServerTable(std::string_view type, std::string_view name) : Table(type, name, false) {}

 private:
  Found do_find(std::string_view key) override {
    loop::Loop loop;
    ServerClient client(connect_now);
    std::optional<Found> answer;
    const auto ask = [](ServerClient& whom, std::string table, std::string what, loop::Loop& turns,
                        std::optional<Found>& out) -> loop::Task<void> {
      out = co_await whom.find(std::move(table), std::move(what));
      turns.stop();
    };
    loop::spawn(ask(client, name(), std::string(key), loop, answer));
    // A quick server has answered by now, one that is away has refused: there is nothing to stop
    // the loop any more.
    if (!answer) loop.run();
    if (*answer) return *std::move(answer);
    // "type:name: reason" in the words of the other types.
    std::string_view reason = answer->error().text;
    if (reason.starts_with(name()))
      reason.remove_prefix(std::min(reason.size(), name().size() + 2));
    return fail(answer->error().kind, fmt::format("table {}: query error: {}", name(), reason));
  }
};

}  // namespace

void register_server_types() {
  for (const std::string_view type : {"tcp", "socketmap"}) {
    register_type(std::string(type),
                  [type](std::string_view name, const OpenOptions&) -> OpenedTable {
                    TRY(const auto address, parse_server_table(fmt::format("{}:{}", type, name)));
                    static_cast<void>(address);
                    return std::make_unique<ServerTable>(type, name);
                  });
  }
}

}  // namespace postern::table
