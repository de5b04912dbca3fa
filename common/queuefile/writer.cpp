#include "common/queuefile/writer.h"

#include <unistd.h>

#include <cassert>
#include <utility>

#include "common/sys/fd.h"

namespace postern::queuefile {

namespace {

// The checksum knows states only as kPending, whatever the run says.
void add_run(Checksum& checksum, std::string run, std::uint64_t run_offset,
             const std::vector<Recipient>& recipients,
             const std::optional<DelayWarning>& delay_warning) {
  const auto neutral = [&](std::uint64_t state_offset) {
    run[state_offset - run_offset] = static_cast<char>(State::kPending);
  };
  for (const Recipient& recipient : recipients) neutral(recipient.state_offset);
  if (delay_warning) neutral(delay_warning->state_offset);
  checksum.add(run);
}

}  // namespace

Writer::Writer(Envelope& envelope) {
  append(kVersionLine);
  std::string run;
  append_envelope(run, envelope, size());
  layout_.envelope = {size(), run.size()};
  add_run(checksum_, run, size(), envelope.recipients, envelope.delay_warning);
  pending_ += run;
  layout_.body = {size(), 0};
}

void Writer::append_body(std::string_view chunk) {
  assert(!finished_);
  append(chunk);
  layout_.body.length += chunk.size();
}

void Writer::restart_body() {
  assert(!finished_);
  layout_.body = {size(), 0};
}

std::optional<StateWrite> Writer::mark(std::uint64_t state_offset, State state) {
  assert(state_offset < size());
  if (state_offset < taken_) return StateWrite{state_offset, state};
  pending_[state_offset - taken_] = static_cast<char>(state);
  return std::nullopt;
}

void Writer::finish(std::string_view header, std::uint64_t message_size, Amendment* amendment) {
  assert(!finished_);
  finished_ = true;
  layout_.header = {size(), header.size()};
  append(header);
  layout_.extra = {size(), 0};
  if (amendment != nullptr && !amendment->empty()) {
    std::string run;
    append_amendment(run, *amendment, size());
    layout_.extra.length = run.size();
    add_run(checksum_, run, size(), amendment->recipients, std::nullopt);
    pending_ += run;
  }
  layout_.message_size = message_size;
  append_trailer(pending_, layout_, checksum_);
}

std::string Writer::take() {
  taken_ += pending_.size();
  return std::exchange(pending_, std::string());
}

void Writer::append(std::string_view bytes) {
  checksum_.add(bytes);
  pending_ += bytes;
}

Result<void> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return sys::fail_errno("write queue file");
    if (n == 0) return fail_temporary("write queue file: nothing was written");
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

}  // namespace postern::queuefile
