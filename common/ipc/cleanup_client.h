// cleanup_client.h - the sending side of a message on its way to cleanup.
//
//     Submission message(cleanup, {.envelope = run, .queue_id = id});
//     CO_DO(co_await message.add(content, deadline));      // in any pieces
//     CO_TRY(const auto outcome, co_await message.finish(deadline));
//
// A small message leaves in one request; a larger one becomes a stream that never has more than a
// window of content under way. One that is dropped before finish() leaves nothing behind.

#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "common/ipc/cleanup.h"
#include "common/ipc/client.h"

namespace postern::ipc {

class Submission;

class CleanupClient {
 public:
  explicit CleanupClient(std::string path = "public/cleanup");

  // What cleanup has last said of its disk and its intake.
  [[nodiscard]] const cleanup::Pressure& pressure() const { return pressure_; }
  // Connects if there is no connection yet, so that pressure() means something.
  void connect() { (void)client_.channel_now(); }
  [[nodiscard]] Client& client() { return client_; }

 private:
  friend class Submission;
  Client client_;
  cleanup::Pressure pressure_;
  std::unordered_map<std::uint32_t, Submission*> open_;
  std::uint32_t last_transaction_ = 0;
};

struct SubmissionStart {
  std::string envelope{};  // an envelope run of common/queuefile
  std::string queue_id{};  // empty: cleanup makes one
  bool is_internal = false;
  std::int64_t session = 0;
  std::string prepend{};       // header fields, each with its line end
  std::int64_t overrides = 0;  // cleanup::Override
  milter::Handover milters{};
  std::vector<sys::Fd> milter_fds{};
};

struct SubmissionEnd : cleanup::End {
  bool is_hold = false;
};

class Submission {
 public:
  Submission(CleanupClient& cleanup, SubmissionStart start)
      : cleanup_(cleanup), start_(std::move(start)) {}
  ~Submission();
  Submission(const Submission&) = delete;
  Submission& operator=(const Submission&) = delete;

  // Takes the content over; waits while too much of it is under way.
  [[nodiscard]] loop::Task<Result<void>> add(std::string_view content, loop::Deadline deadline);
  // What has become of the message. An error means that nobody knows: it is not ours.
  [[nodiscard]] loop::Task<Result<cleanup::Outcome>> finish(loop::Deadline deadline,
                                                            SubmissionEnd end = {});
  [[nodiscard]] std::uint64_t size() const { return size_; }

 private:
  friend class CleanupClient;
  [[nodiscard]] loop::Task<Result<void>> open(loop::Deadline deadline);
  [[nodiscard]] loop::Task<Result<void>> send(loop::Deadline deadline);

  CleanupClient& cleanup_;
  SubmissionStart start_;
  std::string buffer_;
  std::uint64_t size_ = 0;
  ChannelPtr channel_;  // once it is a stream
  std::uint32_t transaction_ = 0;
  std::int64_t sent_ = 0;
  std::int64_t taken_ = 0;
  loop::Condition progress_;
};

}  // namespace postern::ipc
