#include "common/agent/service.h"

#include <algorithm>

#include "common/log/log.h"

namespace postern::agent {

namespace {

// Threads for reading large queue files; small ones are read on the loop.
constexpr unsigned kReadThreads = 4;
// What "no limit" means to qmgr.
constexpr std::int64_t kManyDeliveries = 1000;
// How long qmgr may take to record a report: it waits for bounce, which waits for the disk.
constexpr std::chrono::seconds kReportTime{600};
// A queue manager's successor is there within this time, or does not find us: its sockets may be
// another master's.
constexpr std::chrono::seconds kSuccessorTime{5};

std::int64_t default_limit(const config::Values& values) {
  const config::Service* line = values.service();
  if (line != nullptr && line->maxproc) return *line->maxproc;
  return values.count("default_process_limit");
}

}  // namespace

AgentService::AgentService(sys::Fd listener, const config::Values& values, Handler handler)
    : handler_(std::move(handler)), pool_(kReadThreads), server_(std::move(listener)) {
  configure(values);
  set_limit(default_limit(values));
}

void AgentService::configure(const config::Values& values) {
  soft_bounce_ = values.flag("soft_bounce");
  if (is_filtered_) filter_.configure(values, program_);
}

void AgentService::start() {
  // One queue manager there is; while it is connected, the next one waits in the listener.
  server_.limit_connections(1);
  server_.dispatcher().notice_with_fds<ipc::agent::Deliver>(
      [this](ipc::agent::Deliver& request, const ipc::ChannelPtr&, std::vector<sys::Fd> fds) {
        take(request, std::move(fds));
      });
  server_.on_connected([this](const ipc::ChannelPtr& channel) { connected(channel); });
  server_.on_closed([this](const ipc::ChannelPtr&) { closed(); });
  server_.start();
}

void AgentService::set_limit(std::int64_t limit) {
  const std::int64_t wanted = limit > 0 ? std::min(limit, kManyDeliveries) : kManyDeliveries;
  if (wanted == limit_) return;
  limit_ = wanted;
  if (has_greeted_) send_credits();
  tell_load();
}

void AgentService::send_credits() {
  if (qmgr_ == nullptr) return;
  std::int64_t orphans = 0;
  for (const auto& each : under_way_) {
    const auto delivery = each.lock();
    if (delivery != nullptr && delivery->is_orphan_) ++orphans;
  }
  ipc::agent::Credits credits;
  // Below zero: this one takes no more, and another process may be started.
  credits.deliveries = is_draining_ ? -1 : std::max<std::int64_t>(1, limit_ - orphans);
  qmgr_->notify(credits);
}

void AgentService::tell_load() {
  if (on_load_) on_load_(in_use_, in_use_ >= limit_);
}

void AgentService::take(ipc::agent::Deliver& request, std::vector<sys::Fd> fds) {
  if (fds.size() != 1 || request.recipients.empty()) {
    log::warning("{}: delivery request without a message or recipients", request.queue_id);
    qmgr_->close();
    return;
  }
  // The process ends with this turn: what is begun now could be done, and not be reported.
  if (is_draining_ && !on_drained_) return;
  auto delivery = std::make_shared<Delivery>(*this, std::move(request), std::move(fds.front()));
  ++in_use_;
  tell_load();
  under_way_.emplace_back(delivery);
  loop::spawn(run(std::move(delivery), std::prev(under_way_.end())));
}

loop::Task<void> AgentService::run(std::shared_ptr<Delivery> delivery, UnderWay::iterator place) {
  if (delivery->request().is_probe && !handles_probes_) {
    // What delivers here looks no further than the tables have done already.
    for (std::size_t i = 0; i < delivery->recipients().size(); ++i) {
      delivery->delivered(i, {.status = "2.0.0",
                              .text = "delivers to mailbox",
                              .relay = delivery->request().transport});
    }
  } else {
    co_await handler_(delivery);
  }
  co_await delivery->finish();
  under_way_.erase(place);
  --in_use_;
  tell_load();
  if (delivery->is_orphan_ && has_greeted_) send_credits();
  finish_drain();
}

void AgentService::send(std::shared_ptr<Delivery> delivery, ipc::agent::Report report) {
  if (delivery->is_orphan_) report.delivery = 0;
  unanswered_.push_back({std::move(report), std::move(delivery)});
  if (qmgr_ == nullptr) return;
  loop::spawn(deliver_report(std::prev(unanswered_.end()), qmgr_));
}

loop::Task<void> AgentService::deliver_report(std::list<Unanswered>::iterator entry,
                                              ipc::ChannelPtr channel) {
  entry->is_sent = true;
  ipc::agent::Report report = entry->report;
  const auto answer = co_await channel->call(std::move(report), loop::Clock::now() + kReportTime);
  if (!answer && !channel->is_open()) {
    // Kept for the next queue manager, which knows the message but not this delivery.
    entry->report.delivery = 0;
    entry->is_sent = false;
    if (qmgr_ != nullptr && qmgr_ != channel) loop::spawn(deliver_report(entry, qmgr_));
    co_return;
  }
  if (!answer) log::warning("{}: report: {}", entry->report.queue_id, answer.error().text);
  const std::shared_ptr<Delivery> done = entry->delivery;
  unanswered_.erase(entry);
  if (channel == qmgr_ && !has_greeted_ && unanswered_.empty()) {
    has_greeted_ = true;
    send_credits();
  }
  finish_drain();
}

void AgentService::connected(const ipc::ChannelPtr& channel) {
  qmgr_ = channel;
  has_greeted_ = unanswered_.empty();
  if (has_greeted_) return send_credits();
  for (auto entry = unanswered_.begin(); entry != unanswered_.end();) {
    const auto next = std::next(entry);
    if (!entry->is_sent) loop::spawn(deliver_report(entry, channel));
    entry = next;
  }
}

void AgentService::closed() {
  qmgr_ = nullptr;
  has_greeted_ = false;
  for (const auto& each : under_way_) {
    if (const auto delivery = each.lock()) delivery->is_orphan_ = true;
  }
  finish_drain();
}

void AgentService::drain(std::function<void()> done) {
  is_draining_ = true;
  on_drained_ = std::move(done);
  if (has_greeted_) send_credits();
  finish_drain();
}

// Of what no queue manager takes any more the message is tried again.
void AgentService::give_up() {
  has_given_up_ = qmgr_ == nullptr;
  finish_drain();
}

void AgentService::finish_drain() {
  if (!is_draining_ || in_use_ > 0 || !on_drained_) return;
  if (!unanswered_.empty() && !has_given_up_) {
    if (qmgr_ == nullptr && !successor_timer_.is_armed()) {
      successor_timer_.arm(loop::Clock::now() + kSuccessorTime);
    }
    return;
  }
  server_.stop_accepting();
  const auto done = std::exchange(on_drained_, {});
  done();
}

}  // namespace postern::agent
