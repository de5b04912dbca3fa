// codec.h - packets of the milter protocol (versions 2 to 6), as an MTA writes and reads them.
//
//     packet := length (4 bytes, big endian, of what follows)  command (1 byte)  payload
//
// Reading is pure and bounded: a filter is trusted to judge mail, not to be free of bugs.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/result.h"

namespace postern::milter {

// What we send.
enum Command : char {
  kAbort = 'A',
  kBody = 'B',
  kConnect = 'C',
  kMacro = 'D',
  kEndOfBody = 'E',
  kHelo = 'H',
  kQuitNewConnection = 'K',
  kHeader = 'L',
  kMail = 'M',
  kEndOfHeader = 'N',
  kOptions = 'O',
  kQuit = 'Q',
  kRcpt = 'R',
  kData = 'T',
  kUnknownCommand = 'U',
};

// What a filter may do at the end of a message; we can do all of it.
inline constexpr std::uint32_t kAllActions = 0x1ff;
inline constexpr std::uint32_t kActionSetMacros = 0x100;

// Steps that a filter need not be shown, answers that it need not give, and forms it wants.
enum Protocol : std::uint32_t {
  kNoConnect = 0x1,
  kNoHelo = 0x2,
  kNoMail = 0x4,
  kNoRcpt = 0x8,
  kNoBody = 0x10,
  kNoHeaders = 0x20,
  kNoEndOfHeader = 0x40,
  kNoReplyHeader = 0x80,
  kNoUnknown = 0x100,
  kNoData = 0x200,
  kMaySkip = 0x400,
  kWantsRejected = 0x800,
  kNoReplyConnect = 0x1000,
  kNoReplyHelo = 0x2000,
  kNoReplyMail = 0x4000,
  kNoReplyRcpt = 0x8000,
  kNoReplyData = 0x10000,
  kNoReplyUnknown = 0x20000,
  kNoReplyEndOfHeader = 0x40000,
  kNoReplyBody = 0x80000,
  kLeadingSpace = 0x100000,
};
[[nodiscard]] std::uint32_t protocol_of_version(std::uint32_t version);

// Longer packets end the conversation.
inline constexpr std::size_t kMaxPacket = std::size_t{1} << 20;
// The body goes in pieces of up to this size.
inline constexpr std::size_t kBodyChunk = 65535;

void append_packet(std::string& out, char command, std::string_view payload = {});

using Macros = std::vector<std::pair<std::string, std::string>>;
// Nothing where there is none.
void append_macros(std::string& out, char command, const Macros& macros);

[[nodiscard]] std::string options_payload(std::uint32_t version);

struct Packet {
  enum class State : unsigned char { kMore, kWhole, kBad };
  State state = State::kMore;
  char command = 0;
  std::string_view payload{};  // into the input
  std::size_t consumed = 0;
};
[[nodiscard]] Packet parse_packet(std::string_view input);

struct Options {
  std::uint32_t version = 0;
  std::uint32_t actions = 0;
  std::uint32_t protocol = 0;
  // Stage (0 connect, 1 helo, 2 mail, 3 rcpt, 4 data, 5 end of body, 6 end of header) and the
  // names of the macros that are wanted then.
  std::vector<std::pair<std::uint32_t, std::string>> macro_lists;
};
[[nodiscard]] Result<Options> parse_options(std::string_view payload);

struct Reply {
  enum class Kind : unsigned char {
    kContinue,
    kAccept,
    kReject,
    kTempfail,
    kDiscard,
    kReplyCode,  // text: "550 5.7.9 no"
    kShutdown,
    kConnFail,
    kSkip,
    kProgress,
    // changes, at the end of the message only
    kAddHeader,     // name, text
    kInsertHeader,  // index, name, text
    kChangeHeader,  // index, name, text; an empty text deletes
    kAddRecipient,  // text, and ESMTP parameters in name
    kDeleteRecipient,
    kChangeSender,
    kReplaceBody,
    kQuarantine,
  };
  Kind kind = Kind::kContinue;
  std::uint32_t index = 0;
  std::string name;
  std::string text;

  [[nodiscard]] bool is_change() const { return kind >= Kind::kAddHeader; }
};
// Of one packet; kPermanent for what makes no sense.
[[nodiscard]] Result<Reply> parse_reply(char command, std::string_view payload);

}  // namespace postern::milter
