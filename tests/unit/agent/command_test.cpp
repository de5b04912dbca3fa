#include "common/agent/command.h"

#include <catch2/catch.hpp>
#include <csignal>
#include <string>

namespace postern::agent {

namespace {
constexpr int exited(int code) { return code << 8; }
}  // namespace

TEST_CASE("the end of a command decides") {
  CHECK(judge_command(0, false, "x", "talk").outcome == MailboxOutcome::kDelivered);

  const auto no_user = judge_command(exited(67), false, "x", "a problem\n");
  CHECK(no_user.outcome == MailboxOutcome::kBounced);
  CHECK(no_user.status == "5.1.1");
  CHECK(no_user.text == "user unknown. Command output: a problem ");

  CHECK(judge_command(exited(75), false, "x", "").outcome == MailboxOutcome::kDeferred);
  CHECK(judge_command(exited(1), false, "x", "").text == "Command died with status 1: \"x\"");
  CHECK(judge_command(SIGKILL, false, "x", "").outcome == MailboxOutcome::kDeferred);
  CHECK(judge_command(SIGKILL, true, "x", "").text == "Command time limit exceeded: \"x\"");

  const auto own = judge_command(exited(1), false, "x", "4.2.2 mailbox is full");
  CHECK(own.outcome == MailboxOutcome::kDeferred);
  CHECK(own.status == "4.2.2");
  CHECK(own.text == "mailbox is full");
}

TEST_CASE("lines take their form however the message is cut") {
  const std::string message = "From: x\n\nFrom me\n.dot\nFro\nlast";
  for (std::size_t cut = 0; cut <= message.size(); ++cut) {
    CommandFormatter formatter(
        {.eol = "\r\n", .quote_from = true, .stuff_dots = true, .end_blank = true});
    std::string out;
    formatter.add(std::string_view(message).substr(0, cut), out);
    formatter.add(std::string_view(message).substr(cut), out);
    formatter.finish(out);
    INFO("cut at " << cut);
    CHECK(out == "From: x\r\n\r\n>From me\r\n..dot\r\nFro\r\nlast\r\n\r\n");
  }
}

TEST_CASE("only plain words go without a shell") {
  CHECK(plain_words("/bin/x -d a").size() == 3);
  for (const char* line : {"echo $USER", "a; b", "X=1 cmd", "cat > f", "\"quoted\""}) {
    CHECK(plain_words(line).empty());
  }
}

}  // namespace postern::agent
