#include "common/milter/codec.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"

namespace postern::milter {

namespace {

constexpr std::size_t kMaxMacroLists = 16;

void append_number(std::string& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    out += static_cast<char>((value >> static_cast<unsigned>(shift)) & 0xffU);
  }
}

std::uint32_t number_at(std::string_view text, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = at; i < at + 4; ++i) {
    value = (value << 8U) | static_cast<unsigned char>(text[i]);
  }
  return value;
}

std::unexpected<Error> bad(std::string_view what) {
  return fail(Error::Kind::kPermanent, fmt::format("malformed {}", what));
}

// The text up to a NUL, which is taken off as well.
Result<std::string> take_string(std::string_view& payload, std::string_view what) {
  const auto end = payload.find('\0');
  if (end == std::string_view::npos) return bad(what);
  std::string text(payload.substr(0, end));
  payload.remove_prefix(end + 1);
  return text;
}

// "550 5.7.1 text": three digits and a blank; `%%` stands for `%`, lines may come with CR LF.
bool is_reply_text(std::string_view text) {
  return text.size() >= 3 && (text[0] == '4' || text[0] == '5') && is_digit(text[1]) &&
         is_digit(text[2]) && (text.size() == 3 || text[3] == ' ' || text[3] == '-');
}

}  // namespace

std::uint32_t protocol_of_version(std::uint32_t version) {
  if (version >= 6) return 0x1fffff;
  if (version >= 4) return 0x3ff;
  if (version == 3) return 0x1ff;
  return 0x7f;
}

void append_packet(std::string& out, char command, std::string_view payload) {
  append_number(out, static_cast<std::uint32_t>(payload.size() + 1));
  out += command;
  out += payload;
}

void append_macros(std::string& out, char command, const Macros& macros) {
  if (macros.empty()) return;
  std::string payload(1, command);
  for (const auto& [name, value] : macros) {
    payload += name;
    payload += '\0';
    payload += value.substr(0, value.find('\0'));
    payload += '\0';
  }
  append_packet(out, kMacro, payload);
}

std::string options_payload(std::uint32_t version) {
  std::string payload;
  append_number(payload, version);
  append_number(payload, version >= 6 ? kAllActions : version >= 3 ? 0x3fU : 0x1fU);
  append_number(payload, protocol_of_version(version));
  return payload;
}

Packet parse_packet(std::string_view input) {
  Packet packet;
  if (input.size() < 4) return packet;
  const std::size_t length = number_at(input, 0);
  if (length == 0 || length > kMaxPacket) {
    packet.state = Packet::State::kBad;
    return packet;
  }
  if (input.size() - 4 < length) return packet;
  packet.state = Packet::State::kWhole;
  packet.command = input[4];
  packet.payload = input.substr(5, length - 1);
  packet.consumed = 4 + length;
  return packet;
}

Result<Options> parse_options(std::string_view payload) {
  if (payload.size() < 12) return bad("options");
  Options options{number_at(payload, 0), number_at(payload, 4), number_at(payload, 8), {}};
  payload.remove_prefix(12);
  while (payload.size() > 4) {
    const std::uint32_t stage = number_at(payload, 0);
    payload.remove_prefix(4);
    TRY(std::string names, take_string(payload, "list of macros"));
    if (options.macro_lists.size() >= kMaxMacroLists) return bad("options");
    options.macro_lists.emplace_back(stage, std::move(names));
  }
  return options;
}

Result<Reply> parse_reply(char command, std::string_view payload) {
  using Kind = Reply::Kind;
  Reply reply;
  switch (command) {
    case 'c':
      return reply;
    case 'a':
      reply.kind = Kind::kAccept;
      return reply;
    case 'r':
      reply.kind = Kind::kReject;
      return reply;
    case 't':
      reply.kind = Kind::kTempfail;
      return reply;
    case 'd':
      reply.kind = Kind::kDiscard;
      return reply;
    case '4':
      reply.kind = Kind::kShutdown;
      return reply;
    case 'f':
      reply.kind = Kind::kConnFail;
      return reply;
    case 's':
      reply.kind = Kind::kSkip;
      return reply;
    case 'p':
      reply.kind = Kind::kProgress;
      return reply;
    case 'y': {
      reply.kind = Kind::kReplyCode;
      TRY(const std::string text, take_string(payload, "reply"));
      reply.text = replace_all(text, "%%", "%");
      if (!is_reply_text(reply.text)) return bad("reply");
      return reply;
    }
    case 'i':
    case 'm':
      if (payload.size() < 4) return bad("change of a header");
      reply.index = number_at(payload, 0);
      payload.remove_prefix(4);
      [[fallthrough]];
    case 'h': {
      reply.kind = command == 'h'   ? Kind::kAddHeader
                   : command == 'i' ? Kind::kInsertHeader
                                    : Kind::kChangeHeader;
      TRY(reply.name, take_string(payload, "header name"));
      TRY(reply.text, take_string(payload, "header value"));
      const bool is_name =
          !reply.name.empty() && std::all_of(reply.name.begin(), reply.name.end(), [](char c) {
            return is_printable(c) && c != ':' && c != ' ';
          });
      if (!is_name) return bad("header name");
      return reply;
    }
    case '+':
    case '-':
    case '2':
    case 'e': {
      reply.kind = command == '-'   ? Kind::kDeleteRecipient
                   : command == 'e' ? Kind::kChangeSender
                                    : Kind::kAddRecipient;
      TRY(reply.text, take_string(payload, "address"));
      if (!payload.empty()) {
        TRY(reply.name, take_string(payload, "address"));
      }
      return reply;
    }
    case 'b':
      reply.kind = Kind::kReplaceBody;
      reply.text = payload;
      return reply;
    case 'q': {
      reply.kind = Kind::kQuarantine;
      TRY(reply.text, take_string(payload, "reason"));
      return reply;
    }
    default:
      return fail(Error::Kind::kPermanent,
                  fmt::format("unknown reply {:#x}", static_cast<unsigned char>(command)));
  }
}

}  // namespace postern::milter
