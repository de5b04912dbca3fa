// transcript.h - what was said in a session, for the postmaster (notify_classes): commands and
// replies, never content and never what AUTH sends.
//
// A session is written down from its beginning where policy, protocol or bounce are to be
// told of, which strangers cause; otherwise from MAIL on, so that sessions that wait for mail hold
// nothing.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/mail/reply.h"

namespace postern::smtpd {

// The words of notify_classes that sessions bring about, as bits.
enum Trouble : std::uint8_t {
  kTroublePolicy = 1U << 0U,
  kTroubleProtocol = 1U << 1U,
  kTroubleResource = 1U << 2U,
  kTroubleSoftware = 1U << 3U,
  kTroubleData = 1U << 4U,
  kTroubleBounce = 1U << 5U,
};
using Troubles = std::uint8_t;

[[nodiscard]] Troubles parse_troubles(const std::vector<std::string>& notify_classes);

// What is behind a refusal that no restriction and no content check gave.
[[nodiscard]] Troubles trouble_of(const mail::Reply& reply);

class Transcript {
 public:
  // Beyond, only their number is kept.
  static constexpr std::size_t kMaxLines = 1000;
  static constexpr std::size_t kMaxSize = std::size_t{64} << 10;

  void add_command(std::string_view line);
  void add_reply(const mail::Reply& reply);

  [[nodiscard]] std::size_t lines() const { return lines_; }
  // Whole lines for a notice.
  [[nodiscard]] std::string text() const;
  void clear();

 private:
  void add(std::string_view direction, std::string_view line);

  std::string text_;
  std::size_t lines_ = 0;
  std::size_t left_out_ = 0;
};

}  // namespace postern::smtpd
