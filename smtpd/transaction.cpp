#include "smtpd/transaction.h"

namespace postern::smtpd {

void Transaction::begin_content(ipc::CleanupClient& cleanup, std::int64_t session) {
  ipc::SubmissionStart start;
  queuefile::append_envelope(start.envelope, envelope_);
  start.queue_id = queue_id_;
  start.session = session;
  submission_ = std::make_unique<ipc::Submission>(cleanup, std::move(start));
}

}  // namespace postern::smtpd
