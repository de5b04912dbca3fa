#include "common/queuefile/listing.h"

#include <sys/stat.h>

#include <charconv>
#include <unordered_map>

#include "common/queuefile/queue_id.h"
#include "common/queuefile/reason_log.h"

namespace postern::queuefile {

namespace {

constexpr std::string_view kProtocol = "mail_queue_list_protocol";

void add(std::string& out, std::string_view text) {
  // A NUL inside would end the value: nothing that is mail has one.
  out += text.substr(0, text.find('\0'));
  out += '\0';
}

void add_pair(std::string& out, std::string_view name, std::string_view value) {
  add(out, name);
  add(out, value);
}

template <typename Number>
Number number_of(std::string_view text) {
  Number value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

class TextReader {
 public:
  explicit TextReader(std::string_view stream) : rest_(stream) {}
  std::optional<std::string_view> next() {
    const auto end = rest_.find('\0');
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view text = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return text;
  }

 private:
  std::string_view rest_;
};

}  // namespace

std::optional<ListedMessage> list_message(const QueueDirs& dirs, Queue queue,
                                          const QueueEntry& entry) {
  const auto fd = dirs.open_path(entry.path);
  if (!fd || !*fd) return std::nullopt;
  const bool is_drop = queue == Queue::kMaildrop;
  const auto message = open_message(
      (*fd)->get(),
      {.modes = is_drop ? Modes::kAny : Modes::kCommitted, .verify = Verify::kStructure});
  if (!message) return std::nullopt;
  ListedMessage listed;
  listed.queue_name = queue_name(queue);
  listed.queue_id = entry.id;
  listed.arrival_time = message->envelope.arrival.seconds;
  listed.size = message->layout.message_size;
  listed.is_forced_expire = message->forced_expire;
  listed.sender = message->envelope.sender;
  std::unordered_map<std::uint64_t, std::string> reasons;
  // What is held now may have waited before.
  if (queue == Queue::kDeferred || queue == Queue::kHold) {
    struct stat status{};
    if (queue == Queue::kDeferred && ::fstat((*fd)->get(), &status) == 0) {
      listed.next_attempt = status.st_mtime;
    }
    for (const Queue log : {Queue::kDefer, Queue::kBounce}) {
      if (const auto known = read_reasons(dirs, log, entry.id)) {
        for (const auto& reason : *known) reasons[reason.state_offset] = reason.text;
      }
    }
  }
  for (const auto& recipient : message->envelope.recipients) {
    if (recipient.state != State::kPending && !is_drop) continue;
    listed.recipients.push_back({recipient.address, reasons[recipient.state_offset]});
  }
  return listed;
}

void append_stream_start(std::string& out) {
  add_pair(out, "protocol", kProtocol);
  add(out, "");
}

void append_to_stream(std::string& out, const ListedMessage& message) {
  add_pair(out, "queue_name", message.queue_name);
  add_pair(out, "queue_id", message.queue_id);
  add_pair(out, "time", std::to_string(message.arrival_time));
  add_pair(out, "size", std::to_string(message.size));
  add_pair(out, "forced_expire", message.is_forced_expire ? "1" : "0");
  add_pair(out, "sender", message.sender);
  for (const auto& recipient : message.recipients) {
    add_pair(out, "recipient", recipient.address);
    add_pair(out, "reason", recipient.reason);
  }
  add(out, "");
}

void append_stream_end(std::string& out) { add(out, ""); }

Result<std::vector<ListedMessage>> parse_stream(std::string_view stream) {
  TextReader reader(stream);
  const auto damaged = [] {
    return fail(Error::Kind::kDamaged, "the queue listing service gave no queue listing");
  };
  if (reader.next() != "protocol" || reader.next() != kProtocol || reader.next() != "") {
    return damaged();
  }
  std::vector<ListedMessage> messages;
  for (;;) {
    auto name = reader.next();
    if (!name) return damaged();
    if (name->empty()) return messages;
    ListedMessage& message = messages.emplace_back();
    for (; name && !name->empty(); name = reader.next()) {
      const auto value = reader.next();
      if (!value) return damaged();
      if (*name == "queue_name") message.queue_name = *value;
      if (*name == "queue_id") message.queue_id = *value;
      if (*name == "time") message.arrival_time = number_of<std::int64_t>(*value);
      if (*name == "size") message.size = number_of<std::uint64_t>(*value);
      if (*name == "forced_expire") message.is_forced_expire = *value == "1";
      if (*name == "sender") message.sender = *value;
      if (*name == "recipient") message.recipients.push_back({std::string(*value), {}});
      if (*name == "reason" && !message.recipients.empty()) {
        message.recipients.back().reason = *value;
      }
    }
    if (!name) return damaged();
  }
}

}  // namespace postern::queuefile
