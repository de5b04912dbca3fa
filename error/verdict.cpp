#include "error/verdict.h"

#include "common/base/text.h"
#include "common/mail/status.h"

namespace postern::error {

agent::Verdict verdict_of(std::string_view nexthop, std::string_view service) {
  const bool is_retry = service == "retry";
  agent::Verdict verdict;
  verdict.status = is_retry ? "4.0.0" : "5.0.0";
  std::string_view rest = nexthop;
  const std::string_view word = next_word(rest, kBlanks);
  if (const auto status = mail::parse_status(word); status && !word.starts_with('2')) {
    verdict.status = word;
    nexthop = trim(rest);
  }
  if (is_retry) verdict.status[0] = '4';
  verdict.text = nexthop.empty() ? "mail is not accepted for this address" : nexthop;
  return verdict;
}

}  // namespace postern::error
