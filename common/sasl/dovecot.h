// dovecot.h - the lines of Dovecot's authentication protocol, version 1; pure.
//
//     server: VERSION 1 2, MECH PLAIN plaintext, ..., SPID, CUID, COOKIE, DONE
//     client: VERSION 1 1, CPID pid
//     client: AUTH 1 PLAIN service=smtp nologin lip=... rip=... resp=base64
//     server: OK 1 user=alice, or CONT 1 base64, or FAIL 1 user=alice reason=...
//     client: CONT 1 base64
//
// Fields are parted by tabs. Many requests may be under way on one connection, told apart by their
// number. A tab, a line feed, a carriage return, a NUL and the escape itself inside a value are
// \001 and one of t n r 0 1.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/sasl/mechanism.h"

namespace postern::sasl {

// Longer lines of a server end the connection.
inline constexpr std::size_t kMaxDovecotLine = std::size_t{64} << 10;
// Longer requests would make Dovecot hang up, and others may wait on the same connection.
inline constexpr std::size_t kMaxDovecotRequest = 16000;

struct DovecotLine {
  enum class Kind : unsigned char {
    kBad,  // garbage: nobody knows what comes next
    kOther,
    kVersion,
    kMechanism,
    kDone,
    kOk,
    kContinue,
    kFail,
  };
  Kind kind = Kind::kBad;
  unsigned version_major = 0;  // kVersion
  unsigned version_minor = 0;
  Mechanism mechanism;              // kMechanism
  bool is_private = false;          // kMechanism: not for us to offer
  std::uint32_t id = 0;             // kOk, kContinue, kFail
  std::string challenge;            // kContinue: decoded
  std::optional<std::string> user;  // kOk, kFail
  std::string reason;               // kFail
  bool is_temporary = false;        // kFail: the server could not tell
};

// One line without its end.
[[nodiscard]] DovecotLine parse_dovecot_line(std::string_view line);

struct DovecotRequest {
  std::uint32_t id = 0;
  std::string mechanism;
  std::string service;
  std::string local_address;
  std::string remote_address;
  bool is_secured = false;
  std::optional<std::string> initial_response;  // not encoded
};

// Lines with their ends.
[[nodiscard]] std::string dovecot_hello(std::uint32_t pid);
[[nodiscard]] std::string dovecot_auth(const DovecotRequest& request);
[[nodiscard]] std::string dovecot_continue(std::uint32_t id, std::string_view response);
[[nodiscard]] std::string dovecot_cancel(std::uint32_t id);

}  // namespace postern::sasl
