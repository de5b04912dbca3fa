#include "common/ipc/cleanup_client.h"

namespace postern::ipc {

namespace {
// Less is kept until more comes, or the end: a client that sends its message byte by byte would
// make a frame of each, and cleanup, which serves others as well, would look at each of them.
constexpr std::size_t kWorthSending = std::size_t{8} << 10;
}  // namespace

std::int64_t cleanup::parse_overrides(const std::vector<std::string>& words) {
  std::int64_t bits = 0;
  for (const auto& word : words) {
    if (word == "no_address_mappings") bits |= kNoAddressMappings;
    if (word == "no_header_body_checks") bits |= kNoHeaderBodyChecks;
    if (word == "no_milters") bits |= kNoMilters;
  }
  return bits;
}

CleanupClient::CleanupClient(std::string path) : client_(std::move(path)) {
  client_.dispatcher().notice<cleanup::Pressure>(
      [this](cleanup::Pressure& notice, const ChannelPtr&) { pressure_ = notice; });
  client_.dispatcher().notice<cleanup::Taken>([this](cleanup::Taken& notice, const ChannelPtr&) {
    const auto found = open_.find(notice.transaction);
    if (found == open_.end()) return;
    found->second->taken_ = notice.bytes;
    found->second->progress_.notify_all();
  });
}

Submission::~Submission() {
  if (transaction_ == 0) return;
  cleanup_.open_.erase(transaction_);
  if (channel_ == nullptr || !channel_->is_open()) return;
  cleanup::Abort abort;
  abort.transaction = transaction_;
  channel_->notify(abort);
}

loop::Task<Result<void>> Submission::add(std::string_view content, loop::Deadline deadline) {
  size_ += content.size();
  buffer_ += content;
  if (buffer_.size() > cleanup::kSmallContent ||
      (channel_ != nullptr && buffer_.size() >= kWorthSending)) {
    co_return co_await send(deadline);
  }
  co_return Result<void>{};
}

loop::Task<Result<void>> Submission::open(loop::Deadline deadline) {
  channel_ = co_await cleanup_.client_.channel(deadline);
  if (channel_ == nullptr) co_return fail_temporary("cleanup service is not available");
  transaction_ = ++cleanup_.last_transaction_;
  cleanup_.open_[transaction_] = this;
  cleanup::Open request;
  request.transaction = transaction_;
  request.queue_id = start_.queue_id;
  request.envelope = std::exchange(start_.envelope, {});
  request.is_internal = start_.is_internal;
  request.session = start_.session;
  request.prepend = std::move(start_.prepend);
  request.overrides = start_.overrides;
  request.milters = std::move(start_.milters);
  const auto opened =
      co_await channel_->call(std::move(request), deadline, std::move(start_.milter_fds));
  if (!opened) co_return std::unexpected(opened.error());
  start_.queue_id = opened->queue_id;
  co_return Result<void>{};
}

loop::Task<Result<void>> Submission::send(loop::Deadline deadline) {
  if (channel_ == nullptr) CO_DO(co_await open(deadline));
  while (!buffer_.empty()) {
    const std::string_view piece = std::string_view(buffer_).substr(0, std::size_t{1} << 20);
    channel_->send(FrameKind::kNotice, cleanup::kContentType, transaction_, piece);
    sent_ += static_cast<std::int64_t>(piece.size());
    buffer_.erase(0, piece.size());
    while (sent_ - taken_ > static_cast<std::int64_t>(cleanup::kContentWindow)) {
      if (!channel_->is_open()) co_return fail_temporary(std::string(kChannelClosed));
      // The channel may close while we wait: looked at again after a second at the latest.
      const auto step = std::min(deadline, loop::Clock::now() + std::chrono::seconds(1));
      const loop::Wait wait = co_await progress_.wait(step);
      if (wait == loop::Wait::kTimeout && loop::Clock::now() >= deadline) {
        co_return fail_temporary("cleanup does not take the message's content");
      }
    }
  }
  co_return channel_->is_open() ? Result<void>{} : fail_temporary(std::string(kChannelClosed));
}

loop::Task<Result<cleanup::Outcome>> Submission::finish(loop::Deadline deadline,
                                                        SubmissionEnd end) {
  if (channel_ == nullptr) {
    cleanup::Submit request;
    request.queue_id = start_.queue_id;
    request.envelope = std::move(start_.envelope);
    request.content = std::move(buffer_);
    request.is_hold = end.is_hold;
    request.is_internal = start_.is_internal;
    request.session = start_.session;
    request.prepend = std::move(start_.prepend);
    request.overrides = start_.overrides;
    request.end = std::move(end);
    request.milters = std::move(start_.milters);
    co_return co_await cleanup_.client_.call(std::move(request), deadline,
                                             std::move(start_.milter_fds));
  }
  CO_DO(co_await send(deadline));
  cleanup::Finish request;
  request.transaction = transaction_;
  request.is_hold = end.is_hold;
  request.end = std::move(end);
  auto outcome = co_await channel_->call(request, deadline);
  cleanup_.open_.erase(transaction_);
  transaction_ = 0;
  co_return outcome;
}

}  // namespace postern::ipc
