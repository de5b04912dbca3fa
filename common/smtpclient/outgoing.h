// outgoing.h - what is changed of a message on its way out: generic(5) addresses,
// smtp_header_checks and kin, and 8-bit parts for a server without 8BITMIME. The queue file stays
// as it is.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/ipc/tables_client.h"
#include "common/loop/task.h"
#include "common/mail/mime.h"
#include "common/smtpclient/settings.h"

namespace postern::smtpclient {

// smtp_generic_maps for addresses of an envelope (internal form).
[[nodiscard]] loop::Task<Result<std::vector<std::string>>> map_generic(
    ipc::TablesClient& tables, SettingsPtr settings, std::vector<std::string> addresses);

class Outgoing final : public mail::MimeSink {
 public:
  // `tables` may be absent where nothing is looked up.
  Outgoing(SettingsPtr settings, ipc::TablesClient* tables, std::string queue_id, bool downgrade);

  [[nodiscard]] bool is_needed() const;
  // The body, too, and not only the header.
  [[nodiscard]] bool changes_body() const { return looks_into_body_; }

  // Nothing is logged: this is to know what will be sent, and who sends it will say so.
  void rehearse() { is_rehearsal_ = true; }
  // Signatures for the converted message, from its envelope (mailauth::kConvertedTop).
  void set_converted_top(std::string attribute) { converted_top_ = std::move(attribute); }

  // The message's header, whole, into what is sent of it; then the body in any pieces, and its end.
  [[nodiscard]] loop::Task<Result<std::string>> change_header(std::string block);
  [[nodiscard]] loop::Task<Result<std::string>> change_body(std::string_view chunk);
  [[nodiscard]] loop::Task<Result<std::string>> finish_body();

  void header(mail::HeaderClass header_class, std::string_view field) override;
  void header_end() override;
  void body(std::string_view text, bool ends_line, std::uint64_t offset) override;

 private:
  struct Piece {
    std::string text;        // with the LF that ends it
    std::int64_t list = -1;  // index into lists_, or nobody asks
  };
  void add(std::string_view text, bool ends_line, std::int64_t list);
  [[nodiscard]] loop::Task<Result<std::string>> check_pieces();
  [[nodiscard]] std::string apply(const std::string& value, const Piece& piece) const;

  SettingsPtr settings_;
  ipc::TablesClient* tables_;
  std::string queue_id_;
  bool downgrade_;
  std::vector<ipc::tables::CheckList> lists_;  // header, mime, nested, body
  bool looks_into_body_ = false;
  bool is_rehearsal_ = false;
  std::string converted_top_;
  std::optional<mail::MimeParser> parser_;
  std::vector<Piece> pieces_;
};

}  // namespace postern::smtpclient
