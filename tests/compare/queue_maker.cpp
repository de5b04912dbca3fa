// queue_maker.cpp - lays messages into a queue as the mail system would, at times of one's choice.
//
// queue_maker DIRECTORY: reads an array of objects from standard input, as queue.py makes them
// (id, queue, arrival, sender, size, expired, recipients: address and reason), and makes the
// directories it needs. For tests: nothing is made durable.

#include <fmt/format.h>
#include <sys/stat.h>

#include <filesystem>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "common/queuefile/queue_dir.h"
#include "common/queuefile/reader.h"
#include "common/queuefile/reason_log.h"
#include "common/queuefile/writer.h"

namespace {

using namespace postern;
using namespace postern::queuefile;
using nlohmann::json;

constexpr ::mode_t kReady = 0700;

Envelope envelope_of(const json& message) {
  Envelope envelope;
  envelope.sender = message["sender"];
  envelope.arrival.seconds = message["arrival"];
  for (const auto& recipient : message["recipients"]) {
    envelope.recipients.push_back({.address = recipient["address"]});
  }
  return envelope;
}

// The reasons of those recipients that were tried.
std::vector<Reason> reasons_of(const json& message, const Envelope& envelope) {
  std::vector<Reason> reasons;
  for (std::size_t i = 0; i < envelope.recipients.size(); ++i) {
    const std::string text = message["recipients"][i]["reason"];
    if (text.empty()) continue;
    Reason reason;
    reason.address = envelope.recipients[i].address;
    reason.state_offset = envelope.recipients[i].state_offset;
    reason.action = "delayed";
    reason.status = "4.4.1";
    reason.text = text;
    reasons.push_back(reason);
  }
  return reasons;
}

Result<void> lay(const QueueDirs& dirs, const json& message) {
  const std::string id = message["id"];
  const auto queue = find_queue(message["queue"].get<std::string>());
  if (!queue) return fail(Error::Kind::kConfig, "no such queue");
  Envelope envelope = envelope_of(message);
  Writer writer(envelope);
  const std::size_t size = message["size"];
  writer.append_body(std::string(size, 'x'));
  writer.finish("", size);
  TRY(const auto fd, dirs.create(*queue, id));
  if (!fd) return fail(Error::Kind::kConfig, "the name is taken");
  DO(write_all(fd->get(), writer.take()));
  const ::mode_t mode = kReady | (message["expired"].get<bool>() ? kForcedExpireBit : 0);
  if (::fchmod(fd->get(), mode) != 0) return fail_temporary("fchmod");
  const auto reasons = reasons_of(message, envelope);
  if (reasons.empty()) return {};
  return append_reasons(dirs, Queue::kDefer, id, reasons, Durability::kUnflushed);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 1;
  const std::string top = argv[1];
  for (const auto queue : kAllQueues) {
    std::filesystem::create_directories(top + "/" + std::string(queue_name(queue)));
  }
  const auto dirs = QueueDirs::open(top, {.names = {}, .depth = 1});
  if (!dirs) return 1;
  const std::string text(std::istreambuf_iterator<char>(std::cin), {});
  for (const auto& message : json::parse(text)) {
    if (const auto done = lay(*dirs, message); !done) {
      fmt::print(stderr, "queue_maker: {}\n", done.error().text);
      return 1;
    }
  }
  return 0;
}
