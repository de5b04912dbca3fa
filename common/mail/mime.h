// mime.h - the structure of a message's body as it streams by: parts, their headers, their lines.
//
// The parser is fed the message's header once and the body in any pieces, and hands on the same
// bytes as pieces: whole header fields of attached parts and messages, their ends, and body lines
// (in parts of up to line_length_limit). It keeps one line, one header field and the stack of
// boundaries, all bounded; no input makes it fail. With kDowngrade it turns 8-bit parts into
// quoted-printable ones (RFC 2045 6.7) for servers without 8BITMIME.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace postern::mail {

// Whether some byte of a body's chunk is above 127: such a message needs 8BITMIME or a conversion.
[[nodiscard]] bool is_8bit(std::string_view chunk);

enum class HeaderClass : unsigned char {
  kPrimary,  // of the message
  kMime,     // Content-... and MIME-Version anywhere, and all fields of a part
  kNested,   // of an attached message
};

struct MimeOptions {
  bool is_enabled = true;  // off: all of the body is one text
  bool downgrade = false;
  std::size_t header_size_limit = 102400;
  std::size_t line_length_limit = 2048;
  std::size_t mime_nesting_limit = 100;
  std::size_t mime_boundary_length_limit = 2048;
};

struct ContentType {
  enum class Kind : unsigned char { kText, kOther, kMultipart, kMessage };
  Kind kind = Kind::kText;
  bool is_digest = false;   // multipart/digest: its parts are messages by default
  bool is_message = false;  // message/rfc822 or message/global: a header follows
  std::string boundary;
};
// The value of a Content-Type field, folded or not.
[[nodiscard]] ContentType parse_content_type(std::string_view value);

// The class by which checks of headers choose, for a field of the message's own header or of an
// attached one.
[[nodiscard]] HeaderClass class_of(std::string_view name, HeaderClass where);

class MimeSink {
 public:
  virtual ~MimeSink() = default;
  // One field, folded as it came, without its last LF.
  virtual void header(HeaderClass header_class, std::string_view field) = 0;
  // The empty line behind a header (or what stands for it).
  virtual void header_end() = 0;
  // A line or a part of one; `offset` is that of the text within its part of the message.
  virtual void body(std::string_view text, bool ends_line, std::uint64_t offset) = 0;
};

class MimeParser {
 public:
  enum Fault : std::uint8_t {
    kTooDeep = 1,         // nested deeper than mime_nesting_limit: the rest is text
    kEightBitHeader = 2,  // strict_7bit_headers
    kEightBitBody = 4,    // strict_8bitmime_body: without a declaration
    kEncodingDomain = 8,  // strict_mime_encoding_domain: an encoded multipart or message
  };

  MimeParser(MimeOptions options, MimeSink& sink) : options_(options), sink_(sink) {}

  // The message's own header; nothing of it goes to the sink. Before the body.
  void start(std::string_view header);
  void add(std::string_view body);
  void finish();

  // With `downgrade`: what the message's own Content-Transfer-Encoding becomes, or empty.
  [[nodiscard]] const std::string& new_encoding() const { return new_encoding_; }
  [[nodiscard]] std::uint8_t faults() const { return faults_; }

 private:
  enum class Encoding : unsigned char { k7bit, k8bit, kEncoded };
  enum class State : unsigned char { kBody, kPartHeader, kNestedHeader };
  struct Entity {
    ContentType type;
    Encoding encoding = Encoding::k7bit;
  };
  struct Level {
    std::string boundary;
    bool is_digest = false;
  };

  void line(std::string_view text, bool ends_line);
  [[nodiscard]] bool is_boundary(std::string_view text);
  void header_line(std::string_view text, bool ends_line);
  void flush_field();
  void note_field(std::string_view field);
  void end_header();
  void body_text(std::string_view text, bool ends_line);
  void quote(std::string_view text, bool ends_line);
  void send_body(std::string_view text, bool ends_line);
  [[nodiscard]] std::string begin_entity();

  MimeOptions options_;
  MimeSink& sink_;
  std::string pending_;  // a line whose end has not come
  bool in_long_line_ = false;
  State state_ = State::kBody;
  Entity entity_;
  std::vector<Level> levels_;
  std::string field_;
  bool has_field_ = false;
  bool is_field_full_ = false;
  bool converts_ = false;
  std::string quoted_;
  std::uint64_t offset_ = 0;
  std::string new_encoding_;
  std::uint8_t faults_ = 0;
};

}  // namespace postern::mail
