// verdict.h - the results that DKIM, DMARC and ARC have in common (RFC 8601 2.7).

#pragma once

#include <string_view>

namespace postern::mailauth {

enum class Verdict : unsigned char {
  kNone,
  kPass,
  kFail,
  kPolicy,   // signed, but in a way that is not accepted here
  kNeutral,  // signed, but not evaluated
  kTemperror,
  kPermerror,
};

[[nodiscard]] constexpr std::string_view verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kNone:
      return "none";
    case Verdict::kPass:
      return "pass";
    case Verdict::kFail:
      return "fail";
    case Verdict::kPolicy:
      return "policy";
    case Verdict::kNeutral:
      return "neutral";
    case Verdict::kTemperror:
      return "temperror";
    case Verdict::kPermerror:
      return "permerror";
  }
  return "";
}

}  // namespace postern::mailauth
