#include "common/mail/header.h"

#include <algorithm>
#include <array>

#include "common/base/text.h"
#include "common/mail/address.h"

namespace postern::mail {

namespace {

using Info = HeaderInfo;

constexpr auto kAddressIn = static_cast<std::uint16_t>(Info::kRecipient | Info::kExtract);
constexpr auto kResentIn =
    static_cast<std::uint16_t>(Info::kRecipient | Info::kExtract | Info::kResent);
constexpr auto kResentFrom = static_cast<std::uint16_t>(Info::kSender | Info::kResent);
constexpr auto kFromOnce = static_cast<std::uint16_t>(Info::kSender | Info::kOnce);
constexpr auto kMimeOnce = static_cast<std::uint16_t>(Info::kMime | Info::kOnce);
constexpr auto kToOnce = static_cast<std::uint16_t>(kAddressIn | Info::kOnce);

constexpr std::array kKnown = {
    Info{"Apparently-To", Info::kRecipient},
    Info{"Bcc", kAddressIn},
    Info{"Cc", kToOnce},
    Info{"Content-Description", Info::kMime},
    Info{"Content-Disposition", Info::kMime},
    Info{"Content-ID", Info::kMime},
    Info{"Content-Length", 0},
    Info{"Content-Transfer-Encoding", kMimeOnce},
    Info{"Content-Type", kMimeOnce},
    Info{"Date", Info::kOnce},
    Info{"Delivered-To", 0},
    Info{"Disposition-Notification-To", Info::kSender},
    Info{"Errors-To", Info::kSender},
    Info{"From", kFromOnce},
    Info{"In-Reply-To", Info::kOnce},
    Info{"Mail-Followup-To", Info::kSender},
    Info{"Message-Id", Info::kOnce},
    Info{"MIME-Version", Info::kMime},
    Info{"Received", 0},
    Info{"References", Info::kOnce},
    Info{"Reply-To", kFromOnce},
    Info{"Resent-Bcc", kResentIn},
    Info{"Resent-Cc", kResentIn},
    Info{"Resent-Date", Info::kResent},
    Info{"Resent-From", kResentFrom},
    Info{"Resent-Message-Id", Info::kResent},
    Info{"Resent-Reply-To", kResentFrom},
    Info{"Resent-Sender", kResentFrom},
    Info{"Resent-To", kResentIn},
    Info{"Return-Path", Info::kSender},
    Info{"Return-Receipt-To", Info::kSender},
    Info{"Sender", kFromOnce},
    Info{"Subject", Info::kOnce},
    Info{"To", kToOnce},
};

}  // namespace

std::size_t header_name_length(std::string_view line) {
  std::size_t length = 0;
  while (length < line.size() && line[length] != ':' && line[length] > ' ' && line[length] < 0x7f) {
    ++length;
  }
  std::size_t at = length;
  while (at < line.size() && (line[at] == ' ' || line[at] == '\t')) ++at;
  return at < line.size() && line[at] == ':' ? length : 0;
}

bool is_mailbox_from_line(std::string_view line) {
  return trim_left(line, ">").starts_with("From ");
}

std::string with_mailbox_fields(std::string_view header) {
  std::string out;
  while (is_mailbox_from_line(header)) {
    const std::size_t end = std::min(header.find('\n'), header.size() - 1) + 1;
    out.append("X-Mailbox-Line: ").append(header.substr(0, end));
    header.remove_prefix(end);
  }
  return out.append(header);
}

std::optional<HeaderField> parse_field(std::string_view raw) {
  if (raw.ends_with('\n')) raw.remove_suffix(1);
  const std::size_t length = header_name_length(raw);
  if (length == 0) return std::nullopt;
  const std::size_t colon = raw.find(':', length);
  return HeaderField{raw.substr(0, length), trim_left(raw.substr(colon + 1), " \t"), raw};
}

std::vector<HeaderField> split_header(std::string_view block) {
  std::vector<HeaderField> fields;
  std::size_t start = 0;
  while (start < block.size()) {
    std::size_t end = block.find('\n', start);
    while (end != std::string_view::npos && end + 1 < block.size() &&
           (block[end + 1] == ' ' || block[end + 1] == '\t')) {
      end = block.find('\n', end + 1);
    }
    end = std::min(end, block.size());
    if (end == start) break;  // the empty line
    if (const auto field = parse_field(block.substr(start, end - start))) fields.push_back(*field);
    start = end + 1;
  }
  return fields;
}

std::string unfold(std::string_view body) {
  std::string out;
  out.reserve(body.size());
  for (const char c : body) {
    if (c != '\n' && c != '\r') out += c;
  }
  return out;
}

HeaderScanner::State HeaderScanner::scan(std::string_view all, bool at_end) {
  while (state_ == State::kMore) {
    std::size_t end = all.find('\n', std::max(searched_, next_));
    if (end == std::string_view::npos) {
      searched_ = all.size();
      if (!at_end) {
        if (all.size() - header_size_ > limit_ || all.size() > limit_) state_ = State::kTooLong;
        break;
      }
      end = all.size();
      if (end == next_) {  // the message is a header and nothing else
        header_size_ = body_start_ = end;
        return state_ = State::kNoHeader;
      }
    }
    const std::string_view line = all.substr(next_, end - next_);
    const std::size_t behind = std::min(end + 1, all.size());
    const bool continuation =
        any_field_ && !line.empty() && (line.front() == ' ' || line.front() == '\t');
    const bool from_line = !any_field_ && is_mailbox_from_line(line);
    if (line.empty()) {
      header_size_ = next_;
      body_start_ = behind;
      state_ = State::kEmptyLine;
    } else if (continuation || from_line || is_header_line(line)) {
      any_field_ = any_field_ || !from_line;
      if (!continuation) field_ = next_;
      next_ = behind;
      if (behind > limit_) state_ = State::kTooLong;
    } else {
      header_size_ = body_start_ = next_;
      state_ = State::kNoHeader;
    }
  }
  if (state_ == State::kTooLong) header_size_ = body_start_ = next_;
  return state_;
}

std::size_t kept_size(std::string_view field, std::size_t limit) {
  const std::size_t colon = field.find(':');
  return colon == std::string_view::npos ? limit : std::max(limit, colon + 1);
}

void HeaderScanner::cut_field(std::string& all, std::size_t limit) {
  if (state_ != State::kMore) return;
  const auto last = std::string_view(all).substr(field_, next_ - field_);
  const std::size_t last_limit = kept_size(last, limit);
  if (next_ > field_ + last_limit + 1) {
    // Two ends of a line would be the end of the header.
    std::size_t kept = field_ + last_limit;
    while (kept > field_ && all[kept - 1] == '\n') --kept;
    const std::size_t excess = next_ - 1 - kept;
    all.erase(kept, excess);
    next_ -= excess;
    searched_ = next_;
  }
  const auto line = std::string_view(all).substr(next_);
  if (line.empty()) return;
  std::size_t room = limit;
  if (any_field_ && (line.front() == ' ' || line.front() == '\t')) {
    const std::size_t used = next_ - field_;
    room = used < last_limit ? last_limit - used : 1;  // what makes it a continuation stays
  } else if (is_header_line(line)) {
    room = kept_size(line, limit);
  } else {
    return;  // not yet, or the body begins here
  }
  if (line.size() > room) all.resize(next_ + room);
  searched_ = std::min(searched_, all.size());
}

const HeaderInfo* find_header_info(std::string_view name) {
  const auto found = std::lower_bound(kKnown.begin(), kKnown.end(), name,
                                      [](const HeaderInfo& info, std::string_view key) {
                                        return compare_nocase(info.name, key) < 0;
                                      });
  return found != kKnown.end() && equal_nocase(found->name, name) ? &*found : nullptr;
}

std::string fold_header(std::string_view text, std::size_t width) {
  std::string out;
  std::size_t line = 0;  // length of the output line, its TAB not counted
  bool first = true;
  for (const auto part : split_fields(text, '\n')) {
    if (first) {
      line = part.size();
    } else if (line + 1 + part.size() < width) {
      out += ' ';
      line += 1 + part.size();
    } else {
      out += "\n\t";
      line = part.size();
    }
    out += part;
    first = false;
  }
  return out;
}

std::string format_address_header(std::string_view name, const AddressList& list) {
  std::string text(name);
  text += ": ";
  text += list.print("\n");
  return fold_header(text);
}

}  // namespace postern::mail
