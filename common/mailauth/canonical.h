// canonical.h - the two canonical forms of RFC 6376 3.4, and the hashes of a body.
//
// Content has LF line ends, what is hashed CRLF, as it travels. A body is read once however many
// signatures there are: each distinct combination of form and length is hashed once.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/mail/header.h"
#include "common/mailauth/crypto.h"

namespace postern::mailauth {

enum class Canon : unsigned char { kSimple, kRelaxed };

// Appends the field in canonical form, without the CRLF at its end.
void append_canonical_field(std::string& out, std::string_view name, std::string_view raw,
                            Canon canon);
inline void append_canonical_field(std::string& out, const mail::HeaderField& field, Canon canon) {
  append_canonical_field(out, field.name, field.raw, canon);
}

// A body in canonical form, in pieces of some KiB, to whoever takes them.
class BodyCanon {
 public:
  explicit BodyCanon(Canon canon) : canon_(canon) {}

  // Appends to `out` what is certain of the form of what came in so far.
  void append(std::string_view chunk, std::string& out);
  void finish(std::string& out);

 private:
  void append_text(std::string_view text, std::string& out);
  void flush_lines(std::string& out);

  Canon canon_;
  std::size_t line_ends_ = 0;  // not written yet: at the end of the body they are dropped
  bool blank_ = false;         // not written yet: at the end of a line it is dropped
  bool is_empty_ = true;
};

class BodyHashes {
 public:
  // Which hash it will be; the same number for the same wish. Before the first append().
  // `length`: only that many bytes of the canonical form (l=).
  std::size_t want(Canon canon, std::optional<std::uint64_t> length = std::nullopt);

  // The hashes are of what the SMTP client will send: lines longer than this are broken
  // (smtp_line_length_limit), and a CR within a line is a blank. 0: the body is hashed as it is.
  void break_lines(std::size_t limit) { line_limit_ = limit; }

  [[nodiscard]] bool is_wanted() const { return !hashes_.empty(); }
  void append(std::string_view chunk);
  void finish();

  // After finish().
  [[nodiscard]] const std::string& digest(std::size_t which) const { return hashes_[which].digest; }
  // Bytes of the canonical body that this hash was made of, and how many there were.
  [[nodiscard]] std::uint64_t size(std::size_t which) const {
    return forms_[hashes_[which].form].size;
  }

 private:
  struct Form {
    Canon canon;
    BodyCanon body;
    std::uint64_t size = 0;
  };
  struct Hash {
    std::size_t form;
    std::optional<std::uint64_t> length;
    Sha256 hash{};
    std::string digest{};
  };
  void append_whole(std::string_view chunk);
  void append_broken(std::string_view chunk);
  void take(std::size_t form);

  std::vector<Form> forms_;
  std::vector<Hash> hashes_;
  std::string buffer_;
  std::size_t line_limit_ = 0;
  std::size_t column_ = 0;
};

}  // namespace postern::mailauth
