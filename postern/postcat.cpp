// postcat.cpp - shows a queue file: envelope, header and body.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "common/base/text.h"
#include "common/config/params/paths.h"
#include "common/config/params/queue.h"
#include "common/config/tool.h"
#include "common/log/log.h"
#include "common/mail/date.h"
#include "common/queuefile/queue_dir.h"
#include "common/queuefile/queue_id.h"
#include "common/queuefile/reader.h"
#include "common/queuefile/writer.h"
#include "postern/queue_tools.h"

namespace postern::control {

namespace {

using queuefile::Queue;

struct Selection {
  bool envelope = false;
  bool header = false;
  bool body = false;
  bool offsets = false;
};

[[noreturn]] void give_up(std::string_view text) {
  log::write(log::Level::kFatal, text);
  std::exit(1);
}

void print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

// What ids of any mail system are made of.
bool looks_like_id(std::string_view name) {
  constexpr std::string_view kLettersAndDigits =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  return !name.empty() && name.size() <= queuefile::kMaxQueueId &&
         name.find_first_not_of(kLettersAndDigits) == std::string_view::npos;
}

// Standard input, or a copy in memory of what a pipe gives: messages are read by position.
sys::Fd seekable_input() {
  struct stat status{};
  if (::fstat(STDIN_FILENO, &status) == 0 && S_ISREG(status.st_mode))
    return sys::Fd(::dup(STDIN_FILENO));
  sys::Fd copy(::memfd_create("stdin", MFD_CLOEXEC));
  if (!copy) give_up(fmt::format("stdin: {}", sys::errno_text(errno)));
  std::array<char, 65536> piece;
  for (;;) {
    const ssize_t count = ::read(STDIN_FILENO, piece.data(), piece.size());
    if (count < 0) give_up(fmt::format("read stdin: {}", sys::errno_text(errno)));
    if (count == 0) return copy;
    const std::string_view bytes(piece.data(), static_cast<std::size_t>(count));
    if (const auto written = queuefile::write_all(copy.get(), bytes); !written) {
      give_up(fmt::format("stdin: {}", written.error().text));
    }
  }
}

class Catter {
 public:
  Catter(int fd, std::string name, Selection selection)
      : fd_(fd), name_(std::move(name)), select_(selection) {}

  void run() {
    const auto message = queuefile::open_message(fd_, {.modes = queuefile::Modes::kAny});
    if (!message && is_empty()) return;
    if (!message && message.error().text.starts_with("not a queue file")) {
      // As in Postfix: told, and otherwise passed by.
      log::warning("{}: input is not a valid queue file", name_);
      return;
    }
    if (!message) give_up(fmt::format("{}: {}", name_, message.error().text));
    if (select_.envelope) envelope(*message);
    if (select_.envelope) rule("MESSAGE CONTENTS");
    if (select_.header) extent(message->layout.header);
    if (select_.body) {
      print("\n");
      extent(message->layout.body);
    }
    if (select_.envelope) {
      rule("HEADER EXTRACTED");
      rule("MESSAGE FILE END");
    }
  }

 private:
  bool is_empty() const {
    struct stat status{};
    return ::fstat(fd_, &status) == 0 && status.st_size == 0;
  }

  void rule(std::string_view what) { print(fmt::format("*** {} {} ***\n", what, name_)); }

  void envelope(const queuefile::Message& message) {
    const auto& env = message.envelope;
    rule("ENVELOPE RECORDS");
    const auto& layout = message.layout;
    print(fmt::format("message_size: {:>15} {:>15} {:>15} {:>15}\n", layout.message_size,
                      layout.body.offset, env.recipients.size(), 0));
    if (!env.content_filter.empty()) print(fmt::format("content_filter: {}\n", env.content_filter));
    if (!env.redirect.empty()) print(fmt::format("redirect_to: {}\n", env.redirect));
    const auto arrival = WallTime(std::chrono::seconds(env.arrival.seconds));
    print(fmt::format("message_arrival_time: {}\n", mail::format_ctime(arrival)));
    print(fmt::format("create_time: {}\n", mail::format_ctime(arrival)));
    std::string full_name;
    for (const auto& [key, value] : queuefile::named_attributes(env)) {
      // These have lines of their own, under the names that are known for them.
      if (key == "content_filter" || key == "redirect") continue;
      if (key == "full_name") {
        full_name = value;
      } else if (key == "ret_flags") {
        print(fmt::format("named_attribute: ret_flags={}\n", value == "F" ? 1 : 2));
      } else {
        print(fmt::format("named_attribute: {}={}\n", key, value));
      }
    }
    if (!full_name.empty()) print(fmt::format("sender_fullname: {}\n", full_name));
    print(fmt::format("sender: {}\n", env.sender));
    for (const auto& recipient : env.recipients) {
      if (recipient.notify != 0) {
        print(fmt::format("named_attribute: notify_flags={}\n", recipient.notify));
      }
      if (!recipient.dsn_orcpt.empty()) {
        print(fmt::format("named_attribute: dsn_orig_rcpt={}\n", recipient.dsn_orcpt));
      }
      if (select_.offsets) print(fmt::format("{:>9} ", recipient.state_offset));
      print(fmt::format("original_recipient: {}\n", recipient.orig_to));
      const bool is_done = recipient.state != queuefile::State::kPending;
      print(fmt::format("{}: {}\n", is_done ? "done_recipient" : "recipient", recipient.address));
    }
  }

  void extent(queuefile::Extent extent) {
    constexpr std::uint64_t kPiece = std::uint64_t{64} << 10;
    while (extent.length > 0) {
      const queuefile::Extent piece{extent.offset, std::min(extent.length, kPiece)};
      const auto bytes = queuefile::read_extent(fd_, piece, kPiece);
      if (!bytes) give_up(fmt::format("{}: {}", name_, bytes.error().text));
      print(*bytes);
      extent.offset += piece.length;
      extent.length -= piece.length;
    }
  }

  int fd_;
  std::string name_;
  Selection select_;
};

}  // namespace

int postcat_main(int argc, char** argv) {
  log::open({.program = "postcat", .to_terminal = true});
  std::string directory;
  Selection select;
  bool by_id = false;
  for (int c = 0; (c = ::getopt(argc, argv, "bc:dehoqrs:v")) != -1;) {
    switch (c) {
      case 'b':
        select.body = true;
        break;
      case 'c':
        directory = ::optarg;
        break;
      case 'e':
        select.envelope = true;
        break;
      case 'h':
        select.header = true;
        break;
      case 'o':
        select.offsets = true;
        break;
      case 'q':
        by_id = true;
        break;
      case 's':
        // There are no records to begin between; the whole message is shown.
        if (!is_all_digits(::optarg)) give_up(fmt::format("bad offset: {}", ::optarg));
        break;
      case 'd':
      case 'r':
      case 'v':
        break;
      default:
        give_up(
            "usage: postcat [-b (body text)] [-c config_dir] [-d (decimal record type)] [-e "
            "(envelope records)] [-h (header text)] [-q (access queue)] [-v] [file(s)...]");
    }
  }
  if (!select.envelope && !select.header && !select.body) {
    select.envelope = select.header = select.body = true;
  }
  if (::optind == argc) {
    const sys::Fd input = seekable_input();
    Catter(input.get(), "stdin", select).run();
    return 0;
  }
  std::optional<queuefile::QueueDirs> dirs;
  if (by_id) {
    const auto tool = config::open_tool(directory);
    if (!tool) give_up(tool.error().text);
    config::Problems problems;
    const auto paths = config::load<config::PathsParams>(tool->values, problems);
    const auto params = config::load<config::QueueParams>(tool->values, problems);
    auto opened = queuefile::QueueDirs::open(
        paths.queue_directory,
        {params.hash_queue_names, static_cast<unsigned>(params.hash_queue_depth)});
    if (!opened) give_up(opened.error().text);
    dirs.emplace(*std::move(opened));
  }
  for (int i = ::optind; i < argc; ++i) {
    const std::string name = argv[i];
    if (!dirs) {
      const sys::Fd fd(::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
      if (!fd) give_up(fmt::format("open {}: {}", name, sys::errno_text(errno)));
      Catter(fd.get(), name, select).run();
      continue;
    }
    if (!looks_like_id(name)) give_up(fmt::format("bad mail queue ID: {}", name));
    // No message has another's kind of id.
    if (!queuefile::is_valid_queue_id(name)) {
      give_up(fmt::format("open queue file {}: No such file or directory", name));
    }
    const auto queue = dirs->find(name, {Queue::kMaildrop, Queue::kHold, Queue::kIncoming,
                                         Queue::kActive, Queue::kDeferred, Queue::kCorrupt});
    if (!queue) give_up(fmt::format("open queue file {}: No such file or directory", name));
    const auto fd = dirs->open_message(*queue, name);
    if (!fd) give_up(fd.error().text);
    if (!*fd) give_up(fmt::format("open queue file {}: No such file or directory", name));
    Catter((*fd)->get(), dirs->path_of(*queue, name), select).run();
  }
  return 0;
}

}  // namespace postern::control
