#include "common/mailauth/dmarc_report.h"

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/mailauth/xml_reader.h"

namespace postern::mailauth {

namespace {

constexpr std::size_t kMaxRows = 1'000'000;

// Where in a report an element is: its parents matter for those names that occur twice.
enum class Part : unsigned char { kNone, kMetadata, kPublished, kRecord, kAuthentication };

Part part_of(const std::string& name, Part now) {
  if (name == "report_metadata") return Part::kMetadata;
  if (name == "policy_published") return Part::kPublished;
  if (name == "record") return Part::kRecord;
  if (name == "auth_results") return Part::kAuthentication;
  return now;
}

void take(DmarcReport& report, DmarcReportRow& row, Part part, const std::string& name,
          std::string text) {
  switch (part) {
    case Part::kMetadata:
      if (name == "org_name") report.organization = std::move(text);
      if (name == "report_id") report.id = std::move(text);
      if (name == "begin") report.begin = parse_integer<std::int64_t>(text, 0).value_or(0);
      if (name == "end") report.end = parse_integer<std::int64_t>(text, 0).value_or(0);
      break;
    case Part::kPublished:
      if (name == "domain") report.domain = to_lower(text);
      if (name == "p") report.policy = to_lower(text);
      break;
    case Part::kRecord:
      if (name == "source_ip") row.source = std::move(text);
      if (name == "count") row.count = parse_integer<std::uint64_t>(text).value_or(0);
      if (name == "disposition") row.disposition = to_lower(text);
      if (name == "dkim") row.is_dkim_aligned = equal_nocase(text, "pass");
      if (name == "spf") row.is_spf_aligned = equal_nocase(text, "pass");
      if (name == "header_from") row.header_from = to_lower(text);
      break;
    case Part::kAuthentication:
    case Part::kNone:
      break;
  }
}

}  // namespace

Result<DmarcReport> parse_dmarc_report(std::string_view xml) {
  const auto refuse = [](std::string_view why) {
    return postern::fail(Error::Kind::kPermanent, std::string(why));
  };
  XmlReader reader(xml);
  DmarcReport report;
  DmarcReportRow row;
  Part part = Part::kNone;
  bool is_feedback = false;
  for (;;) {
    const auto event = reader.next();
    if (event == XmlReader::Event::kError) return refuse("no well-formed XML");
    if (event == XmlReader::Event::kEnd) break;
    const std::string& name = reader.name();
    if (event == XmlReader::Event::kOpen) {
      if (reader.depth() == 1) {
        if (name != "feedback") return refuse("no DMARC report");
        is_feedback = true;
      }
      part = part_of(name, part);
      if (name == "record") row = {};
      continue;
    }
    take(report, row, part, name, reader.text());
    if (name == "record" && report.rows.size() < kMaxRows) report.rows.push_back(row);
    if (name == "auth_results") part = Part::kRecord;
    if (name == "record" || name == "report_metadata" || name == "policy_published") {
      part = Part::kNone;
    }
  }
  if (!is_feedback || report.domain.empty()) return refuse("no DMARC report");
  return report;
}

}  // namespace postern::mailauth
