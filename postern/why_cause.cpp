#include "postern/why_cause.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "common/base/text.h"

namespace postern::control {

namespace {

// Who says it: a server's text may hold any words, so those of our own client are not sought in it.
enum class Said : unsigned char { kByUs, kByServer, kByAnyone };

struct Rule {
  Cause cause;
  Said said;
  std::vector<std::string_view> codes;  // the status without its class: "2.2" is 4.2.2 and 5.2.2
  std::vector<std::string_view> words;  // one of them, in lower case
};

constexpr std::string_view kHeld = "hold";

// The first that fits decides: what is certain before what is likely.
std::span<const Rule> rules() {
  static const std::vector<Rule> kRules = {
      {{"dns",
        "The name service gave no answer for the domain or its mail server; it may be "
        "the domain's name servers or our own resolver."},
       Said::kByUs,
       {"4.3"},
       {"host not found, try again", "name service:", "servfail"}},
      {{"no-host",
        "The domain or its mail server does not exist in the DNS; the address may be "
        "misspelt."},
       Said::kByUs,
       {},
       {"host not found", "host or domain name not found", "invalid host or domain name",
        "name or service not known"}},
      {{"refused",
        "The host answers, but nothing listens on that port there, or a firewall "
        "turns us away."},
       Said::kByUs,
       {},
       {"connection refused"}},
      {{"unreachable", "There is no way through the network to that host."},
       Said::kByUs,
       {},
       {"no route to host", "network is unreachable", "host is unreachable"}},
      {{"tls",
        "TLS is demanded for this destination, and the server does not offer it or does "
        "not prove who it is."},
       Said::kByUs,
       {"7.5"},
       {"tls is required", "cannot start tls", "certificate", "tls handshake"}},
      {{"timeout",
        "The server did not answer in time: it is down, overloaded, or a firewall "
        "drops our packets."},
       Said::kByUs,
       {},
       {"timed out", "timeout"}},
      {{"lost", "The server ended the connection in the middle of the conversation."},
       Said::kByUs,
       {},
       {"lost connection", "connection reset", "broken pipe"}},
      {{"loop",
        "The mail comes back to this host: the DNS or the transport table points to "
        "ourselves, for a domain that we do not take."},
       Said::kByAnyone,
       {"4.6"},
       {"loops back to myself", "too many hops"}},
      {{"login", "The server wants a login, or refused ours."},
       Said::kByAnyone,
       {"7.8"},
       {"sasl", "authentication required", "authentication failed", "relay access denied"}},
      {{"greylisted",
        "The server turns away senders that it does not know for some minutes "
        "(greylisting); the next attempts get through by themselves."},
       Said::kByServer,
       {},
       {"greylist", "graylist", "grey-list", "postgrey", "greylisted"}},
      {{"tls", "TLS is demanded by the server, and we did not use it."},
       Said::kByServer,
       {},
       {"must issue a starttls", "tls required", "starttls"}},
      {{"mailbox-full", "The recipient's mailbox is full."},
       Said::kByAnyone,
       {"2.2"},
       {"over quota", "quota exceeded", "mailbox full", "mailbox is full", "quota"}},
      {{"too-large", "The message is larger than the other side takes."},
       Said::kByAnyone,
       {"3.4", "2.3"},
       {"exceeds size limit", "message too large", "exceeds the maximum"}},
      {{"storage", "The other side has no room for mail just now."},
       Said::kByAnyone,
       {"3.1"},
       {"insufficient system storage", "no space left", "disk full"}},
      {{"no-user", "The other side does not know the recipient."},
       Said::kByAnyone,
       {"1.1"},
       {"user unknown", "unknown user", "no such user", "mailbox unavailable",
        "unknown recipient"}},
      {{"rate", "The server takes only so much mail from us at a time."},
       Said::kByServer,
       {"7.28"},
       {"rate limit", "unusual rate", "too many", "throttl", "too fast"}},
      {{"blocked",
        "The server refuses our address for what is thought of it: a block list or "
        "its own records."},
       Said::kByServer,
       {},
       {"blocked", "block list", "blocklist", "blacklist", "spamhaus", "reputation", "dnsbl"}},
      {{"authentication",
        "The server misses proof that the mail is from its sender: SPF, DKIM, "
        "DMARC, or the name of our address."},
       Said::kByServer,
       {"7.20", "7.23", "7.25", "7.26"},
       {"spf", "dkim", "dmarc", "reverse dns", "ptr record"}},
      {{"content", "The server refuses the content of the message."},
       Said::kByServer,
       {"6.0", "7.7"},
       {"spam", "virus", "content", "malware", "policy"}},
      {{"configuration",
        "Our own configuration or one of its services stands in the way; the "
        "log tells more."},
       Said::kByUs,
       {"3.0", "3.5"},
       {"mail transport", "lookup error", "unknown mail transport", "local data error"}},
      {{"refused-later", "The server asked us to come back later."},
       Said::kByServer,
       {},
       {" said: 4", " refused to talk to me: 4"}},
      {{"refused-for-good", "The server refused the mail."},
       Said::kByServer,
       {},
       {" said: 5", " refused to talk to me: 5"}},
  };
  return kRules;
}

constexpr Cause kOther = {"other", "Nothing more than this text is known."};

Cause untried(std::string_view queue) {
  if (queue == "maildrop") {
    return {"not-picked-up", "It was left by a local program; pickup has not taken it yet."};
  }
  if (queue == "active") return {"under-way", "A delivery is under way."};
  if (queue == "incoming") return {"just-arrived", "It has just arrived and was not tried yet."};
  return {"untried", "No attempt is on record."};
}

bool fits(const Rule& rule, std::string_view code, std::string_view text, bool is_reply) {
  if (rule.said != Said::kByAnyone && (rule.said == Said::kByServer) != is_reply) return false;
  if (std::ranges::find(rule.codes, code) != rule.codes.end()) return true;
  return std::ranges::any_of(
      rule.words, [&](std::string_view word) { return text.find(word) != std::string_view::npos; });
}

bool is_plain_name(std::string_view name) {
  return !name.empty() && name.front() != '-' && std::ranges::all_of(name, [](char c) {
    return is_alnum(c) || c == '.' || c == '-' || c == '_';
  });
}

}  // namespace

Cause find_cause(const Symptom& symptom) {
  if (symptom.queue == "hold") {
    return {kHeld, "An operator or a rule has put it on hold: it stays until it is released."};
  }
  if (symptom.status.empty() && symptom.text.empty()) return untried(symptom.queue);
  const std::string text = to_lower(symptom.text);
  const bool is_reply = text.find(" said: ") != std::string::npos ||
                        text.find(" refused to talk to me: ") != std::string::npos;
  const auto code = split_at_first(symptom.status, '.').second;
  for (const Rule& rule : rules()) {
    if (fits(rule, code, text, is_reply)) return rule.cause;
  }
  return kOther;
}

std::string host_in(std::string_view text) {
  const auto is_name = [](char c) { return is_alnum(c) || c == '.' || c == '-' || c == '_'; };
  for (auto open = text.find('['); open != std::string_view::npos;
       open = text.find('[', open + 1)) {
    auto first = open;
    while (first > 0 && is_name(text[first - 1])) --first;
    const std::string_view name = text.substr(first, open - first);
    if (name.find('.') != std::string_view::npos) return to_lower(name);
  }
  return {};
}

std::vector<std::string> advice(const Cause& cause, std::string_view queue_id,
                                std::string_view domain, std::string_view host) {
  const std::string_view key = cause.key;
  const auto is_one_of = [&](std::initializer_list<std::string_view> keys) {
    return std::ranges::find(keys, key) != keys.end();
  };
  if (key == kHeld) return {fmt::format("postern queue release {}", queue_id)};
  if (is_one_of({"under-way", "just-arrived"})) return {"postern status"};
  if (key == "not-picked-up") return {"postern status", "postern check"};
  std::vector<std::string> out;
  if (is_one_of({"refused", "unreachable", "timeout", "lost", "tls"})) {
    if (is_plain_name(host)) {
      out.push_back(fmt::format("postern tls test '[{}]'", host));
    } else if (is_plain_name(domain)) {
      out.push_back(fmt::format("postern tls test {}", domain));
    }
  }
  if (is_one_of({"dns", "no-host", "blocked", "authentication"}))
    out.emplace_back("postern doctor");
  if (is_one_of({"configuration", "loop", "login"})) out.emplace_back("postern check");
  if (is_one_of({"no-host", "no-user", "too-large", "content", "refused-for-good", "loop"})) {
    out.push_back(fmt::format("postern queue show {}", queue_id));
    out.push_back(fmt::format("postern queue expire {}", queue_id));
  } else if (is_plain_name(domain)) {
    out.push_back(fmt::format("postern queue retry --domain {}", domain));
  } else {
    out.push_back(fmt::format("postern queue retry {}", queue_id));
  }
  return out;
}

}  // namespace postern::control
