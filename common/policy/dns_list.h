// dns_list.h - DNS block and allow lists: "zone=127.0.0.[2..5;9]", and what their answers mean.
// Pure; dns_lists.cpp asks.
//
//     filter := octet '.' octet '.' octet '.' octet
//     octet  := number | '[' part (';' part)* ']'
//     part   := number | number '..' number
//
// An answer counts only within 127.0.0.0/8, and never within 127.255.255.0/24: there lists tell
// that they do not serve us. Anything else comes from a name server that rewrites "no such name",
// or from a domain that has been sold.

#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace postern::policy {

// What a list is asked about.
enum class DnsListBy : unsigned char {
  kClientAddress,  // reject_rbl_client, permit_dnswl_client
  kClientName,     // reject_rhsbl_client, permit_rhswl_client
  kReverseName,
  kHelo,
  kSender,
  kRecipient,
};

class DnsListFilter {
 public:
  [[nodiscard]] static Result<DnsListFilter> parse(std::string_view text);
  [[nodiscard]] bool matches(const std::array<std::uint8_t, 4>& address) const;

 private:
  struct Range {
    std::uint8_t from = 0, to = 0;
  };
  std::array<std::vector<Range>, 4> octets_;
};

struct DnsList {
  std::string zone;                   // what is asked
  std::string filter_text;            // behind the '=', or empty
  std::vector<DnsListFilter> filter;  // none, or one
  DnsListBy by = DnsListBy::kClientAddress;
  bool is_allow_list = false;
};

// "zone" or "zone=filter".
[[nodiscard]] Result<DnsList> parse_dns_list(std::string_view text, DnsListBy by,
                                             bool is_allow_list);

enum class DnsListAnswer : unsigned char {
  kListed,
  kOtherCode,   // an address of 127.0.0.0/8 that the filter does not want
  kNotServed,   // 127.255.255.0/24: queries are refused
  kNoListCode,  // outside of 127.0.0.0/8
};
// What one A record of a list says.
[[nodiscard]] DnsListAnswer judge_dns_list_answer(const DnsList& list, std::string_view address);

}  // namespace postern::policy
