// dot.h - message content on the wire: CRLF lines, dots doubled, ended by a lone dot.
//
// Decoder: what a client sends after DATA becomes content with LF line ends. Encoder: such content
// becomes what a next hop reads. Both work on runs between line ends, found with memchr; both carry
// their state over any cut of the stream, so the result does not depend on how it arrived.
//
// Where a message ends is a security question (RFC 5321 4.1.1.4; SMTP smuggling). Only CRLF.CRLF
// ends it, but with BareLf::kAllow, which is Postfix's old behaviour for clients on the operator's
// list, where LF counts as CRLF everywhere. `.` CR CR LF never ends it. Long lines are not broken
// here: the queue keeps them as they came, and the encoder breaks them for a next hop.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace postern::smtpwire {

// smtpd_forbid_bare_newline.
enum class BareLf : unsigned char {
  kAllow,      // "no"
  kNormalize,  // a line end, but never part of the end of data
  kReject,     // as kNormalize; the session answers 550 5.5.2 when seen_bare_lf()
};

// A CR that is not part of a line end. CRs right in front of CRLF are dropped in all cases.
enum class BareCr : unsigned char {
  kKeep,
  kSpace,   // becomes a blank (cleanup_replace_stray_cr_lf)
  kReject,  // as kSpace; the session refuses the message when seen_bare_cr()
};

struct DecodeRules {
  BareLf bare_lf = BareLf::kNormalize;
  BareCr bare_cr = BareCr::kSpace;
};

// What DATA and BDAT have in common: lines to LF, CRs watched.
class LineEndDecoder {
 public:
  [[nodiscard]] bool seen_bare_lf() const { return seen_bare_lf_; }
  [[nodiscard]] bool seen_bare_cr() const { return seen_bare_cr_; }
  [[nodiscard]] bool seen_nul() const { return seen_nul_; }
  // Line ends so far: with CRLF the content is longer by so many bytes.
  [[nodiscard]] std::uint64_t lines() const { return lines_; }

 protected:
  explicit LineEndDecoder(const DecodeRules& rules) : rules_(rules) {}

  // Decodes the part of a line from the front of `in`, its line end if it is there; returns the
  // bytes used. Afterwards at_line_start_ says whether the line ended.
  std::size_t line_part(std::string_view in, std::string& out);
  void look_for_nul(std::string_view in);
  void append_run(std::string_view run, std::string& out);
  void release_crs(std::string& out);

  DecodeRules rules_;
  std::size_t held_crs_ = 0;  // CRs at the end of the last chunk: line end or not?
  bool at_line_start_ = true;
  bool last_end_was_crlf_ = true;
  bool seen_bare_lf_ = false;
  bool seen_bare_cr_ = false;
  bool seen_nul_ = false;
  std::uint64_t lines_ = 0;
};

class DotDecoder : public LineEndDecoder {
 public:
  explicit DotDecoder(const DecodeRules& rules) : LineEndDecoder(rules) {}

  // Appends the content in `in` to `out`. Returns the bytes used: all of them, or, when the end of
  // the data was found (done() is true), those up to its last LF.
  std::size_t decode(std::string_view in, std::string& out);
  [[nodiscard]] bool done() const { return done_; }

 private:
  enum class AtStart : unsigned char { kNothing, kDot, kDotCr };

  [[nodiscard]] bool ends_data(bool crlf) const;
  bool start_of_line(char c, std::string& out);

  AtStart start_ = AtStart::kNothing;
  bool done_ = false;
};

// Content with LF to the wire, into the caller's buffer.
class DotEncoder {
 public:
  // Lines longer than `line_limit` are broken by CRLF and a blank (smtp_line_length_limit); 0: not.
  explicit DotEncoder(std::size_t line_limit) : line_limit_(line_limit) {}

  // The most that finish() writes.
  static constexpr std::size_t kFinishSize = 5;
  // The least room encode() needs to be sure to get on.
  static constexpr std::size_t kMinRoom = 8;

  // Encodes from the front of `in`, which it shortens by what it took, until `in` is empty or `out`
  // has less than kMinRoom left. Returns the bytes written. A CR goes out as a blank: no bare CR
  // ever leaves, and one before LF must not double.
  std::size_t encode(std::string_view& in, std::span<char> out);

  // Ends an unfinished line and writes the final dot; `out` has room for kFinishSize.
  std::size_t finish(std::span<char> out);

 private:
  std::size_t line_limit_;
  std::size_t column_ = 0;  // content bytes of the line so far
};

}  // namespace postern::smtpwire
