// listing.h - the messages of the queue as people and programs see them listed, and the stream that
// showq gives (public/showq), which exporters read as well.
//
//     stream  := "protocol" "mail_queue_list_protocol" ""  message...  ""
//     message := pairs of name and value: queue_name queue_id time size forced_expire sender,
//                (recipient reason)..., then ""
//
// Every text in it ends with a NUL.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/queuefile/queue_dir.h"
#include "common/queuefile/reader.h"

namespace postern::queuefile {

struct ListedRecipient {
  std::string address;
  std::string reason;  // why it waits; empty when that is not known
};

struct ListedMessage {
  std::string queue_name;
  std::string queue_id;
  std::int64_t arrival_time = 0;
  std::uint64_t size = 0;
  bool is_forced_expire = false;
  std::string sender;
  std::vector<ListedRecipient> recipients;  // those that are not done
  // When a deferred one is tried again, in seconds since 1970; 0 for others and from a stream.
  std::int64_t next_attempt = 0;
};

// The queues in the order in which they are listed.
inline constexpr Queue kListedQueues[] = {Queue::kMaildrop, Queue::kActive, Queue::kIncoming,
                                          Queue::kDeferred, Queue::kHold};

// One message, or nothing when it is gone, unfinished or not ours.
[[nodiscard]] std::optional<ListedMessage> list_message(const QueueDirs& dirs, Queue queue,
                                                        const QueueEntry& entry);

void append_stream_start(std::string& out);
void append_to_stream(std::string& out, const ListedMessage& message);
void append_stream_end(std::string& out);

// Reads a whole stream; kDamaged error for anything else.
[[nodiscard]] Result<std::vector<ListedMessage>> parse_stream(std::string_view stream);

}  // namespace postern::queuefile
