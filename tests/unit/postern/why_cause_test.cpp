#include "postern/why_cause.h"

#include <catch2/catch.hpp>

namespace postern::control {

TEST_CASE("the cause is found in status and text") {
  struct Case {
    std::string_view queue, status, text, key;
  };
  const auto [queue, status, text, key] = GENERATE(values<Case>({
      {"deferred", "4.4.1", "connect to mx.a.test[192.0.2.1]:25: Connection refused", "refused"},
      {"deferred", "4.4.1",
       "delivery temporarily suspended: connect to mx.a.test[192.0.2.1]:25: Connection refused",
       "refused"},
      {"deferred", "4.4.1", "connect to mx.a.test[192.0.2.1]:25: Connection timed out", "timeout"},
      {"deferred", "4.4.2",
       "conversation with mx.a.test[192.0.2.1] timed out while receiving the initial greeting",
       "timeout"},
      {"deferred", "4.4.1", "connect to mx.a.test[192.0.2.1]:25: No route to host", "unreachable"},
      {"deferred", "4.4.2", "lost connection with mx.a.test[192.0.2.1] while sending RCPT TO",
       "lost"},
      {"deferred", "4.4.3",
       "Host or domain name not found. Name service error for name=a.test type=MX: Host not found, "
       "try again",
       "dns"},
      {"deferred", "5.4.4",
       "Host or domain name not found. Name service error for name=a.test type=A: Host not found",
       "no-host"},
      {"deferred", "4.7.4", "TLS is required, but was not offered by host mx.a.test[192.0.2.1]",
       "tls"},
      {"deferred", "4.7.5", "Server certificate not trusted", "tls"},
      {"deferred", "4.2.0",
       "host mx.a.test[192.0.2.1] said: 450 4.2.0 <x@a.test>: Recipient address rejected: "
       "Greylisted, see http://a.test (in reply to RCPT TO command)",
       "greylisted"},
      {"deferred", "4.7.0",
       "host mx.a.test[192.0.2.1] said: 530 5.7.0 Must issue a STARTTLS command first", "tls"},
      {"deferred", "4.2.2", "cannot update mailbox /mail/x for user x. error writing message",
       "mailbox-full"},
      {"deferred", "5.2.1", "host mx.a.test[192.0.2.1] said: 452 mailbox is full", "mailbox-full"},
      {"deferred", "4.7.28", "host mx.a.test[192.0.2.1] said: 421-4.7.28 unusual traffic", "rate"},
      {"deferred", "5.7.1", "host mx.a.test[192.0.2.1] said: 554 5.7.1 listed at zen.spamhaus.org",
       "blocked"},
      {"deferred", "5.7.26", "host mx.a.test[192.0.2.1] said: 550 5.7.26 not authenticated",
       "authentication"},
      {"deferred", "5.7.1", "host mx.a.test[192.0.2.1] said: 554 5.7.1 looks like spam", "content"},
      {"deferred", "5.1.1", "host mx.a.test[192.0.2.1] said: 550 5.1.1 no", "no-user"},
      {"deferred", "5.3.4", "message size 9 exceeds size limit 5 of server mx.a.test[192.0.2.1]",
       "too-large"},
      {"deferred", "5.4.6", "mail for a.test loops back to myself", "loop"},
      {"deferred", "4.7.8", "SASL authentication failed; server mx.a.test[192.0.2.1] said: 535 no",
       "login"},
      {"deferred", "4.3.1", "host mx.a.test[192.0.2.1] said: 452 4.3.1 later", "storage"},
      {"deferred", "4.3.0", "mail transport unavailable", "configuration"},
      {"deferred", "4.0.0", "host mx.a.test[192.0.2.1] said: 450 no", "refused-later"},
      // A server's words are not taken for our client's.
      {"deferred", "4.0.0", "host mx.a.test[192.0.2.1] said: 450 connection refused",
       "refused-later"},
      {"deferred", "5.0.0", "host mx.a.test[192.0.2.1] said: 554 no", "refused-for-good"},
      {"deferred", "4.0.0", "something else", "other"},
      {"deferred", "", "", "untried"},
      {"active", "", "", "under-way"},
      {"incoming", "", "", "just-arrived"},
      {"maildrop", "", "", "not-picked-up"},
      {"hold", "4.4.1", "connect to mx.a.test[192.0.2.1]:25: Connection refused", "hold"},
  }));
  INFO(text);
  const Cause cause = find_cause({queue, status, text});
  CHECK(cause.key == key);
  CHECK(cause.sentence.ends_with('.'));
}

TEST_CASE("the server is the name in front of an address") {
  CHECK(host_in("connect to MX.a.test[192.0.2.1]:25: Connection refused") == "mx.a.test");
  CHECK(host_in("[x] host mx.a.test[2001:db8::1] said: 450 [y]") == "mx.a.test");
  CHECK(host_in("connect to [192.0.2.1]:25: refused").empty());
  CHECK(host_in("no host").empty());
}

TEST_CASE("advice names what the cause needs, and nothing that a shell would take apart") {
  using Commands = std::vector<std::string>;
  CHECK(advice({"refused", ""}, "3A1", "a.test", "mx.a.test") ==
        Commands{"postern tls test '[mx.a.test]'", "postern queue retry --domain a.test"});
  CHECK(advice({"hold", ""}, "3A1", "a.test", "") == Commands{"postern queue release 3A1"});
  CHECK(advice({"no-user", ""}, "3A1", "a.test", "") ==
        Commands{"postern queue show 3A1", "postern queue expire 3A1"});
  CHECK(advice({"timeout", ""}, "3A1", "a.test;reboot", "$(x)") ==
        Commands{"postern queue retry 3A1"});
}

}  // namespace postern::control
