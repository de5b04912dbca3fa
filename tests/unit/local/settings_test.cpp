#include <catch2/catch.hpp>

#include "local/delivery.h"

namespace postern::local {

namespace {

Settings some_settings() {
  Settings settings;
  settings.mail_spool_directory = "/var/mail";
  settings.recipient_delimiter = "+";
  settings.forward_expansion_filter = "abcdefghijklmnopqrstuvwxyz/.";
  return settings;
}

const User kAlice{"alice", 2001, 2001, "/home/alice", "/bin/sh"};

}  // namespace

TEST_CASE("the mailbox is where home_mailbox or mail_spool_directory says") {
  Settings settings = some_settings();
  CHECK(mailbox_place(settings, kAlice).path == "/var/mail/alice");
  CHECK(mailbox_place(settings, kAlice).is_spool);
  settings.mail_spool_directory = "/var/mail/";
  CHECK(mailbox_place(settings, kAlice).path == "/var/mail/alice/");
  CHECK_FALSE(mailbox_place(settings, kAlice).is_spool);
  settings.home_mailbox = "Maildir/";
  CHECK(mailbox_place(settings, kAlice).path == "/home/alice/Maildir/");
}

TEST_CASE("a forward_path with an extension applies only where there is one") {
  const Settings settings = some_settings();
  const auto expand = [&](std::string_view element, std::string_view extension) {
    return expand_forward_path(settings, element, kAlice, "alice", "x.org", extension);
  };
  constexpr std::string_view kWith = "$home/.forward${recipient_delimiter}${extension}";
  CHECK(expand("$home/.forward", "") == "/home/alice/.forward");
  CHECK(expand(kWith, "").empty());
  CHECK(expand(kWith, "lists") == "/home/alice/.forward_lists");
  CHECK(expand(".forward", "").empty());
  CHECK(expand("$home/.forward.${extension}", "a$home!b") == "/home/alice/.forward.a_home_b");
}

}  // namespace postern::local
