// dns_query.h - a DNS question of the restrictions, and what smtpd_dns_reply_filter leaves of its
// answer.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/ipc/resolver.h"
#include "common/loop/task.h"

namespace postern::smtpd {

struct Neighbours;

// Never fails: an answer that cannot be had, or that the filter cannot judge, is kTemporary. One
// that the filter has emptied is kTemporary, too, with kAllFiltered as its error.
// `filter` are the tables of smtpd_dns_reply_filter.
inline constexpr std::string_view kAllFiltered = "DNS reply filter drops all results";
[[nodiscard]] loop::Task<ipc::resolver::Answer> query_dns(Neighbours& neighbours,
                                                          std::vector<std::string> filter,
                                                          std::string name, std::string type);

// A record as the filter's tables are asked for it: "example.org. 3600 IN MX 10 mx.example.org."
[[nodiscard]] std::string dns_filter_key(const ipc::resolver::Record& record,
                                         std::string_view type);

}  // namespace postern::smtpd
