// The program that is asked is smtpd itself, with the values of its line in master.cf: started for
// one session that comes over the loopback interface, says by XCLIENT who it is, and ends with a
// DATA that takes no content. What its restrictions find goes to its log, which is ours.

#include "postern/explain.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "common/base/encode.h"
#include "common/base/text.h"
#include "common/config/networks.h"
#include "common/ipc/tables.h"
#include "common/log/clean.h"
#include "common/policy/list.h"
#include "common/sys/process.h"
#include "common/sys/socket.h"
#include "postern/ask_service.h"
#include "postern/explain_queue.h"
#include "postern/mail_system.h"

namespace postern::control {

namespace {

constexpr int kReplyTime = 120'000;  // milliseconds: DNS and policy services have time-outs, too
constexpr std::size_t kMaxReply = 65'536;
constexpr std::size_t kMaxLog = std::size_t{8} << 20;

struct Question {
  std::string client, name, helo, from, to, login, service = "smtp";
};

std::optional<Question> parse_question(int argc, char** argv) {
  static const option kOptions[] = {
      {"client", required_argument, nullptr, 'c'},  {"helo", required_argument, nullptr, 'h'},
      {"from", required_argument, nullptr, 'f'},    {"to", required_argument, nullptr, 't'},
      {"auth", required_argument, nullptr, 'a'},    {"name", required_argument, nullptr, 'n'},
      {"service", required_argument, nullptr, 's'}, {nullptr, 0, nullptr, 0}};
  Question question;
  for (int letter = 0; (letter = getopt_long(argc, argv, "", kOptions, nullptr)) != -1;) {
    std::string* const out = letter == 'c'   ? &question.client
                             : letter == 'h' ? &question.helo
                             : letter == 'f' ? &question.from
                             : letter == 't' ? &question.to
                             : letter == 'a' ? &question.login
                             : letter == 'n' ? &question.name
                             : letter == 's' ? &question.service
                                             : nullptr;
    if (out == nullptr) return std::nullopt;
    *out = optarg;
    if (!std::ranges::none_of(*out, [](char c) { return is_control(c); })) return std::nullopt;
  }
  if (optind != argc || !config::parse_ip_address(question.client) || question.to.empty() ||
      question.helo.empty()) {
    return std::nullopt;
  }
  return question;
}

// The name that the address has and that has the address, as smtpd finds it.
std::string name_of(const std::string& client) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(client.c_str(), nullptr, &hints, &found) != 0) return "";
  std::array<char, NI_MAXHOST> name{};
  const bool has_name = ::getnameinfo(found->ai_addr, found->ai_addrlen, name.data(), name.size(),
                                      nullptr, 0, NI_NAMEREQD) == 0;
  ::freeaddrinfo(found);
  if (!has_name) return "";
  addrinfo any{};
  any.ai_socktype = SOCK_STREAM;
  if (::getaddrinfo(name.data(), nullptr, &any, &found) != 0) return "";
  bool is_confirmed = false;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    std::array<char, NI_MAXHOST> text{};
    if (::getnameinfo(each->ai_addr, each->ai_addrlen, text.data(), text.size(), nullptr, 0,
                      NI_NUMERICHOST) == 0) {
      is_confirmed = is_confirmed || client == text.data();
    }
  }
  ::freeaddrinfo(found);
  return is_confirmed ? name.data() : "";
}

const config::Service* find_line(const MailSystem& system, const Question& question) {
  const auto& services = system.loaded.snapshot->services;
  const auto line = std::ranges::find_if(services, [&](const config::Service& service) {
    return service.program == "smtpd" && service.name == question.service;
  });
  return line == services.end() ? nullptr : &*line;
}

config::Values cleanup_values(const MailSystem& system) {
  const config::Values values = system.values();
  const std::string name = values.text("cleanup_service_name");
  const auto& services = system.loaded.snapshot->services;
  const auto line = std::ranges::find(services, name, &config::Service::name);
  return line == services.end() ? values : values.of_service(*line);
}

// smtpd, as master starts it.
class Server {
 public:
  ~Server() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }

  [[nodiscard]] Result<void> start(const MailSystem& system, const Question& question) {
    config::Snapshot snapshot = *system.loaded.snapshot;
    const config::Service* const line = find_line(system, question);
    if (line == nullptr) {
      return fail(Error::Kind::kConfig,
                  fmt::format("master.cf has no smtpd service \"{}\"; name one with --service",
                              question.service));
    }
    config::Service service = *line;
    service.name = policy::kExplainService;
    service.type = config::ServiceType::kInet;
    for (const auto& [name, value] : std::initializer_list<std::pair<const char*, const char*>>{
             {"smtpd_authorized_xclient_hosts", "127.0.0.1"},
             {"smtpd_upstream_proxy_protocol", ""},
             {"smtpd_tls_wrappermode", "no"},
             {"smtpd_milters", ""},
             {"smtpd_milter_maps", ""},
             {"smtpd_proxy_filter", ""},
             // Nothing is counted against the client.
             {"smtpd_client_ban_rejects", "0"},
             {"smtpd_client_ban_auth_failures", "0"},
             {"smtpd_client_connection_count_limit", "0"},
             {"smtpd_client_connection_rate_limit", "0"},
             {"smtpd_client_message_rate_limit", "0"},
             {"smtpd_client_recipient_rate_limit", "0"},
             {"smtpd_error_sleep_time", "0"},
             {"smtpd_peername_lookup", "no"}}) {
      service.overrides.emplace_back(name, value);
    }
    snapshot.services.push_back(std::move(service));
    snapshot.index();
    TRY(const sys::Fd memory, sys::sealed_memory("postern-config", config::serialize(snapshot)));

    TRY(const sys::Fd listener, listen());
    TRY(control_, sys::socket_pair());
    int log[2];
    if (::pipe2(log, O_CLOEXEC) < 0) return sys::fail_errno("pipe");
    log_.reset(log[0]);
    const sys::Fd log_write(log[1]);
    ::fcntl(log_.get(), F_SETFL, O_NONBLOCK);

    sys::Launch launch;
    launch.path = system.values().text("daemon_directory") + "/smtpd";
    launch.arguments = {
        "smtpd", "-n", std::string(policy::kExplainService), "-t", "inet", "-u", "-s", "1",
        "-z",    "0"};
    launch.error = 2;
    launch.descriptors = {control_.second.get(), memory.get(), log_write.get(), listener.get()};
    TRY(pid_, sys::launch(launch));
    control_.second.reset();
    return connect();
  }

  // The reply to a command, its last line; without one the greeting.
  [[nodiscard]] Result<std::string> say(const std::string& command) {
    if (!command.empty()) {
      const std::string line = command + "\r\n";
      if (::send(client_.get(), line.data(), line.size(), MSG_NOSIGNAL) !=
          static_cast<ssize_t>(line.size())) {
        return sys::fail_errno("send");
      }
    }
    while (true) {
      for (std::size_t end = 0; (end = in_.find("\r\n")) != std::string::npos;) {
        std::string line = in_.substr(0, end);
        in_.erase(0, end + 2);
        if (line.size() < 4 || line[3] != '-') return line;
      }
      pollfd waits[] = {{client_.get(), POLLIN, 0}, {log_.get(), POLLIN, 0}};
      const int ready = ::poll(waits, 2, kReplyTime);
      if (ready < 0 && errno == EINTR) continue;
      if (ready <= 0) return fail_temporary("smtpd does not answer");
      if (waits[1].revents != 0) read_log();
      if (waits[0].revents == 0) {
        // Nobody writes to the log any more: smtpd has ended.
        if ((waits[1].revents & POLLHUP) != 0) return fail_temporary("smtpd has ended");
        continue;
      }
      std::array<char, 4096> piece;
      const ssize_t count = ::recv(client_.get(), piece.data(), piece.size(), 0);
      if (count <= 0) return fail_temporary("smtpd has closed the connection");
      in_.append(piece.data(), static_cast<std::size_t>(count));
      if (in_.size() > kMaxReply) return fail_temporary("smtpd says too much");
    }
  }

  // Lines of the log since the last call.
  [[nodiscard]] std::vector<std::string> take_log() {
    read_log();
    std::vector<std::string> lines;
    for (const auto line : split_words(log_text_, "\n")) lines.emplace_back(line);
    log_text_.clear();
    return lines;
  }

 private:
  [[nodiscard]] Result<sys::Fd> listen() {
    sys::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address_;
    auto* const address = reinterpret_cast<sockaddr*>(&address_);
    if (!fd || ::bind(fd.get(), address, size) < 0 || ::listen(fd.get(), 1) < 0 ||
        ::getsockname(fd.get(), address, &size) < 0) {
      return sys::fail_errno("listen");
    }
    return fd;
  }

  [[nodiscard]] Result<void> connect() {
    client_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!client_ || ::connect(client_.get(), reinterpret_cast<const sockaddr*>(&address_),
                              sizeof address_) < 0) {
      return sys::fail_errno("connect");
    }
    return {};
  }

  void read_log() {
    std::array<char, 65536> piece;
    for (ssize_t count = 0; (count = ::read(log_.get(), piece.data(), piece.size())) > 0;) {
      if (log_text_.size() < kMaxLog)
        log_text_.append(piece.data(), static_cast<std::size_t>(count));
    }
  }

  pid_t pid_ = 0;
  sockaddr_in address_{};
  sys::FdPair control_;
  sys::Fd log_, client_;
  std::string in_, log_text_;
};

// Prints what restrictions have found; lists that decide are told by their last line.
void print(const std::vector<std::string>& log, std::string& last_place) {
  for (const std::string& line : log) {
    const auto at = line.find(policy::kExplainMark);
    if (at == std::string::npos) {
      if (const auto warning = line.find("warning: "); warning != std::string::npos) {
        fmt::print("    ({})\n", line.substr(warning));
      }
      continue;
    }
    std::string_view rest = std::string_view(line).substr(at + policy::kExplainMark.size());
    std::array<std::string_view, 4> parts;
    for (auto& part : parts) {
      const auto end = std::min(rest.find(policy::kExplainSeparator), rest.size());
      part = rest.substr(0, end);
      rest.remove_prefix(std::min(end + policy::kExplainSeparator.size(), rest.size()));
    }
    if (parts[3] != last_place) {
      fmt::print("{}\n", parts[3]);
      last_place = parts[3];
    }
    const std::string what = std::string(parts[0] == "1" ? 4U : 8U, ' ') + std::string(parts[1]);
    const bool decides = parts[2] != "-" && !parts[2].starts_with("- ");
    fmt::print("{:<60} {}{}\n", what, parts[2], decides ? "   <- decides" : "");
  }
}

void print_route(const Question& question) {
  ipc::tables::Resolve request;
  request.sender = question.from;
  request.address = question.to;
  request.check_existence = true;
  const auto found = ask_service("rewrite", request);
  if (!found) {
    fmt::print("rewrite: {}\n", found.error().text);
    return;
  }
  if (!found->is_valid) {
    fmt::print("recipient <{}>: {}\n", question.to, found->error);
    return;
  }
  fmt::print("recipient <{}> is <{}>, goes to {}:{} as <{}>{}\n", log::clean(question.to),
             log::clean(found->address), found->transport, log::clean(found->nexthop),
             log::clean(found->recipient),
             found->existence == ipc::tables::Existence::kUnknown ? "; nobody is there" : "");
}

}  // namespace

int explain_main(int argc, char** argv) {
  auto question = parse_question(argc, argv);
  if (!question) {
    return refuse(
        "usage: postern explain --client ADDRESS --helo NAME --from ADDRESS --to ADDRESS "
        "[--auth USER] [--name NAME] [--service NAME]");
  }
  const auto system = open_mail_system();
  if (!system) return 1;
  const std::string queue = system->values().text("queue_directory");
  if (::chdir(queue.c_str()) < 0) return refuse(sys::fail_errno("chdir " + queue).error().text);
  if (!system->running()) return refuse("the mail system is not running: it is asked, too");
  if (question->name.empty()) question->name = name_of(question->client);
  fmt::print("client {}[{}]\n", question->name.empty() ? "unknown" : question->name,
             question->client);
  print_route(*question);

  Server server;
  if (const auto started = server.start(*system, *question); !started) {
    return refuse(started.error().text);
  }
  const bool is_v6 = question->client.find(':') != std::string::npos;
  std::string identity =
      fmt::format("XCLIENT NAME={} ADDR={}{}",
                  question->name.empty() ? "[UNAVAILABLE]" : xtext_encode(question->name),
                  is_v6 ? "IPV6:" : "", question->client);
  if (!question->login.empty()) identity += " LOGIN=" + xtext_encode(question->login);
  const std::string ehlo = "EHLO " + question->helo;
  std::string place;
  bool is_about_client = false;
  // A reply may be there before the log lines of its turn; those of the next come behind them.
  const auto tell_the_rest = [&] {
    static_cast<void>(server.say("QUIT"));
    print(server.take_log(), place);
  };
  for (const std::string& command :
       {std::string(), ehlo, identity, ehlo, fmt::format("MAIL FROM:<{}>", question->from),
        fmt::format("RCPT TO:<{}>", question->to), std::string("DATA")}) {
    const auto reply = server.say(command);
    const auto log = server.take_log();
    // What restrictions find before XCLIENT is about ourselves.
    is_about_client = is_about_client || command == identity;
    if (is_about_client) print(log, place);
    if (!reply) return refuse(reply.error().text);
    if (!reply->starts_with('2')) {
      tell_the_rest();
      fmt::print("{}: refused: {}\n", command.substr(0, command.find(':')), log::clean(*reply));
      return 1;
    }
  }
  tell_the_rest();
  if (!explain_queue(system->values().of_service(*find_line(*system, *question)),
                     cleanup_values(*system), question->from, question->to)) {
    return 1;
  }
  fmt::print("accepted\n");
  return 0;
}

}  // namespace postern::control
