#include "common/agent/mailbox_job.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "common/log/log.h"
#include "common/mail/address.h"

namespace postern::agent {

namespace {
constexpr std::uint64_t kMaxHeader = std::uint64_t{1} << 20;
}

namespace {
void add_message(Job& job, const queuefile::Message& message, std::string prepended) {
  job.prepended = std::move(prepended);
  job.header_offset = static_cast<std::int64_t>(message.layout.header.offset);
  job.header_length = static_cast<std::int64_t>(message.layout.header.length);
  job.body_offset = static_cast<std::int64_t>(message.layout.body.offset);
  job.body_length = static_cast<std::int64_t>(message.layout.body.length);
}
}  // namespace

Job mailbox_job(const Delivery& delivery, const queuefile::Message& message, std::string path,
                std::string prepended, const MailboxSettings& settings) {
  Job job;
  job.kind = path.ends_with('/') ? JobKind::kMaildir : JobKind::kMbox;
  job.path = std::move(path);
  add_message(job, message, std::move(prepended));
  job.host = settings.host;
  job.sender = mail::quote_address(delivery.request().sender);
  job.limit = static_cast<std::int64_t>(settings.limit);
  job.has_owner = settings.strict_ownership;
  job.use_dotlock = settings.locks.dotlock;
  job.use_fcntl = settings.locks.fcntl;
  job.use_flock = settings.locks.flock;
  job.lock_attempts = settings.locks.attempts;
  job.lock_delay = settings.locks.delay;
  job.stale_after = settings.locks.stale_after;
  return job;
}

Job command_job(const queuefile::Message& message, std::string prepended,
                std::chrono::seconds time_limit) {
  Job job;
  job.kind = JobKind::kCommand;
  add_message(job, message, std::move(prepended));
  job.time_limit = time_limit;
  job.eol = "\n";
  return job;
}

std::vector<std::string> command_environment(const std::vector<std::string>& exported,
                                             std::string_view config_directory) {
  std::vector<std::string> environment;
  bool has_path = false;
  for (const std::string& word : exported) {
    const std::string name = word.substr(0, word.find('='));
    if (name.size() < word.size()) {
      environment.push_back(word);
    } else if (const char* value = std::getenv(name.c_str()); value != nullptr) {
      environment.push_back(fmt::format("{}={}", name, value));
    } else if (name == "MAIL_CONFIG") {
      environment.push_back(fmt::format("{}={}", name, config_directory));
    } else {
      continue;
    }
    has_path = has_path || name == "PATH";
  }
  if (!has_path) environment.emplace_back("PATH=/usr/bin:/bin");
  return environment;
}

Verdict verdict_of(const Result<JobReply>& reply, std::string_view queue_id,
                   std::string_view relay) {
  Verdict verdict;
  verdict.relay = relay;
  if (!reply) {
    log::warning("{}: {}", queue_id, reply.error().text);
    verdict.status = "4.3.0";
    verdict.text = "mailbox delivery is not possible now: " + reply.error().text;
    return verdict;
  }
  if (!reply->warning.empty()) log::warning("{}: {}", queue_id, reply->warning);
  verdict.status = reply->status;
  verdict.text = reply->text;
  if (!reply->diagnostic.empty()) {
    verdict.diagnostic_type = "x-unix";
    verdict.diagnostic = reply->diagnostic;
  }
  // The outcome counts: a deliverer that bounces says 5, one that defers says 4.
  if (verdict.status.empty()) verdict.status = "4.3.0";
  if (reply->outcome == JobOutcome::kDelivered) verdict.status[0] = '2';
  if (reply->outcome == JobOutcome::kBounced) verdict.status[0] = '5';
  if (reply->outcome == JobOutcome::kDeferred || reply->outcome == JobOutcome::kMissing) {
    verdict.status[0] = '4';
  }
  return verdict;
}

std::string header_of(const Delivery& delivery, const queuefile::Message& message) {
  if (message.is_in_memory()) return std::string(message.header());
  queuefile::Extent extent = message.layout.header;
  extent.length = std::min(extent.length, kMaxHeader);
  auto header = queuefile::read_extent(delivery.fd(), extent, kMaxHeader);
  return header ? *std::move(header) : std::string();
}

}  // namespace postern::agent
