#include "reports/report_mail.h"

#include <fmt/format.h>
#include <zlib.h>

#include <ctime>

#include "common/base/encode.h"
#include "common/base/text.h"

namespace postern::reports {

namespace {

constexpr int kGzipWindow = 15 + 16;
constexpr int kMemoryLevel = 8;

std::string rfc5322_date(std::int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  std::array<char, 64> text{};
  return {text.data(),
          std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S +0000", &parts)};
}

// report_organization need not be ASCII.
std::string text_entity(const std::string& text) {
  if (is_all_ascii(text)) return "Content-Type: text/plain; charset=us-ascii\n\n" + text;
  return "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: "
         "quoted-printable\n\n" +
         quoted_printable_encode(text);
}

std::string file_entity(const Report& report) {
  return fmt::format(
      "Content-Type: {}\nContent-Transfer-Encoding: base64\n"
      "Content-Disposition: attachment;\n filename=\"{}\"\n\n{}",
      report.media_type, report.file_name, base64_encode_lines(report.bytes));
}

}  // namespace

Result<std::string> gzip(std::string_view bytes) {
  z_stream stream{};
  if (deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, kGzipWindow, kMemoryLevel,
                   Z_DEFAULT_STRATEGY) != Z_OK) {
    return fail_temporary("cannot pack a report");
  }
  std::string in(bytes);
  std::string out(deflateBound(&stream, in.size()), '\0');
  stream.next_in = static_cast<Bytef*>(static_cast<void*>(in.data()));
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = static_cast<Bytef*>(static_cast<void*>(out.data()));
  stream.avail_out = static_cast<uInt>(out.size());
  const int done = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  if (done != Z_STREAM_END) return fail_temporary("cannot pack a report");
  return out;
}

std::string compose_mail(const Report& report, const Submitter& submitter,
                         const std::string& recipient, std::int64_t now) {
  const std::string boundary = "=_" + report.id;
  std::string out = fmt::format(
      "From: <{}>\nTo: <{}>\nSubject: Report Domain: {}\n Submitter: {}\n Report-ID: <{}>\n"
      "Date: {}\nMessage-Id: <{}@{}>\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\n",
      submitter.sender, recipient, report.domain, submitter.domain, report.id, rfc5322_date(now),
      report.id, submitter.host);
  if (report.is_tls) {
    // RFC 8460 3: reports about TLS that fails must get through nevertheless.
    out += fmt::format(
        "TLS-Report-Domain: {}\nTLS-Report-Submitter: {}\nTLS-Required: No\n"
        "Content-Type: multipart/report; report-type=\"tlsrpt\";\n boundary=\"{}\"\n",
        report.domain, submitter.domain, boundary);
  } else {
    out += fmt::format("Content-Type: multipart/mixed;\n boundary=\"{}\"\n", boundary);
  }
  out += fmt::format("\n--{0}\n{1}\n--{0}\n{2}\n--{0}--\n", boundary, text_entity(report.text),
                     file_entity(report));
  return out;
}

}  // namespace postern::reports
