#include "cleanup/intake.h"

#include <fmt/format.h>

#include <algorithm>

#include "cleanup/rewriting.h"
#include "common/ipc/qmgr.h"
#include "common/log/event.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/mail/mime.h"
#include "common/mail/received.h"
#include "common/mail/rewrite.h"

namespace postern::cleanup {

namespace {

// Large content goes to the file in pieces of this size: one trip to the worker pool each.
constexpr std::size_t kPiece = std::size_t{256} << 10;

WallTime time_of(const queuefile::ArrivalTime& arrival) {
  return WallTime(std::chrono::seconds(arrival.seconds)) +
         std::chrono::microseconds(arrival.microseconds);
}

queuefile::ArrivalTime now_as_arrival() {
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  return {now / 1'000'000, static_cast<std::int32_t>(now % 1'000'000)};
}

}  // namespace

ipc::cleanup::Outcome Intake::refuse(int code, std::string_view status,
                                     std::string_view text) const {
  ipc::cleanup::Outcome outcome;
  outcome.queue_id = queue_id_;
  outcome.reply_code = code;
  outcome.status = status;
  outcome.text = text;
  return outcome;
}

// The first thing that went wrong is the one that is told.
void Intake::fail_with(int code, std::string_view status, std::string_view text) {
  if (failure_.reply_code == 0) failure_ = refuse(code, status, text);
}

std::string Intake::attribute(std::string_view name) const {
  for (const auto& [key, value] : envelope_.attributes) {
    if (key == name) return value;
  }
  return {};
}

loop::Task<void> Intake::open(std::string run) {
  auto envelope = queuefile::read_envelope(run);
  if (!envelope) {
    fail_with(451, "4.3.0", "Error: queue file write error");
    log::warning("{}: envelope: {}", queue_id_, envelope.error().text);
    co_return;
  }
  envelope_ = *std::move(envelope);
  if (envelope_.arrival.seconds == 0) envelope_.arrival = now_as_arrival();
  arrival_ = time_of(envelope_.arrival);
  received_recipients_ = envelope_.recipients.size();
  if (received_recipients_ == 1) only_recipient_ = envelope_.recipients.front().address;

  envelope_.sender = mail::rewrite_address(room_.settings.header.rewrite,
                                           mail::RewriteContext::kLocal, envelope_.sender);
  RewriteOptions options;
  options.is_local_context = true;  // envelopes are completed whoever the client is
  options.skip_aliases = room_.settings.skip_aliases;
  options.enable_original_recipient = room_.settings.enable_original_recipient;
  const Result<void> rewritten = co_await rewrite_recipients(room_.tables, envelope_, options);
  if (!rewritten) {
    if (rewritten.error().kind == Error::Kind::kPermanent) {
      fail_with(554, "5.4.6", rewritten.error().text);
    } else {
      fail_with(451, "4.3.0", "Temporary lookup failure");
    }
    log::warning("{}: {}", queue_id_, rewritten.error().text);
    co_return;
  }
  if (const auto bounds = queuefile::check_bounds(envelope_); !bounds) {
    fail_with(552, "5.3.4", "Error: envelope too large");
    co_return;
  }
  writer_ = std::make_unique<queuefile::Writer>(envelope_);
  if (!early_body_.empty()) take_body(std::exchange(early_body_, {}));
}

void Intake::take_body(std::string_view body) {
  if (envelope_.encoding != queuefile::ContentEncoding::k8bit && mail::is_8bit(body)) {
    // What the client announced counts for the file's envelope, which is composed already.
    is_8bit_ = true;
  }
  if (writer_ != nullptr) {
    writer_->append_body(body);
  } else {
    early_body_ += body;
  }
}

loop::Task<void> Intake::add(std::string content) {
  content_size_ += content.size();
  if (room_.settings.message_size_limit > 0 && content_size_ > room_.settings.message_size_limit) {
    fail_with(552, "5.3.4", "Error: message file too big");
  }
  if (failure_.reply_code != 0) co_return;
  if (in_body_) {
    take_body(content);
  } else {
    head_ += content;
    using State = mail::HeaderScanner::State;
    const State state = scanner_.scan(head_);
    if (state == State::kTooLong) {
      fail_with(552, "5.3.4", "Error: message header too large");
    } else if (state != State::kMore) {
      in_body_ = true;
      take_body(std::string_view(head_).substr(scanner_.body_start()));
      head_.resize(scanner_.header_size());
    }
  }
  co_await write_due();
}

loop::Task<void> Intake::write_due() {
  if (writer_ == nullptr || writer_->size() - writer_->written() < kPiece) co_return;
  if (file_ == nullptr) {
    file_ = std::make_unique<QueueFile>(room_.dirs, queuefile::Queue::kIncoming, queue_id_);
  }
  const std::string piece = writer_->take();
  QueueFile* file = file_.get();
  const Result<void> written =
      co_await room_.pool.run([file, &piece] { return file->write(piece); });
  if (!written) {
    log::error("{}: {}", queue_id_, written.error().text);
    if (file_->is_disk_full()) {
      fail_with(452, "4.3.1", "Insufficient system storage");
    } else {
      fail_with(451, "4.3.0", "Error: queue file write error");
    }
  }
}

std::string Intake::trace() const {
  const auto& settings = room_.settings;
  if (envelope_.origin == queuefile::Origin::kLocal) {
    const std::string uid = attribute("uid");
    return mail::format_received_local(settings.header.myhostname, settings.mail_name,
                                       std::strtoul(uid.c_str(), nullptr, 10), queue_id_, arrival_);
  }
  if (envelope_.origin != queuefile::Origin::kNetwork) {
    return mail::format_received_internal(settings.header.myhostname, settings.mail_name, queue_id_,
                                          arrival_);
  }
  mail::ReceivedTrace trace;
  trace.helo = envelope_.client.helo;
  trace.client_name = envelope_.client.name;
  trace.client_address = envelope_.client.address.find(':') == std::string::npos
                             ? envelope_.client.address
                             : "IPv6:" + envelope_.client.address;
  trace.sasl_username = attribute("received_sasl_username");
  trace.myhostname = settings.header.myhostname;
  trace.mail_name = settings.mail_name;
  trace.protocol = envelope_.client.protocol;
  trace.queue_id = queue_id_;
  trace.recipient = only_recipient_;
  trace.arrival = arrival_;
  return mail::format_received(trace);
}

loop::Task<ipc::cleanup::Outcome> Intake::finish(bool is_hold) {
  if (failure_.reply_code != 0) co_return failure_;
  if (!in_body_) {
    using State = mail::HeaderScanner::State;
    if (scanner_.scan(head_, true) == State::kTooLong) {
      co_return refuse(552, "5.3.4", "Error: message header too large");
    }
    take_body(std::string_view(head_).substr(scanner_.body_start()));
    head_.resize(scanner_.header_size());
  }

  HeaderContext context;
  context.is_local = envelope_.rewrite_context == "local";
  context.sender = envelope_.sender;
  const std::string full_name = attribute("full_name");
  context.full_name = full_name;
  context.queue_id = queue_id_;
  context.arrival = arrival_;
  context.received = trace();
  const HeaderResult header = pass_header(room_.settings.header, context, head_);
  log::message_id(queue_id_, header.message_id.empty() ? "<>" : header.message_id,
                  header.is_resent_id);
  if (header.hops >= room_.settings.hopcount_limit) {
    co_return refuse(554, "5.4.0", "Error: too many hops");
  }
  queuefile::Amendment amendment;
  if (is_8bit_) amendment.attributes.emplace_back("encoding", "8bit");
  size_ = header.header.size() + 1 + writer_->body_size();
  writer_->finish(header.header, size_, amendment.empty() ? nullptr : &amendment);

  const auto queue = is_hold ? queuefile::Queue::kHold : queuefile::Queue::kIncoming;
  if (file_ == nullptr) {
    file_ = std::make_unique<QueueFile>(room_.dirs, queue, queue_id_);
  }
  const std::string rest = writer_->take();
  QueueFile* file = file_.get();
  const bool is_move = is_hold && writer_->written() > rest.size();
  const queuefile::QueueDirs& dirs = room_.dirs;
  const Result<void> committed = co_await room_.commits.run(
      [file, &rest, is_move, &dirs, this]() -> Result<void> {
        DO(file->write(rest));
        // Into hold/ before the flush, never after.
        if (is_move) {
          TRY(const bool moved,
              dirs.move(queuefile::Queue::kIncoming, queuefile::Queue::kHold, queue_id_));
          if (!moved) return fail_temporary("queue file is gone");
        }
        return file->seal();
      },
      [file]() -> Result<void> { return file->commit(); });
  if (!committed) {
    log::error("{}: {}", queue_id_, committed.error().text);
    if (file_->is_disk_full()) co_return refuse(452, "4.3.1", "Insufficient system storage");
    co_return refuse(451, "4.3.0", "Error: queue file write error");
  }
  if (!is_hold) tell_qmgr();
  ipc::cleanup::Outcome outcome;
  outcome.queue_id = queue_id_;
  outcome.is_accepted = true;
  co_return outcome;
}

// A notice that cannot be sent costs delay, not mail: qmgr scans.
void Intake::tell_qmgr() const {
  queuefile::Envelope brief;
  brief.sender = envelope_.sender;
  brief.arrival = envelope_.arrival;
  brief.dsn_envid = envelope_.dsn_envid;
  brief.dsn_ret = envelope_.dsn_ret;
  brief.flags = envelope_.flags;
  brief.recipients = envelope_.recipients;
  ipc::qmgr::NewMessage notice;
  notice.queue_id = queue_id_;
  notice.message_size = static_cast<std::int64_t>(size_);
  for (const auto& recipient : envelope_.recipients) {
    notice.state_offsets.push_back(static_cast<std::int64_t>(recipient.state_offset));
  }
  queuefile::append_envelope(notice.envelope, brief);
  room_.qmgr.notify(notice);
}

}  // namespace postern::cleanup
