#include "common/milter/codec.h"

#include <catch2/catch.hpp>

#include "common/milter/spec.h"

namespace postern::milter {

using namespace std::string_view_literals;

TEST_CASE("a packet reads back as it was written, and a part of one is none") {
  std::string wire;
  append_packet(wire, kMail, "<a@b>\0"sv);
  append_packet(wire, kQuit);
  for (std::size_t cut = 0; cut < 11; ++cut) {
    INFO("cut at " << cut);
    CHECK(parse_packet(std::string_view(wire).substr(0, cut)).state ==
          (cut < 11 ? Packet::State::kMore : Packet::State::kWhole));
  }
  const Packet first = parse_packet(wire);
  REQUIRE(first.state == Packet::State::kWhole);
  CHECK(first.command == kMail);
  CHECK(first.payload == "<a@b>\0"sv);
  const Packet second = parse_packet(std::string_view(wire).substr(first.consumed));
  CHECK(second.command == kQuit);
  CHECK(second.payload.empty());
}

TEST_CASE("lengths that nobody means are refused") {
  CHECK(parse_packet("\0\0\0\0c"sv).state == Packet::State::kBad);
  CHECK(parse_packet("\xff\xff\xff\xff"sv).state == Packet::State::kBad);
}

TEST_CASE("replies of filters") {
  struct Case {
    char command;
    std::string_view payload;
    Reply::Kind kind;
    std::uint32_t index;
    std::string_view name, text;
  };
  using Kind = Reply::Kind;
  const auto c = GENERATE(values<Case>({
      {'c', "", Kind::kContinue, 0, "", ""},
      {'y', "550 5.7.9 100%% no\0"sv, Kind::kReplyCode, 0, "", "550 5.7.9 100% no"},
      {'h', "X-A\0one\0"sv, Kind::kAddHeader, 0, "X-A", "one"},
      {'i', "\0\0\0\2X-A\0one\0"sv, Kind::kInsertHeader, 2, "X-A", "one"},
      {'m', "\0\0\0\1Subject\0\0"sv, Kind::kChangeHeader, 1, "Subject", ""},
      {'+', "<a@b>\0"sv, Kind::kAddRecipient, 0, "", "<a@b>"},
      {'2', "<a@b>\0NOTIFY=NEVER\0"sv, Kind::kAddRecipient, 0, "NOTIFY=NEVER", "<a@b>"},
      {'-', "<a@b>\0"sv, Kind::kDeleteRecipient, 0, "", "<a@b>"},
      {'e', "<a@b>\0"sv, Kind::kChangeSender, 0, "", "<a@b>"},
      {'b', "new\r\n", Kind::kReplaceBody, 0, "", "new\r\n"},
      {'q', "why\0"sv, Kind::kQuarantine, 0, "", "why"},
      {'p', "", Kind::kProgress, 0, "", ""},
  }));
  const auto reply = parse_reply(c.command, c.payload);
  REQUIRE(reply.has_value());
  CHECK(reply->kind == c.kind);
  CHECK(reply->index == c.index);
  CHECK(reply->name == c.name);
  CHECK(reply->text == c.text);
}

TEST_CASE("garbage is refused, never misread") {
  struct Case {
    char command;
    std::string_view payload;
  };
  const auto c = GENERATE(values<Case>({
      {'?', ""},
      {'y', "550 no end"},
      {'y', "250 2.0.0 fine\0"sv},
      {'y', "5x0 no\0"sv},
      {'h', "X-A\0no end"sv},
      {'h', "\0value\0"sv},
      {'h', "a b\0value\0"sv},
      {'h', "a:b\0value\0"sv},
      {'i', "\0\0"sv},
      {'+', "<a@b>"},
  }));
  CHECK_FALSE(parse_reply(c.command, c.payload).has_value());
}

TEST_CASE("options with the macros that a filter wants") {
  const auto options = parse_options("\0\0\0\6\0\0\1\xff\0\0\4\0\0\0\0\2i {mail_addr}\0"sv);
  REQUIRE(options.has_value());
  CHECK(options->version == 6);
  CHECK(options->actions == 0x1ff);
  CHECK(options->protocol == 0x400);
  REQUIRE(options->macro_lists.size() == 1);
  CHECK(options->macro_lists.front().first == 2);
  CHECK(options->macro_lists.front().second == "i {mail_addr}");
  CHECK_FALSE(parse_options("\0\0\0\6"sv).has_value());
}

TEST_CASE("a milter with settings of its own") {
  const Spec defaults;
  const auto spec =
      parse_spec("{ inet:127.0.0.1:10099, connect_timeout=3s, default_action = accept }", defaults);
  REQUIRE(spec.has_value());
  CHECK(spec->endpoint == "inet:127.0.0.1:10099");
  CHECK(spec->connect_timeout == std::chrono::seconds(3));
  CHECK(spec->default_action == "accept");
  CHECK(spec->command_timeout == defaults.command_timeout);
  CHECK_FALSE(parse_spec("{ inet:h:1, default_action=perhaps }", defaults).has_value());
  CHECK_FALSE(parse_spec("{ inet:h:1, colour=red }", defaults).has_value());
}

}  // namespace postern::milter
