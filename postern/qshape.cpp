// qshape.cpp - how the queue spreads over domains and ages.

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <ctime>

#include "common/base/number.h"
#include "common/base/text.h"
#include "postern/queue_listing.h"
#include "postern/queue_tools.h"

namespace postern::control {

namespace {

int usage() {
  fmt::print(stderr,
             "usage: qshape [-s] [-p] [-m min_subdomains] [-b bucket_count] [-t bucket_minutes] "
             "[-l] [-w width] [-N batch] [-n top_domains] [-c config_dir] [queue...]\n");
  constexpr int kUsage = 255;  // as that of Postfix ends
  return kUsage;
}

}  // namespace

int qshape_main(int argc, char** argv) {
  Shape shape;
  std::string directory;
  std::int64_t number = 0;
  for (int letter = 0; (letter = ::getopt(argc, argv, "b:c:hlm:n:N:pst:w:")) != -1;) {
    if (std::string_view("bmnNtw").find(static_cast<char>(letter)) != std::string_view::npos) {
      constexpr std::int64_t kMost = 1000;
      const auto value = parse_integer<std::int64_t>(std::string_view(::optarg), 1, kMost);
      if (!value) {
        fmt::print(stderr, "qshape: fatal: -{} {}: a number from 1 to {} expected\n",
                   static_cast<char>(letter), ::optarg, kMost);
        return 1;
      }
      number = *value;
    }
    switch (letter) {
      case 'b':
        shape.buckets = static_cast<std::size_t>(number);
        break;
      case 'c':
        directory = ::optarg;
        break;
      case 'l':
        shape.is_linear = true;
        break;
      case 'm':
        shape.min_subdomains = static_cast<std::size_t>(number);
        break;
      case 'n':
        // As there: only what somebody looks at is cut short.
        if (::isatty(STDOUT_FILENO) != 0) shape.top = static_cast<std::size_t>(number);
        break;
      case 'N':  // intermediate results: the whole queue is read before anybody could look
        break;
      case 'p':
        shape.with_parents = true;
        break;
      case 's':
        shape.by_sender = true;
        break;
      case 't':
        shape.minutes = number;
        break;
      case 'w':
        // Wider than 80 columns, never narrower.
        shape.width = std::max(shape.width, static_cast<std::size_t>(number));
        break;
      default:
        return usage();
    }
  }
  std::vector<queuefile::Queue> queues;
  for (int i = ::optind; i < argc; ++i) {
    const std::string_view path = trim_right(argv[i], "/");
    const auto queue = queuefile::find_queue(path.substr(path.rfind('/') + 1));
    if (!queue) {
      fmt::print(stderr, "qshape: warning: {}: no such queue\n", argv[i]);
      continue;
    }
    queues.push_back(*queue);
  }
  if (::optind == argc) queues = {queuefile::Queue::kIncoming, queuefile::Queue::kActive};
  const auto tool = config::open_tool(directory);
  if (!tool) {
    fmt::print(stderr, "qshape: fatal: {}\n", tool.error().text);
    return 1;
  }
  const auto messages = read_queues(*tool, queues);
  if (!messages) {
    fmt::print(stderr, "qshape: fatal: {}\n", messages.error().text);
    return 1;
  }
  fmt::print("{}", print_shape(shape, *messages, static_cast<std::int64_t>(::time(nullptr))));
  return 0;
}

}  // namespace postern::control
