// content_checks.h - header_checks(5): what a message's header fields and body lines call for.
//
// The patterns are in `tables`, which is asked for all fields of a header in one question and for
// the lines of each piece of the body in another. What they decide is collected in Effects; what
// they change is put into the content that is handed back.

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/ipc/cleanup.h"
#include "common/ipc/tables_client.h"
#include "common/loop/task.h"
#include "common/mail/check_action.h"
#include "common/mail/mime.h"

namespace postern::cleanup {

struct CheckSettings {
  std::vector<std::string> header_checks, mime_header_checks, nested_header_checks, body_checks;
  std::vector<std::string> milter_header_checks;
  std::uint64_t body_checks_size_limit = 0;
  mail::MimeOptions mime;
  bool strict_7bit_headers = false;
  bool strict_8bitmime_body = false;
  bool strict_mime_encoding_domain = false;
  std::string message_reject_characters;  // the characters themselves
  std::string message_strip_characters;

  [[nodiscard]] bool has_header_checks() const {
    return !header_checks.empty() || !mime_header_checks.empty();
  }
  // Whether the body has to be looked into, other than to convert it.
  [[nodiscard]] bool needs_body() const {
    return !body_checks.empty() || !mime_header_checks.empty() || !nested_header_checks.empty() ||
           strict_8bitmime_body || strict_mime_encoding_domain;
  }
};

// What a message is to become, whatever decided it.
struct Effects {
  bool is_over = false;  // header_checks(5): nothing that follows is inspected, milters neither
  bool is_rejected = false;
  mail::CheckAction rejection;  // text: "5.7.1 Not this subject"
  bool is_discarded = false;
  bool is_held = false;
  std::string filter;
  std::string redirect;
  std::vector<std::string> bcc;
};

class ContentChecks final : mail::MimeSink {
 public:
  // With kConversionOnly no table is asked: the content just passes force_mime_input_conversion.
  enum class Scope : unsigned char { kAll, kConversionOnly };

  // `about` is the tail of log lines: "client[addr]; from=<..> to=<..> proto=.. helo=<..>".
  ContentChecks(const CheckSettings& settings, ipc::TablesClient& tables, std::string queue_id,
                std::string about, Scope scope = Scope::kAll);

  // The message's own header, field by field, into what it becomes.
  [[nodiscard]] loop::Task<Result<std::string>> check_header(std::string block);
  // The same for fields that a milter adds; the empty string: the field is dropped.
  [[nodiscard]] loop::Task<Result<std::string>> check_milter_header(std::string field);

  // Begins the body; `header` is the message's.
  void start_body(std::string_view header);
  // The same where 8-bit content is converted: what the header becomes.
  [[nodiscard]] std::string start_conversion(std::string_view header);
  // A piece of the body, or its end, into what it becomes.
  [[nodiscard]] loop::Task<Result<std::string>> check_body(std::string chunk);
  [[nodiscard]] loop::Task<Result<std::string>> finish_body();

  [[nodiscard]] Effects& effects() { return effects_; }
  [[nodiscard]] std::uint8_t faults() const { return parser_ ? parser_->faults() : 0; }

 private:
  enum List : std::int64_t { kHeader, kMime, kNested, kBody, kMilter, kNone = -1 };
  struct Piece {
    std::string text;  // with the LF that ends it
    std::int64_t list = kNone;
  };

  void header(mail::HeaderClass header_class, std::string_view field) override;
  void header_end() override;
  void body(std::string_view text, bool ends_line, std::uint64_t offset) override;

  void add(std::string_view text, bool ends_line, std::int64_t list);
  [[nodiscard]] const std::vector<std::string>& tables_of(std::int64_t list) const;
  [[nodiscard]] loop::Task<Result<std::string>> check_pieces();
  // What becomes of one piece.
  [[nodiscard]] std::string apply(const std::string& value, const std::string& table,
                                  const Piece& piece);
  void log_action(const mail::CheckAction& action, const Piece& piece, std::string_view text) const;

  const CheckSettings& settings_;
  ipc::TablesClient& tables_;
  std::string queue_id_;
  std::string about_;
  Scope scope_;
  Effects effects_;
  std::optional<mail::MimeParser> parser_;
  std::vector<Piece> pieces_;
};

}  // namespace postern::cleanup
