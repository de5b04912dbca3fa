#include "smtpd/transaction.h"

namespace postern::smtpd {

void Transaction::begin_content(ipc::CleanupClient& cleanup, std::int64_t session,
                                const MessageActions& actions) {
  if (!actions.filter.empty()) envelope_.content_filter = actions.filter;
  if (!actions.redirect.empty()) envelope_.redirect = actions.redirect;
  for (const auto& address : actions.bcc) {
    queuefile::Recipient recipient;
    recipient.address = address;
    recipient.notify = queuefile::kNotifyNever;
    envelope_.recipients.push_back(std::move(recipient));
  }
  bcc_sent_ = actions.bcc.size();
  ipc::SubmissionStart start;
  queuefile::append_envelope(start.envelope, envelope_);
  start.queue_id = queue_id_;
  start.session = session;
  start.overrides = overrides_;
  start.milters = std::move(milters_);
  start.milter_fds = std::move(milter_fds_);
  for (const auto& field : actions.prepend) start.prepend += field + "\n";
  submission_ = std::make_unique<ipc::Submission>(cleanup, std::move(start));
}

ipc::SubmissionEnd Transaction::end_of_content(const MessageActions& actions) const {
  ipc::SubmissionEnd end;
  end.is_hold = actions.is_hold;
  end.is_discard = actions.is_discard;
  if (actions.filter != envelope_.content_filter) end.filter = actions.filter;
  if (actions.redirect != envelope_.redirect) end.redirect = actions.redirect;
  for (std::size_t i = bcc_sent_; i < actions.bcc.size(); ++i) end.bcc.push_back(actions.bcc[i]);
  return end;
}

}  // namespace postern::smtpd
