#include "common/tls/tls_report.h"

#include <nlohmann/json.hpp>

#include "common/base/text.h"

namespace postern::tls {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxPolicies = 10'000;
constexpr std::size_t kMaxDetails = 10'000;
constexpr std::size_t kMaxStrings = 1'000;

void put(Json& object, const char* name, const std::string& text) {
  if (!text.empty()) object[name] = text;
}

Json printed(const TlsReportFailure& failure) {
  Json out = Json::object();
  put(out, "result-type", failure.type);
  put(out, "sending-mta-ip", failure.sending_address);
  put(out, "receiving-mx-hostname", failure.mx_host);
  put(out, "receiving-mx-helo", failure.mx_helo);
  put(out, "receiving-ip", failure.mx_address);
  out["failed-session-count"] = failure.count;
  put(out, "additional-information", failure.detail);
  put(out, "failure-reason-code", failure.reason);
  return out;
}

Json printed(const TlsReportPolicy& policy) {
  Json what = Json::object();
  what["policy-type"] = policy.type;
  for (const auto& line : policy.strings) what["policy-string"].push_back(line);
  what["policy-domain"] = policy.domain;
  for (const auto& pattern : policy.mx_patterns) what["mx-host"].push_back(pattern);
  Json out = Json::object();
  out["policy"] = std::move(what);
  out["summary"] = {{"total-successful-session-count", policy.successes},
                    {"total-failure-session-count", policy.failures}};
  for (const auto& failure : policy.details) out["failure-details"].push_back(printed(failure));
  return out;
}

// The member, or null where there is none.
const Json& member(const Json& object, const char* name) {
  static const Json none;
  if (!object.is_object()) return none;
  const auto found = object.find(name);
  return found == object.end() ? none : *found;
}

std::string text_of(const Json& object, const char* name) {
  const Json& value = member(object, name);
  return value.is_string() ? value.get<std::string>() : std::string();
}

std::uint64_t count_of(const Json& object, const char* name) {
  const Json& value = member(object, name);
  if (value.is_number_unsigned()) return value.get<std::uint64_t>();
  return 0;
}

// One text, or a list of them: mx-host is written in both ways.
std::vector<std::string> texts_of(const Json& object, const char* name) {
  const Json& value = member(object, name);
  std::vector<std::string> found;
  if (value.is_string()) found.push_back(value.get<std::string>());
  if (!value.is_array()) return found;
  for (const auto& each : value) {
    if (each.is_string() && found.size() < kMaxStrings) found.push_back(each.get<std::string>());
  }
  return found;
}

TlsReportFailure read_failure(const Json& object) {
  return {.type = text_of(object, "result-type"),
          .sending_address = text_of(object, "sending-mta-ip"),
          .mx_host = text_of(object, "receiving-mx-hostname"),
          .mx_helo = text_of(object, "receiving-mx-helo"),
          .mx_address = text_of(object, "receiving-ip"),
          .count = count_of(object, "failed-session-count"),
          .detail = text_of(object, "additional-information"),
          .reason = text_of(object, "failure-reason-code")};
}

TlsReportPolicy read_policy(const Json& object) {
  const Json& what = member(object, "policy");
  const Json& summary = member(object, "summary");
  TlsReportPolicy policy{.type = text_of(what, "policy-type"),
                         .strings = texts_of(what, "policy-string"),
                         .domain = to_lower(text_of(what, "policy-domain")),
                         .mx_patterns = texts_of(what, "mx-host"),
                         .successes = count_of(summary, "total-successful-session-count"),
                         .failures = count_of(summary, "total-failure-session-count")};
  const Json& details = member(object, "failure-details");
  if (!details.is_array()) return policy;
  for (const auto& each : details) {
    if (each.is_object() && policy.details.size() < kMaxDetails) {
      policy.details.push_back(read_failure(each));
    }
  }
  return policy;
}

}  // namespace

std::string print_tls_report(const TlsReport& report) {
  Json out = Json::object();
  out["organization-name"] = report.organization;
  out["date-range"] = {{"start-datetime", report.begin}, {"end-datetime", report.end}};
  out["contact-info"] = report.contact;
  out["report-id"] = report.id;
  out["policies"] = Json::array();
  for (const auto& policy : report.policies) out["policies"].push_back(printed(policy));
  // What strangers said in a dialogue need not be UTF-8.
  return out.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<TlsReport> parse_tls_report(std::string_view json) {
  const Json read = Json::parse(json, nullptr, false);
  const Json& policies = member(read, "policies");
  if (read.is_discarded() || !policies.is_array()) {
    return fail(Error::Kind::kPermanent, "no TLS report");
  }
  const Json& range = member(read, "date-range");
  TlsReport report{.organization = text_of(read, "organization-name"),
                   .contact = text_of(read, "contact-info"),
                   .id = text_of(read, "report-id"),
                   .begin = text_of(range, "start-datetime"),
                   .end = text_of(range, "end-datetime")};
  for (const auto& each : policies) {
    if (each.is_object() && report.policies.size() < kMaxPolicies) {
      report.policies.push_back(read_policy(each));
    }
  }
  return report;
}

}  // namespace postern::tls
