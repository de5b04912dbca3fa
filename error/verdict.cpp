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
  // A status of another class than the service's is taken off, and does not count.
  if (mail::parse_status(word)) {
    if (word.front() == verdict.status.front()) verdict.status = word;
    nexthop = trim(rest);
  }
  verdict.text = nexthop.empty() ? "mail is not accepted for this address" : nexthop;
  return verdict;
}

}  // namespace postern::error
