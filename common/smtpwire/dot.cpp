#include "common/smtpwire/dot.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace postern::smtpwire {

void LineEndDecoder::look_for_nul(std::string_view in) {
  if (!seen_nul_) seen_nul_ = in.find('\0') != std::string_view::npos;
}

// Appends content that holds no LF, with its bare CRs treated.
void LineEndDecoder::append_run(std::string_view run, std::string& out) {
  const auto first = run.find('\r');
  if (first == std::string_view::npos) {
    out.append(run);
    return;
  }
  seen_bare_cr_ = true;
  const std::size_t from = out.size();
  out.append(run);
  if (rules_.bare_cr == BareCr::kKeep) return;
  std::replace(out.begin() + static_cast<std::ptrdiff_t>(from), out.end(), '\r', ' ');
}

// The CRs that were held back turned out to be no line end.
void LineEndDecoder::release_crs(std::string& out) {
  if (held_crs_ == 0) return;
  seen_bare_cr_ = true;
  out.append(held_crs_, rules_.bare_cr == BareCr::kKeep ? '\r' : ' ');
  held_crs_ = 0;
}

std::size_t LineEndDecoder::line_part(std::string_view in, std::string& out) {
  const auto lf = in.find('\n');
  const bool ended = lf != std::string_view::npos;
  const std::string_view part = in.substr(0, ended ? lf : in.size());
  const auto last = part.find_last_not_of('\r');
  const std::size_t content = last == std::string_view::npos ? 0 : last + 1;
  if (content > 0) {
    release_crs(out);
    append_run(part.substr(0, content), out);
  }
  held_crs_ += part.size() - content;
  at_line_start_ = ended;
  if (!ended) return in.size();

  last_end_was_crlf_ = held_crs_ > 0;
  if (held_crs_ == 0) seen_bare_lf_ = true;
  if (held_crs_ > 1) seen_bare_cr_ = true;
  held_crs_ = 0;
  out += '\n';
  ++lines_;
  return lf + 1;
}

bool DotDecoder::ends_data(bool crlf) const {
  return rules_.bare_lf == BareLf::kAllow || (crlf && last_end_was_crlf_);
}

// One byte at the start of a line, where a dot may mean the end. True: the byte is used up; false:
// it is ordinary content.
bool DotDecoder::start_of_line(char c, std::string& out) {
  switch (start_) {
    case AtStart::kNothing:
      if (c != '.') break;
      start_ = AtStart::kDot;
      return true;
    case AtStart::kDot:
      if (c == '\r') {
        start_ = AtStart::kDotCr;
        return true;
      }
      [[fallthrough]];
    case AtStart::kDotCr: {
      const bool crlf = start_ == AtStart::kDotCr;
      start_ = AtStart::kNothing;
      if (c == '\n') {
        // A lone dot that does not end the data is dropped: stuffing made no such line.
        done_ = ends_data(crlf);
        last_end_was_crlf_ = crlf;
        if (!crlf) seen_bare_lf_ = true;
        return true;
      }
      if (crlf) held_crs_ = 1;
      break;
    }
  }
  at_line_start_ = false;
  if (c == '\r') {
    ++held_crs_;
    return true;
  }
  static_cast<void>(out);
  return false;
}

std::size_t DotDecoder::decode(std::string_view in, std::string& out) {
  look_for_nul(in);
  out.reserve(out.size() + in.size() + 1);
  std::size_t at = 0;
  while (at < in.size() && !done_) {
    if (at_line_start_) {
      // Nearly every line starts with something else.
      if (start_ == AtStart::kNothing && in[at] != '.') {
        at_line_start_ = false;
      } else if (start_of_line(in[at], out)) {
        ++at;
        continue;
      }
    }
    at += line_part(in.substr(at), out);
  }
  return at;
}

std::size_t DotEncoder::encode(std::string_view& in, std::span<char> out) {
  std::size_t written = 0;
  const auto put = [&](std::string_view bytes) {
    std::memcpy(out.data() + written, bytes.data(), bytes.size());
    written += bytes.size();
  };
  const bool has_cr = in.find('\r') != std::string_view::npos;
  while (!in.empty() && out.size() - written >= kMinRoom) {
    if (in.front() == '\n') {
      put("\r\n");
      column_ = 0;
      in.remove_prefix(1);
      continue;
    }
    if (line_limit_ > 0 && column_ >= line_limit_) {
      put("\r\n ");
      column_ = 1;
    }
    if (column_ == 0 && in.front() == '.') put(".");

    std::size_t most = std::min(in.size(), out.size() - written);
    if (line_limit_ > 0) most = std::min(most, line_limit_ - column_);
    const std::size_t run = std::min(in.substr(0, most).find('\n'), most);
    put(in.substr(0, run));
    if (has_cr) {
      const auto start = out.begin() + static_cast<std::ptrdiff_t>(written - run);
      std::replace(start, start + static_cast<std::ptrdiff_t>(run), '\r', ' ');
    }
    column_ += run;
    in.remove_prefix(run);
  }
  return written;
}

std::size_t DotEncoder::finish(std::span<char> out) {
  assert(out.size() >= kFinishSize);
  const std::string_view end = column_ > 0 ? "\r\n.\r\n" : ".\r\n";
  std::memcpy(out.data(), end.data(), end.size());
  column_ = 0;
  return end.size();
}

}  // namespace postern::smtpwire
