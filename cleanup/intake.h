// intake.h - one message from its envelope to the committed queue file.
//
// The recipients are asked for as soon as the envelope is there, while content still arrives. The
// header is held until it is whole (bounded), the body goes to the file as it comes. A message of
// up to 64 KiB is one buffer, one write, one flush.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "cleanup/commit.h"
#include "cleanup/header_pass.h"
#include "common/ipc/cleanup.h"
#include "common/ipc/client.h"
#include "common/ipc/tables_client.h"
#include "common/loop/batch_pool.h"
#include "common/loop/worker_pool.h"
#include "common/mail/header.h"
#include "common/queuefile/envelope.h"
#include "common/queuefile/queue_id.h"
#include "common/queuefile/writer.h"

namespace postern::cleanup {

struct Settings {
  HeaderRules header;
  std::uint64_t message_size_limit = 0;  // 0 is no limit
  std::uint64_t queue_minfree = 0;
  unsigned hopcount_limit = 50;
  bool enable_original_recipient = true;
  bool enable_long_queue_ids = false;
  bool skip_aliases = false;
  std::string mail_name;
  std::string myorigin;
};

// What all messages share. Owned by the service.
struct Room {
  Settings settings;
  queuefile::QueueDirs dirs;
  queuefile::QueueIdSource ids;
  ipc::TablesClient tables;
  ipc::Client qmgr{"public/qmgr"};
  loop::WorkerPool pool;    // pieces of large messages
  loop::BatchPool commits;  // the last piece, and the flush
};

class Intake {
 public:
  Intake(Room& room, std::string queue_id) : room_(room), queue_id_(std::move(queue_id)) {}

  // Reads the envelope run and resolves its recipients; what is wrong is kept for finish().
  [[nodiscard]] loop::Task<void> open(std::string envelope);
  // Content in any pieces. Waits for the disk when much of it is unwritten.
  [[nodiscard]] loop::Task<void> add(std::string content);
  // Commits, tells qmgr. The message is ours when the outcome says is_accepted.
  [[nodiscard]] loop::Task<ipc::cleanup::Outcome> finish(bool is_hold);

  [[nodiscard]] const std::string& queue_id() const { return queue_id_; }

 private:
  [[nodiscard]] ipc::cleanup::Outcome refuse(int code, std::string_view status,
                                             std::string_view text) const;
  void fail_with(int code, std::string_view status, std::string_view text);
  void take_body(std::string_view body);
  [[nodiscard]] loop::Task<void> write_due();
  [[nodiscard]] std::string trace() const;
  [[nodiscard]] std::string attribute(std::string_view name) const;
  void tell_qmgr() const;

  Room& room_;
  std::string queue_id_;
  queuefile::Envelope envelope_;
  std::size_t received_recipients_ = 0;
  std::string only_recipient_;
  WallTime arrival_;
  ipc::cleanup::Outcome failure_;  // reply_code 0: none so far
  std::string head_;               // content until the header is whole
  mail::HeaderScanner scanner_{kMaxHeader};
  bool in_body_ = false;
  std::string early_body_;  // before the writer is there
  std::uint64_t content_size_ = 0;
  std::uint64_t size_ = 0;  // of the finished message
  bool is_8bit_ = false;
  std::unique_ptr<queuefile::Writer> writer_;
  std::unique_ptr<QueueFile> file_;

  // All fields together; one that has no end is refused, not held.
  static constexpr std::size_t kMaxHeader = std::size_t{2} << 20;
};

}  // namespace postern::cleanup
