#include "common/mailauth/canonical.h"

#include <algorithm>

#include "common/base/text.h"

namespace postern::mailauth {

namespace {

constexpr std::string_view kCrlf = "\r\n";
constexpr std::string_view kSpaces = " \t";
// How much is put into canonical form before it is hashed.
constexpr std::size_t kPiece = std::size_t{16} << 10;

}  // namespace

void append_canonical_field(std::string& out, std::string_view name, std::string_view raw,
                            Canon canon) {
  if (canon == Canon::kSimple) {
    for (;;) {
      const std::size_t end = raw.find('\n');
      out += raw.substr(0, end);
      if (end == std::string_view::npos) return;
      out += kCrlf;
      raw.remove_prefix(end + 1);
    }
  }
  const std::size_t start = out.size();
  out += name;
  for (std::size_t i = start; i < out.size(); ++i) out[i] = to_lower(out[i]);
  out += ':';
  bool is_first = true;
  const std::size_t colon = raw.find(':');
  std::string_view body = raw.substr(std::min(colon + 1, raw.size()));
  // Unfolded, each run of blanks is one; those at either end are gone.
  constexpr std::string_view kFolding = " \t\n";
  for (std::string_view word = next_word(body, kFolding); !word.empty();
       word = next_word(body, kFolding)) {
    if (!is_first) out += ' ';
    is_first = false;
    out += word;
  }
}

void BodyCanon::flush_lines(std::string& out) {
  for (; line_ends_ > 0; --line_ends_) out += kCrlf;
  is_empty_ = false;
}

void BodyCanon::append_text(std::string_view text, std::string& out) {
  if (text.empty()) return;
  if (canon_ == Canon::kSimple) {
    flush_lines(out);
    out += text;
    return;
  }
  // Most lines have nothing to collapse.
  if (!blank_ && text.find('\t') == std::string_view::npos &&
      text.find("  ") == std::string_view::npos && !text.ends_with(' ')) {
    flush_lines(out);
    out += text;
    return;
  }
  while (!text.empty()) {
    const std::size_t word = text.find_first_not_of(kSpaces);
    if (word != 0) blank_ = true;
    if (word == std::string_view::npos) return;
    text.remove_prefix(word);
    const std::size_t end = std::min(text.find_first_of(kSpaces), text.size());
    flush_lines(out);
    if (blank_) out += ' ';
    blank_ = false;
    out += text.substr(0, end);
    text.remove_prefix(end);
  }
}

void BodyCanon::append(std::string_view chunk, std::string& out) {
  while (!chunk.empty()) {
    const std::size_t end = chunk.find('\n');
    append_text(chunk.substr(0, end), out);
    if (end == std::string_view::npos) return;
    blank_ = false;
    ++line_ends_;
    chunk.remove_prefix(end + 1);
  }
}

void BodyCanon::finish(std::string& out) {
  // Empty lines at the end are dropped. What is left ends with one line end; nothing at all is one
  // line end in the simple form (RFC 6376 3.4.3), and nothing in the relaxed one.
  if (!is_empty_ || canon_ == Canon::kSimple) out += kCrlf;
}

std::size_t BodyHashes::want(Canon canon, std::optional<std::uint64_t> length) {
  auto form = std::ranges::find(forms_, canon, &Form::canon);
  if (form == forms_.end()) form = forms_.insert(forms_.end(), Form{canon, BodyCanon(canon)});
  const auto number = static_cast<std::size_t>(form - forms_.begin());
  const auto same = std::ranges::find_if(
      hashes_, [&](const Hash& hash) { return hash.form == number && hash.length == length; });
  if (same != hashes_.end()) return static_cast<std::size_t>(same - hashes_.begin());
  hashes_.push_back(Hash{number, length});
  return hashes_.size() - 1;
}

void BodyHashes::append(std::string_view chunk) {
  if (forms_.empty()) return;
  if (line_limit_ > 0) {
    append_broken(chunk);
  } else {
    append_whole(chunk);
  }
}

void BodyHashes::append_whole(std::string_view chunk) {
  while (!chunk.empty()) {
    const std::string_view piece = chunk.substr(0, kPiece);
    for (std::size_t form = 0; form < forms_.size(); ++form) {
      forms_[form].body.append(piece, buffer_);
      take(form);
    }
    chunk.remove_prefix(piece.size());
  }
}

void BodyHashes::append_broken(std::string_view chunk) {
  std::string without_cr;
  if (chunk.find('\r') != std::string_view::npos) {
    without_cr = chunk;
    std::ranges::replace(without_cr, '\r', ' ');
    chunk = without_cr;
  }
  // Runs of lines that fit go on whole.
  std::size_t start = 0;
  std::size_t at = 0;
  while (at < chunk.size()) {
    const std::size_t end = std::min(chunk.find('\n', at), chunk.size());
    if (column_ + (end - at) <= line_limit_) {
      column_ = end < chunk.size() ? 0 : column_ + (end - at);
      at = std::min(end + 1, chunk.size());
      continue;
    }
    const std::size_t fits = line_limit_ - column_;
    append_whole(chunk.substr(start, at + fits - start));
    append_whole("\n ");
    column_ = 1;
    start = at = at + fits;
  }
  append_whole(chunk.substr(start));
}

void BodyHashes::take(std::size_t form) {
  const std::uint64_t before = forms_[form].size;
  for (auto& hash : hashes_) {
    if (hash.form != form) continue;
    std::string_view bytes = buffer_;
    if (hash.length) {
      bytes = bytes.substr(0, *hash.length > before ? *hash.length - before : 0);
    }
    if (!bytes.empty()) hash.hash.append(bytes);
  }
  forms_[form].size += buffer_.size();
  buffer_.clear();
}

void BodyHashes::finish() {
  for (std::size_t form = 0; form < forms_.size(); ++form) {
    forms_[form].body.finish(buffer_);
    take(form);
  }
  for (auto& hash : hashes_) hash.digest = hash.hash.finish();
}

}  // namespace postern::mailauth
