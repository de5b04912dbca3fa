#include "sendmail/message.h"

#include <unistd.h>

#include <array>
#include <cerrno>

#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/mail/header.h"
#include "common/mail/mime.h"
#include "common/sys/fd.h"

namespace postern::sendmail {

namespace {
constexpr std::size_t kPiece = std::size_t{64} << 10;
}

// False when the line ends the input.
bool MessageReader::take_line(std::string_view line, std::string& out) {
  if (fix_ == FixLineEnds::kStrict) {
    fix_ = line.ends_with('\r') ? FixLineEnds::kAlways : FixLineEnds::kNever;
  }
  while (fix_ == FixLineEnds::kAlways && line.ends_with('\r')) line.remove_suffix(1);
  if (!ignore_dots_ && line == ".") return false;
  // A From_ line in front is the mailbox format's, not the message's.
  const bool is_from_line = is_first_ && mail::is_mailbox_from_line(line);
  if (!is_from_line) {
    is_first_ = false;
    out += line;
    out += '\n';
  }
  return true;
}

Result<std::string> MessageReader::next() {
  std::string out;
  while (out.size() < kPiece) {
    std::size_t start = 0;
    for (std::size_t end = 0; !at_end_ && (end = buffer_.find('\n', start)) != std::string::npos;) {
      if (!take_line(std::string_view(buffer_).substr(start, end - start), out)) at_end_ = true;
      start = end + 1;
    }
    buffer_.erase(0, start);
    if (at_end_) break;
    // A line without end is passed on in pieces; it cannot be a lone dot any more.
    if (buffer_.size() > kPiece) {
      is_first_ = false;
      out += std::exchange(buffer_, {});
    }
    std::array<char, kPiece> piece;
    const ssize_t count = ::read(fd_, piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return sys::fail_errno("read message");
    if (count == 0) {
      if (!buffer_.empty()) (void)take_line(std::exchange(buffer_, {}), out);
      at_end_ = true;
      break;
    }
    buffer_.append(piece.data(), static_cast<std::size_t>(count));
  }
  is_8bit_ = is_8bit_ || mail::is_8bit(out);
  return out;
}

std::vector<std::string> recipients_of_header(std::string_view header, std::size_t limit) {
  std::vector<std::string> plain;
  std::vector<std::string> resent;
  bool has_resent = false;
  for (const auto& field : mail::split_header(header)) {
    const auto* info = mail::find_header_info(field.name);
    if (info == nullptr || !info->has(mail::HeaderInfo::kExtract)) continue;
    const bool is_resent = info->has(mail::HeaderInfo::kResent);
    has_resent = has_resent || is_resent;
    auto& list = is_resent ? resent : plain;
    for (const auto& address : mail::AddressList::parse(field.body).addresses()) {
      if (list.size() < limit) list.push_back(mail::unquote_address(address));
    }
  }
  return has_resent ? resent : plain;
}

std::string probe_message(std::string_view sender, const std::vector<std::string>& recipients) {
  std::string out = "From: " + mail::quote_address(std::string(sender)) + "\nSubject: probe\nTo:";
  for (std::size_t i = 0; i < recipients.size(); ++i) {
    out += (i == 0 ? "\t" : ",\n\t") + mail::quote_address(recipients[i]);
  }
  return out + "\n";
}

std::vector<std::string> addresses_of_argument(std::string_view text) {
  std::vector<std::string> addresses;
  for (const auto& address : mail::AddressList::parse(text).addresses()) {
    addresses.push_back(mail::unquote_address(address));
  }
  return addresses;
}

}  // namespace postern::sendmail
