// postqueue - what users may do with the queue: list it, and ask for another try.
//
// Installed with the group postdrop's rights, which reach the sockets in public/.

#include <fcntl.h>
#include <fmt/format.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "common/base/text.h"
#include "common/config/authorized_user.h"
#include "common/config/params/paths.h"
#include "common/config/params/queue.h"
#include "common/config/tool.h"
#include "common/ipc/ask_once.h"
#include "common/ipc/channel.h"
#include "common/ipc/flush.h"
#include "common/ipc/qmgr.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/queuefile/queue_id.h"
#include "common/queuefile/writer.h"
#include "common/sys/output.h"
#include "common/sys/privilege.h"
#include "common/sys/process.h"
#include "common/sys/socket.h"
#include "postqueue/print.h"

namespace {

using namespace postern;

constexpr std::chrono::seconds kFlushTime{100};

[[noreturn]] void give_up(int status, std::string_view text) {
  log::write(log::Level::kFatal, text);
  std::exit(status);
}

// From showq, or, when the mail system is down, from the files, as far as one's rights go.
Result<std::vector<queuefile::ListedMessage>> read_listing(const config::Values& values) {
  auto connected = sys::connect_unix("public/" + values.text("showq_service_name"));
  const std::string reason = sys::errno_text(errno);
  if (connected) {
    ::fcntl(connected->get(), F_SETFL, 0);  // to wait for it
    std::string stream;
    std::array<char, 65536> piece;
    for (ssize_t count = 0; (count = ::read(connected->get(), piece.data(), piece.size())) != 0;) {
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return sys::fail_errno("read public/showq");
      stream.append(piece.data(), static_cast<std::size_t>(count));
    }
    return queuefile::parse_stream(stream);
  }
  if (::getuid() != 0) {
    return fail_temporary("Queue report unavailable - mail system is down");
  }
  log::warning("Mail system is down -- accessing queue directly (Connect to the {} {} service: {})",
               values.text("mail_name"), values.text("showq_service_name"), reason);
  config::Problems problems;
  const auto queue = config::load<config::QueueParams>(values, problems);
  TRY(const auto dirs,
      queuefile::QueueDirs::open(
          ".", {queue.hash_queue_names, static_cast<unsigned>(queue.hash_queue_depth)}));
  std::vector<queuefile::ListedMessage> messages;
  for (const auto which : queuefile::kListedQueues) {
    auto walk = dirs.scan(which);
    for (;;) {
      const auto entry = walk.next();
      if (!entry) continue;
      if (!*entry) break;
      if (auto message = queuefile::list_message(dirs, which, **entry)) {
        messages.push_back(*std::move(message));
      }
    }
  }
  return messages;
}

void print(std::string_view text) {
  // A reader that has seen enough (head) is no failure.
  std::fwrite(text.data(), 1, text.size(), stdout);
}

// Postfix's own notion of an id, so that scripts see the same status.
bool may_be_queue_id(std::string_view name) {
  return !name.empty() && name.size() <= queuefile::kMaxQueueId &&
         std::ranges::all_of(name, [](char c) { return is_alnum(c) || c == '_'; });
}

void flush(std::vector<std::string> ids) {
  auto fd = sys::connect_unix("public/qmgr");
  if (!fd) give_up(EX_UNAVAILABLE, "Cannot flush mail queue - mail system is down");
  loop::Loop loop;
  const ipc::Dispatcher dispatcher;
  const auto channel = std::make_shared<ipc::Channel>(*std::move(fd), dispatcher);
  channel->start();
  ipc::qmgr::Flush notice;
  notice.queue_ids = std::move(ids);
  channel->notify(notice);
  channel->flush_now();
  channel->close();
}

// Waits for the service's answer; nothing when it does not come.
std::optional<ipc::flush::Status> ask_flush(const config::Values& values, const std::string& site) {
  auto fd = sys::connect_unix("public/" + values.text("flush_service_name"));
  if (!fd) return std::nullopt;
  ipc::flush::SendSite request;
  request.site = site;
  const ipc::Dispatcher dispatcher;
  const auto sent = ipc::ask_once(*std::move(fd), std::move(request), dispatcher, kFlushTime);
  if (!sent) return std::nullopt;
  return sent->status;
}

void flush_site(const config::Values& values, const std::string& site) {
  if (!mail::is_valid_domain(site)) {
    give_up(EX_UNAVAILABLE, fmt::format("Cannot flush mail queue - invalid destination: \"{}\"",
                                        log::clean(site, 100)));
  }
  const auto status = ask_flush(values, site);
  if (!status) give_up(EX_UNAVAILABLE, "Cannot flush mail queue - mail system is down");
  if (*status == ipc::flush::Status::kDenied) {
    give_up(EX_UNAVAILABLE,
            fmt::format("Flush service is not configured for destination \"{}\"", site));
  }
  if (*status == ipc::flush::Status::kBad) {
    give_up(EX_UNAVAILABLE, fmt::format("Invalid request: \"{}\"", site));
  }
}

// postconf(5) authorized_mailq_users, authorized_flush_users: root and mail_owner are always asked
// in.
void demand_permission(const config::Values& values, std::string_view parameter,
                       std::string_view what) {
  if (::getuid() == 0) return;
  const auto owner = sys::find_account(values.text("mail_owner"));
  if (owner && owner->uid == ::getuid()) return;
  const auto refused = config::find_refused_user(values, parameter);
  if (!refused) give_up(EX_TEMPFAIL, fmt::format("{}: {}", parameter, refused.error().text));
  if (!*refused) return;
  give_up(EX_UNAVAILABLE, fmt::format("User {}({}) is not allowed to {} the mail queue",
                                      (*refused)->name, (*refused)->uid, what));
}

// Whatever keeps postqueue from its work has this exit status, as in Postfix.
[[noreturn]] void usage() {
  give_up(EX_UNAVAILABLE,
          "usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s "
          "site");
}

}  // namespace

int main(int argc, char** argv) {
  if (!sys::fill_standard_descriptors()) return EX_OSERR;
  sys::close_from(3);
  ::signal(SIGPIPE, SIG_IGN);
  log::open({.program = "postqueue", .to_terminal = true});
  sys::guard_standard_output("postqueue");

  std::string directory;
  char mode = 0;
  std::string argument;
  for (int c = 0; (c = ::getopt(argc, argv, "c:fi:jps:v")) != -1;) {
    if (c == 'c') {
      directory = ::optarg;
    } else if (c == '?') {
      usage();
    } else if (c != 'v') {
      if (mode != 0) usage();
      mode = static_cast<char>(c);
      if (::optarg != nullptr && (c == 'i' || c == 's')) argument = ::optarg;
    }
  }
  if (mode == 0 || ::optind < argc) usage();

  const auto tool = config::open_tool(directory);
  if (!tool) give_up(EX_UNAVAILABLE, tool.error().text);
  config::Problems problems;
  const auto paths = config::load<config::PathsParams>(tool->values, problems);
  if (::chdir(paths.queue_directory.c_str()) < 0) {
    give_up(EX_UNAVAILABLE,
            fmt::format("chdir {}: {}", paths.queue_directory, sys::errno_text(errno)));
  }
  if (mode == 'p' || mode == 'j') {
    demand_permission(tool->values, "authorized_mailq_users", "view");
  } else {
    demand_permission(tool->values, "authorized_flush_users", "flush");
  }
  switch (mode) {
    case 'f':
      flush({});
      break;
    case 'i':
      if (!may_be_queue_id(argument)) {
        give_up(EX_UNAVAILABLE, fmt::format("Cannot flush queue ID - invalid name: \"{}\"",
                                            log::clean(argument, 100)));
      }
      // Of other forms than ours there is none.
      if (queuefile::is_valid_queue_id(argument)) flush({argument});
      break;
    case 's':
      flush_site(tool->values, argument);
      break;
    default: {
      const auto messages = read_listing(tool->values);
      if (!messages) give_up(EX_UNAVAILABLE, messages.error().text);
      const auto ids = tool->values.flag("enable_long_queue_ids") ? postqueue::IdColumn::kLong
                                                                  : postqueue::IdColumn::kShort;
      print(mode == 'j' ? postqueue::print_json(*messages) : postqueue::print_text(*messages, ids));
    }
  }
  return 0;
}
