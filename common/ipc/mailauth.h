// mailauth.h - what mailauth answers (private/mailauth): may this client send for this domain, and
// what are the signatures and policies of this message worth.

#pragma once

#include <string>
#include <vector>

#include "common/ipc/message.h"

namespace postern::ipc::mailauth {

// What is to be done with a message, as bits. smtpd decides it by the client, and cleanup reads it
// from the envelope (kAttribute).
enum Wanted : std::uint8_t {
  kSpf = 1,
  kDkim = 2,
  kDmarc = 4,
  kArc = 8,
  kForged = 16,  // Authentication-Results in our name are removed
  kSign = 32,
  kSeal = 64,
};
inline constexpr const char* kAttribute = "mail_authentication";

enum class Identity : std::uint8_t { kMailFrom = 0, kHelo = 1 };

struct SpfAnswer {
  std::string result;  // "pass", ...
  std::string domain;
  std::string problem;
  std::string explanation;  // of the domain's, for a fail
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("result", self.result);
    field("domain", self.domain);
    field("problem", self.problem);
    field("explanation", self.explanation);
  }
};

struct CheckSpf {
  static constexpr std::uint16_t kType = 0x1201;
  static constexpr bool kRepeatable = true;
  using Reply = SpfAnswer;
  std::string client_address;
  std::string helo;
  std::string sender;
  Identity identity = Identity::kMailFrom;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("client_address", self.client_address);
    field("helo", self.helo);
    field("sender", self.sender);
    field("identity", self.identity);
  }
};

// The ARC chain of a message as it came in, for the seal that it gets when it is finished.
struct Chain {
  std::string verdict;
  std::int64_t instance = 0;
  bool can_be_sealed = false;
  std::string results;  // the value of our Authentication-Results
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("verdict", self.verdict);
    field("instance", self.instance);
    field("can_be_sealed", self.can_be_sealed);
    field("results", self.results);
  }
};

// A small body comes along, of a larger one the read-only descriptor of the file it is in.
struct Content {
  std::string header;
  std::string body;
  bool is_body_in_file = false;
  std::int64_t body_offset = 0;
  std::int64_t body_length = 0;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("header", self.header);
    field("body", self.body);
    field("is_body_in_file", self.is_body_in_file);
    field("body_offset", self.body_offset);
    field("body_length", self.body_length);
  }
};

struct Examined {
  std::string fields_on_top;  // header fields to stand above all others, each with its line end
  bool is_refused = false;
  bool is_held = false;
  std::string text;  // of the refusal, 550 5.7.1
  Chain chain;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("fields_on_top", self.fields_on_top);
    field("is_refused", self.is_refused);
    field("is_held", self.is_held);
    field("text", self.text);
    field("chain", self.chain);
  }
};

// The verdicts on one message as it was received.
struct Examine {
  static constexpr std::uint16_t kType = 0x1202;
  using Reply = Examined;
  std::string queue_id;
  std::int64_t wanted = 0;  // Wanted
  std::string client_address;
  std::string helo;
  std::string sender;  // as it was received
  Content content;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("queue_id", self.queue_id);
    field("wanted", self.wanted);
    field("client_address", self.client_address);
    field("helo", self.helo);
    field("sender", self.sender);
    field("content", self.content);
  }
};

struct Signed {
  std::string fields_on_top;  // empty: nobody has a key for it
  // In their place for a peer who gets the message converted; empty where these do.
  std::string converted_fields;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("fields_on_top", self.fields_on_top);
    field("converted_fields", self.converted_fields);
  }
};

// DKIM signatures and the ARC seal of a message that is finished but for them.
struct Sign {
  static constexpr std::uint16_t kType = 0x1203;
  using Reply = Signed;
  std::string queue_id;
  std::int64_t wanted = 0;  // kSign, kSeal
  bool is_8bit = false;     // a server without 8BITMIME gets it converted
  Content content;
  Chain chain;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("queue_id", self.queue_id);
    field("wanted", self.wanted);
    field("is_8bit", self.is_8bit);
    field("content", self.content);
    field("chain", self.chain);
  }
};

}  // namespace postern::ipc::mailauth
