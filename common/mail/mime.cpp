#include "common/mail/mime.h"

#include <algorithm>
#include <utility>

#include "common/base/text.h"
#include "common/mail/header.h"

namespace postern::mail {

namespace {

// A quoted-printable line has up to 76 characters (RFC 2045 6.7 rule 5); the last may need three
// for a blank, and the soft line break one.
constexpr std::size_t kSoftBreak = 72;

constexpr std::string_view kHex = "0123456789ABCDEF";

void append_quoted(std::string& out, char c) {
  const auto byte = static_cast<unsigned char>(c);
  out += '=';
  out += kHex[byte >> 4U];
  out += kHex[byte & 15U];
}

bool is_plain(char c) { return c == '\t' || (is_printable(c) && c != '='); }

std::string_view first_token(std::string_view value) {
  value = trim_left(value, " \t\n");
  return value.substr(0, value.find_first_of(" \t\n;("));
}

}  // namespace

bool is_8bit(std::string_view chunk) { return !is_all_ascii(chunk); }

HeaderClass class_of(std::string_view name, HeaderClass where) {
  const auto* info = find_header_info(name);
  return info != nullptr && info->has(HeaderInfo::kMime) ? HeaderClass::kMime : where;
}

ContentType parse_content_type(std::string_view value) {
  ContentType type;
  const std::string flat = unfold(value);
  const std::string name = to_lower(first_token(flat));
  if (name.starts_with("text/") || name.empty()) {
    type.kind = ContentType::Kind::kText;
  } else if (name.starts_with("multipart/")) {
    type.kind = ContentType::Kind::kMultipart;
    type.is_digest = name == "multipart/digest";
  } else if (name.starts_with("message/")) {
    type.kind = ContentType::Kind::kMessage;
    type.is_message = name == "message/rfc822" || name == "message/global";
  } else {
    type.kind = ContentType::Kind::kOther;
  }
  if (type.kind != ContentType::Kind::kMultipart) return type;
  // name=value pairs behind semicolons; quotes and comments as RFC 2045 5.1 has them.
  std::size_t at = flat.find(';');
  while (at != std::string::npos && at < flat.size()) {
    ++at;
    while (at < flat.size() && (is_space(flat[at]) || flat[at] == ';')) ++at;
    const std::size_t equals = flat.find_first_of("=;", at);
    if (equals == std::string::npos) break;
    const std::string_view key = trim(std::string_view(flat).substr(at, equals - at));
    at = equals;
    if (flat[equals] == ';') continue;
    std::size_t from = equals + 1;
    while (from < flat.size() && is_space(flat[from])) ++from;
    std::string text;
    if (from < flat.size() && flat[from] == '"') {
      for (++from; from < flat.size() && flat[from] != '"'; ++from) {
        if (flat[from] == '\\' && from + 1 < flat.size()) ++from;
        text += flat[from];
      }
    } else {
      for (; from < flat.size() && !is_space(flat[from]) && flat[from] != ';'; ++from) {
        text += flat[from];
      }
    }
    if (equal_nocase(key, "boundary")) {
      type.boundary = text;
      break;
    }
    at = flat.find(';', std::min(from, flat.size()));
  }
  return type;
}

void MimeParser::start(std::string_view header) {
  entity_ = {};
  for (const auto& field : split_header(header)) note_field(field.raw);
  if (options_.is_enabled) new_encoding_ = begin_entity();
}

void MimeParser::add(std::string_view body) {
  while (!body.empty()) {
    const std::size_t end = body.find('\n');
    const std::string_view text = body.substr(0, end);
    const bool ends_line = end != std::string_view::npos;
    const std::size_t limit = options_.line_length_limit;
    if (pending_.empty() && ends_line && text.size() <= limit) {
      line(text, true);
    } else {
      pending_ += text;
      std::string_view rest = pending_;
      for (; rest.size() > limit; rest.remove_prefix(limit)) line(rest.substr(0, limit), false);
      if (ends_line) {
        line(rest, true);
        pending_.clear();
      } else {
        pending_.erase(0, pending_.size() - rest.size());
      }
    }
    if (!ends_line) return;
    body.remove_prefix(end + 1);
  }
}

void MimeParser::finish() {
  if (!pending_.empty()) line(std::exchange(pending_, {}), false);
  if (state_ != State::kBody) {
    flush_field();
    state_ = State::kBody;
  }
  if (!quoted_.empty()) send_body(std::exchange(quoted_, {}), false);
}

void MimeParser::line(std::string_view text, bool ends_line) {
  const bool is_start = !in_long_line_;
  in_long_line_ = !ends_line;
  if (!options_.is_enabled) return send_body(text, ends_line);
  if (is_start && is_boundary(text)) {
    // A boundary is text of the entity around the part.
    sink_.body(text, ends_line, 0);
    return;
  }
  if (state_ != State::kBody) return header_line(text, ends_line);
  body_text(text, ends_line);
}

bool MimeParser::is_boundary(std::string_view text) {
  if (levels_.empty() || !text.starts_with("--")) return false;
  const std::string_view after = text.substr(2);
  for (std::size_t i = levels_.size(); i-- > 0;) {
    const std::string& boundary = levels_[i].boundary;
    if (!after.starts_with(boundary)) continue;
    if (state_ != State::kBody) flush_field();
    if (!quoted_.empty()) send_body(std::exchange(quoted_, {}), true);
    converts_ = false;
    offset_ = 0;
    entity_ = {};
    const bool is_last = after.substr(boundary.size()).starts_with("--");
    if (is_last) {
      levels_.resize(i);
      state_ = State::kBody;
    } else {
      levels_.resize(i + 1);
      entity_.type.is_message = levels_[i].is_digest;
      if (levels_[i].is_digest) entity_.type.kind = ContentType::Kind::kMessage;
      state_ = State::kPartHeader;
    }
    return true;
  }
  return false;
}

void MimeParser::header_line(std::string_view text, bool ends_line) {
  const bool is_continuation =
      has_field_ && (!field_.empty()) &&
      (is_field_full_ || (!text.empty() && (text.front() == ' ' || text.front() == '\t')));
  if (is_continuation) {
    // The rest of a line that is too long is no line of its own.
    if (!is_field_full_) field_ += '\n';
    const std::size_t room =
        options_.header_size_limit > field_.size() ? options_.header_size_limit - field_.size() : 0;
    field_ += text.substr(0, room);
    is_field_full_ = !ends_line;
    return;
  }
  flush_field();
  if (is_header_line(text)) {
    field_.assign(text.substr(0, options_.header_size_limit));
    has_field_ = true;
    is_field_full_ = !ends_line;
    return;
  }
  end_header();
  if (text.empty() && ends_line) {
    sink_.header_end();
    offset_ = 0;
    return;
  }
  // A body without an empty line before it: this line is its first.
  state_ = State::kBody;
  body_text(text, ends_line);
}

void MimeParser::flush_field() {
  if (!has_field_) return;
  has_field_ = false;
  is_field_full_ = false;
  const std::string field = std::exchange(field_, {});
  const std::size_t length = header_name_length(field);
  const HeaderClass where =
      state_ == State::kNestedHeader ? HeaderClass::kNested : HeaderClass::kMime;
  const std::string_view name = std::string_view(field).substr(0, length);
  note_field(field);
  // With a conversion the entity gets a new one at the end of its header.
  if (options_.downgrade && equal_nocase(name, "Content-Transfer-Encoding") &&
      entity_.encoding == Encoding::k8bit) {
    return;
  }
  sink_.header(class_of(name, where), field);
}

void MimeParser::note_field(std::string_view field) {
  if (is_8bit(field)) faults_ |= kEightBitHeader;
  const auto parsed = parse_field(field);
  if (!parsed) return;
  if (equal_nocase(parsed->name, "Content-Type")) {
    entity_.type = parse_content_type(parsed->body);
  } else if (equal_nocase(parsed->name, "Content-Transfer-Encoding")) {
    const std::string_view word = first_token(parsed->body);
    if (equal_nocase(word, "8bit") || equal_nocase(word, "binary")) {
      entity_.encoding = Encoding::k8bit;
    } else if (equal_nocase(word, "7bit")) {
      entity_.encoding = Encoding::k7bit;
    } else if (equal_nocase(word, "base64") || equal_nocase(word, "quoted-printable")) {
      entity_.encoding = Encoding::kEncoded;
    }
  }
}

// The header is whole: what the entity's body is. Returns its new encoding, if it gets one.
std::string MimeParser::begin_entity() {
  const bool is_composite = entity_.type.kind == ContentType::Kind::kMultipart ||
                            entity_.type.kind == ContentType::Kind::kMessage;
  const bool is_encoded = entity_.encoding == Encoding::kEncoded;
  if (is_composite && is_encoded) faults_ |= kEncodingDomain;
  std::string encoding;
  converts_ = false;
  if (options_.downgrade && entity_.encoding == Encoding::k8bit) {
    encoding = is_composite ? "7bit" : "quoted-printable";
    converts_ = !is_composite;
  }
  state_ = State::kBody;
  offset_ = 0;
  if (entity_.type.kind == ContentType::Kind::kMultipart && !entity_.type.boundary.empty()) {
    if (levels_.size() >= options_.mime_nesting_limit) {
      faults_ |= kTooDeep;
    } else {
      std::string boundary = entity_.type.boundary;
      if (boundary.size() > options_.mime_boundary_length_limit) {
        boundary.resize(options_.mime_boundary_length_limit);
      }
      levels_.push_back({std::move(boundary), entity_.type.is_digest});
    }
  } else if (entity_.type.is_message && !is_encoded) {
    state_ = State::kNestedHeader;
    entity_ = {};
  }
  return encoding;
}

void MimeParser::end_header() {
  const std::string encoding = begin_entity();
  if (!encoding.empty()) {
    sink_.header(HeaderClass::kMime, "Content-Transfer-Encoding: " + encoding);
  }
}

void MimeParser::body_text(std::string_view text, bool ends_line) {
  if (converts_) return quote(text, ends_line);
  if (entity_.encoding != Encoding::k8bit && is_8bit(text)) faults_ |= kEightBitBody;
  send_body(text, ends_line);
}

void MimeParser::quote(std::string_view text, bool ends_line) {
  for (const char c : text) {
    if (quoted_.size() > kSoftBreak) {
      quoted_ += '=';
      send_body(std::exchange(quoted_, {}), true);
    }
    if (is_plain(c)) {
      quoted_ += c;
    } else {
      append_quoted(quoted_, c);
    }
  }
  if (!ends_line) return;
  // Blanks at the end of a line are lost on the way (rule 3).
  if (!quoted_.empty() && (quoted_.back() == ' ' || quoted_.back() == '\t')) {
    const char blank = quoted_.back();
    quoted_.pop_back();
    append_quoted(quoted_, blank);
  }
  send_body(std::exchange(quoted_, {}), true);
}

void MimeParser::send_body(std::string_view text, bool ends_line) {
  sink_.body(text, ends_line, offset_);
  offset_ += text.size() + (ends_line ? 1 : 0);
}

}  // namespace postern::mail
