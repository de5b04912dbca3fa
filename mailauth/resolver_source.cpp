#include "mailauth/resolver_source.h"

#include "common/ipc/resolver.h"

namespace postern::mailauthd {

using ipc::resolver::Status;
using mailauth::DnsAnswer;
using mailauth::DnsStatus;

loop::Task<DnsAnswer> ResolverSource::look_up(std::string name, dns::RecordType type) {
  DnsAnswer found;
  // What cannot be in DNS is not: asking for it would look like trouble.
  if (!mailauth::is_query_name(name)) {
    found.status = DnsStatus::kNoSuchName;
    co_return found;
  }
  ipc::resolver::Query question;
  question.name = std::move(name);
  question.type = dns::type_name(type);
  auto answer = co_await resolver_.call(std::move(question), deadline_);
  if (!answer) co_return found;
  switch (answer->status) {
    case Status::kFound:
      found.status = DnsStatus::kFound;
      break;
    case Status::kNoSuchName:
      found.status = DnsStatus::kNoSuchName;
      break;
    case Status::kNoData:
      found.status = DnsStatus::kNoData;
      break;
    case Status::kTemporary:
      break;
  }
  if (found.status != DnsStatus::kFound) co_return found;
  for (auto& record : answer->records) found.records.push_back(std::move(record.data));
  co_return found;
}

}  // namespace postern::mailauthd
