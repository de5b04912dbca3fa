// header.h - the header of a message: where it ends, its fields, its known names, folding.
//
// Content has LF line ends throughout. A header line is `name:`, the name in visible ASCII, blanks
// allowed between name and colon (RFC 5322 4.5.3); a line that starts with a blank goes on the
// field above. The first line that is neither ends the header: it is the empty line, or already
// body.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::mail {

// One field. Views into the block it was split from.
struct HeaderField {
  std::string_view name;  // as written, without blanks before the colon
  std::string_view body;  // behind the colon, folded as it was, blanks in front and LF at end gone
  std::string_view raw;   // all lines, without the last LF
};

// The length of the name if `line` starts like a header line, else 0.
[[nodiscard]] std::size_t header_name_length(std::string_view line);
[[nodiscard]] inline bool is_header_line(std::string_view line) {
  return header_name_length(line) > 0;
}
// `From ` (also `>From `) as mailbox programs write it in front of a header.
[[nodiscard]] bool is_mailbox_from_line(std::string_view line);
// A header with such lines in front as fields: what a mailbox had there is not lost.
[[nodiscard]] std::string with_mailbox_fields(std::string_view header);

// Splits a header block, with or without its empty line. Lines that are no header (a From line, a
// continuation of nothing) are left out.
[[nodiscard]] std::vector<HeaderField> split_header(std::string_view block);

// One field of its lines; nullopt where the first is no header line.
[[nodiscard]] std::optional<HeaderField> parse_field(std::string_view raw);

// How much of a field is kept where it is cut at `limit` bytes (header_size_limit): not less than
// its name with the colon, without which it would be no field, and the rest of the header the body.
[[nodiscard]] std::size_t kept_size(std::string_view field, std::size_t limit);

// The body on one line: each line break with the blanks behind it as they are, the LF gone.
[[nodiscard]] std::string unfold(std::string_view body);

// Finds the end of a header that arrives in pieces. The caller keeps all bytes from the first on in
// one buffer and calls scan() with the whole of it each time: what was scanned is not read again.
class HeaderScanner {
 public:
  enum class State : unsigned char {
    kMore,       // no end yet
    kEmptyLine,  // the body starts behind an empty line
    kNoHeader,   // the body starts with a line that is no header, without an empty line
    kTooLong,    // no end within the limit
  };
  explicit HeaderScanner(std::size_t limit) : limit_(limit) {}

  // `at_end`: nothing follows, so an unfinished last line counts as a line.
  State scan(std::string_view all, bool at_end = false);

  // Takes out of `all`, which scan() has just seen the whole of without finding the end, what the
  // last field has beyond `limit` bytes; what comes still belongs to the field it belonged to.
  // Precondition: limit is not 0.
  void cut_field(std::string& all, std::size_t limit);

  // Bytes of the header, the LF of its last line included, the empty line not.
  [[nodiscard]] std::size_t header_size() const { return header_size_; }
  // Where the body starts: behind the empty line if there is one.
  [[nodiscard]] std::size_t body_start() const { return body_start_; }

 private:
  std::size_t limit_;
  std::size_t header_size_ = 0;
  std::size_t body_start_ = 0;
  std::size_t field_ = 0;     // start of the last field
  std::size_t next_ = 0;      // start of the first line not judged yet
  std::size_t searched_ = 0;  // no LF between next_ and here
  bool any_field_ = false;
  State state_ = State::kMore;
};

// What is known about a header name, in any case of its letters.
struct HeaderInfo {
  enum Flag : std::uint16_t {
    kSender = 1U << 0U,     // holds addresses, rewritten as senders
    kRecipient = 1U << 1U,  // holds addresses, rewritten as recipients
    kExtract = 1U << 2U,    // names recipients for `sendmail -t`
    kResent = 1U << 3U,     // one of the Resent- set
    kMime = 1U << 4U,       // describes a MIME entity
    kOnce = 1U << 5U,       // RFC 5322 3.6: at most one
  };
  std::string_view name;  // in its usual spelling
  std::uint16_t flags;

  [[nodiscard]] bool has(Flag flag) const { return (flags & flag) != 0; }
  [[nodiscard]] bool has_addresses() const { return (flags & (kSender | kRecipient)) != 0; }
};
[[nodiscard]] const HeaderInfo* find_header_info(std::string_view name);

// Fills lines: `text` is a whole field with LF where it may be broken; a break becomes a blank
// where the line stays shorter than `width`, and LF and TAB where not. Never breaks elsewhere.
inline constexpr std::size_t kFoldWidth = 70;
[[nodiscard]] std::string fold_header(std::string_view text, std::size_t width = kFoldWidth);

// "To: " and the printed address list, folded; no LF at the end.
class AddressList;
[[nodiscard]] std::string format_address_header(std::string_view name, const AddressList& list);

}  // namespace postern::mail
