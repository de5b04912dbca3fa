// bdat.cpp - BDAT (RFC 3030): content in counted chunks.
//
// The chunk follows its command without waiting for an answer, so it is read in any case: kept when
// the command is in order, thrown away when it is not. A length that cannot be read leaves no way
// to find the next command: the session ends.

#include <fmt/format.h>

#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/smtpwire/chunk.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

constexpr std::size_t kMaxShown = 100;

}  // namespace

loop::Task<mail::Reply> Session::bdat_command(const smtpwire::CommandLine& command) {
  const auto parsed = smtpwire::parse_bdat(command.argument);
  const auto warn = [&](std::string_view what) {
    log::warning("{}: {}",
                 transaction_ && !transaction_->queue_id().empty() ? transaction_->queue_id()
                                                                   : std::string("NOQUEUE"),
                 what);
  };
  if (!parsed) {
    warn(fmt::format("malformed BDAT command syntax from {}: BDAT {}", client(),
                     log::clean(command.argument, kMaxShown)));
    co_return parsed.error();
  }

  const std::uint64_t limit = settings_->message_size_limit;
  const std::uint64_t so_far = has_chunks_ ? transaction_->submission_size() : 0;
  std::optional<mail::Reply> refusal;
  if (chunk_failed_) {
    refusal = mail::make_reply(
        551, fmt::format("5.0.0 Discarded {} bytes after earlier error", parsed->size));
  } else if (discards(kEhloChunking) || has_proxy_filter()) {
    // The chunk that follows would be taken for commands.
    co_return mail::make_reply(521, "5.5.1 Error: command not implemented");
  } else if (!sender_) {
    refusal = mail::make_reply(503, "5.5.1 Error: need RCPT command");
  } else if (!has_recipients()) {
    refusal = mail::make_reply(554, "5.5.1 Error: no valid recipients");
  } else if (parsed->size == 0 && !parsed->last) {
    warn(fmt::format("null BDAT request from {}", client()));
    refusal = mail::make_reply(551, "5.7.1 Null BDAT request");
  } else if (limit > 0 && so_far <= limit && parsed->size > limit - so_far) {
    warn(fmt::format("BDAT request from {} exceeds message size limit", client()));
    refusal = mail::make_reply(552, "5.3.4 Chunk exceeds message size limit");
  } else if (!has_chunks_) {
    refusal = co_await check(Stage::kData);
    if (refusal) log_reject(*refusal, "BDAT", recipient_in_check_, !recipient_in_check_.empty());
    if (!refusal) refusal = co_await milter_data("BDAT");
  }
  if (!refusal && !has_chunks_) {
    has_chunks_ = true;
    chunks_ = std::make_unique<smtpwire::ChunkDecoder>(decode_rules());
    co_await hand_over_milters();
    transaction_->begin_content(neighbours().cleanup, number_, actions());
  }
  if (!co_await read_chunk(parsed->size, refusal.has_value())) co_return mail::Reply{};
  if (!refusal) {
    refusal = content_fault(chunks_->seen_bare_lf(), bdat_too_big_);
    if (refusal) log_reject(*refusal, "END-OF-MESSAGE");
  }
  if (refusal) {
    drop_chunks(parsed->last);
    co_return *refusal;
  }
  if (!parsed->last) {
    co_return mail::make_reply(250, fmt::format("2.0.0 Ok: {} bytes", parsed->size));
  }
  std::string rest;
  chunks_->finish(rest);
  (void)co_await transaction_->submission().add(rest, deadline());
  transaction_->set_lines(chunks_->lines() + rest.size());
  co_return co_await finish_message();
}

// What follows of this message is thrown away, too; RSET comes before the next one (RFC 3030 2).
void Session::drop_chunks(bool was_last) {
  if (was_last) {
    reset();
    return;
  }
  transaction_.reset();
  chunks_.reset();
  has_chunks_ = false;
  bdat_too_big_ = false;
  chunk_failed_ = true;
}

loop::Task<bool> Session::read_chunk(std::uint64_t size, bool skip) {
  std::string content;
  ReadDeadline until(*settings_);
  while (size > 0) {
    if (stream_.input().empty()) {
      const loop::Io io = co_await stream_.fill(until.next());
      if (io != loop::Io::kOk) {
        where_ = "BDAT";
        end_by(io);
        co_return false;
      }
      continue;
    }
    const std::string_view piece =
        stream_.input().substr(0, std::min<std::uint64_t>(size, stream_.input().size()));
    size -= piece.size();
    until.received(piece.size());
    if (!skip && !bdat_too_big_) {
      content.clear();
      chunks_->decode(piece, content);
      const auto limit = settings_->message_size_limit;
      if (limit > 0 && transaction_->submission().size() + content.size() > limit) {
        bdat_too_big_ = true;
      } else {
        // A failure shows again, with its reason, when the message is finished.
        (void)co_await transaction_->submission().add(content, deadline());
      }
    }
    stream_.consume(piece.size());
  }
  co_return true;
}

}  // namespace postern::smtpd
