#include "reports/dmarc_reports.h"

#include <fmt/format.h>

#include "common/base/text.h"

namespace postern::reports {

namespace {

// XML 1.0 has no way to write control characters.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      default:
        out += static_cast<unsigned char>(c) < ' ' || c == '\x7f' ? '?' : c;
    }
  }
  return is_valid_utf8(out) ? out : "?";
}

class Writer {
 public:
  void open(std::string_view name) {
    indent();
    out_ += fmt::format("<{}>\n", name);
    ++depth_;
  }
  void close(std::string_view name) {
    --depth_;
    indent();
    out_ += fmt::format("</{}>\n", name);
  }
  void put(std::string_view name, std::string_view text) {
    indent();
    out_ += fmt::format("<{0}>{1}</{0}>\n", name, escaped(text));
  }
  void put_if(std::string_view name, std::string_view text) {
    if (!text.empty()) put(name, text);
  }
  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  void indent() { out_.append(2 * depth_, ' '); }
  std::string out_ = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
  std::size_t depth_ = 0;
};

std::string_view strictness(bool is_strict) { return is_strict ? "s" : "r"; }
std::string_view passed(bool is_aligned) { return is_aligned ? "pass" : "fail"; }

void put_published(Writer& xml, const DmarcDay& counted, const std::string& domain) {
  const auto& published = counted.published;
  xml.open("policy_published");
  xml.put("domain", domain);
  xml.put("adkim", strictness(published.is_dkim_strict));
  xml.put("aspf", strictness(published.is_spf_strict));
  xml.put("p", published.policy);
  xml.put("sp", published.subdomain_policy.empty() ? published.policy : published.subdomain_policy);
  xml.put("pct", fmt::format("{}", published.percent));
  xml.close("policy_published");
}

void put_row(Writer& xml, const DmarcRow& row) {
  const auto& result = row.result;
  xml.open("record");
  xml.open("row");
  xml.put("source_ip", result.source);
  xml.put("count", fmt::format("{}", row.count));
  xml.open("policy_evaluated");
  xml.put("disposition", result.disposition);
  xml.put("dkim", passed(result.is_dkim_aligned));
  xml.put("spf", passed(result.is_spf_aligned));
  if (!result.reason.empty()) {
    xml.open("reason");
    xml.put("type", result.reason);
    xml.put_if("comment", result.comment);
    xml.close("reason");
  }
  xml.close("policy_evaluated");
  xml.close("row");
  xml.open("identifiers");
  xml.put_if("envelope_from", result.envelope_from);
  xml.put("header_from", result.header_from);
  xml.close("identifiers");
  xml.open("auth_results");
  for (const auto& signature : result.dkim) {
    xml.open("dkim");
    xml.put("domain", signature.domain);
    xml.put_if("selector", signature.selector);
    xml.put("result", signature.result);
    xml.close("dkim");
  }
  xml.open("spf");
  xml.put("domain", result.spf_domain);
  xml.put_if("scope", result.spf_scope);
  xml.put("result", result.spf_result.empty() ? "none" : result.spf_result);
  xml.close("spf");
  xml.close("auth_results");
  xml.close("record");
}

// The same when it is tried again, another when a part of the day was sent before.
std::string id_of(const DmarcDay& counted, const std::string& day, const std::string& domain) {
  return fmt::format("{}.{}.{}", day, counted.good() + counted.bad(), domain);
}

}  // namespace

std::string print_dmarc_report(const DmarcDay& counted, const std::string& day,
                               const std::string& domain, const Submitter& submitter) {
  const std::int64_t start = start_of(day);
  Writer xml;
  xml.open("feedback");
  xml.put("version", "1.0");
  xml.open("report_metadata");
  xml.put("org_name", submitter.organization);
  xml.put("email", submitter.sender);
  xml.put("extra_contact_info", submitter.contact);
  xml.put("report_id", id_of(counted, day, domain));
  xml.open("date_range");
  xml.put("begin", fmt::format("{}", start));
  xml.put("end", fmt::format("{}", start + kDaySeconds - 1));
  xml.close("date_range");
  xml.close("report_metadata");
  put_published(xml, counted, domain);
  for (const auto& row : counted.rows) put_row(xml, row);
  xml.close("feedback");
  return xml.take();
}

Result<Report> make_dmarc_report(const DmarcDay& counted, const std::string& day,
                                 const std::string& domain, const Submitter& submitter) {
  Report report;
  report.domain = domain;
  report.id = id_of(counted, day, domain);
  report.media_type = "application/gzip";
  const std::int64_t start = start_of(day);
  report.file_name =
      fmt::format("{}!{}!{}!{}.xml.gz", submitter.domain, domain, start, start + kDaySeconds - 1);
  report.good = counted.good();
  report.bad = counted.bad();
  report.text = fmt::format(
      "This is a DMARC aggregate report (RFC 7489) of {} about mail from {}, {} (UTC):\n"
      "{} messages passed, {} failed. The attachment has the details.\n\nContact: {}\n",
      submitter.organization, domain, day, report.good, report.bad, submitter.contact);
  TRY(report.bytes, gzip(print_dmarc_report(counted, day, domain, submitter)));
  return report;
}

bool is_dmarc_version(std::string_view text) {
  const auto [name, value] = split_at_first(split_at_first(text, ';').first, '=');
  return trim(name) == "v" && trim(value) == "DMARC1";
}

}  // namespace postern::reports
