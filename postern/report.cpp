#include "postern/report.h"

#include <fmt/format.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <fstream>
#include <map>

#include "common/base/encode.h"
#include "common/base/text.h"
#include "common/config/load.h"
#include "common/ipc/reports.h"
#include "common/log/clean.h"
#include "common/mail/header.h"
#include "common/mail/mime.h"
#include "common/mailauth/dmarc_report.h"
#include "common/tls/tls_report.h"
#include "postern/ask_service.h"
#include "postern/mail_system.h"

namespace postern::control {

namespace {

constexpr std::size_t kMaxFile = std::size_t{64} << 20;
constexpr std::size_t kMaxUnpacked = std::size_t{256} << 20;
constexpr std::size_t kMaxParts = 100;
constexpr std::size_t kMaxSources = 20;
constexpr std::size_t kBarWidth = 40;
constexpr std::size_t kZipHeader = 30;
// All receivers one after the other.
constexpr std::chrono::seconds kSendTime{600};

// `window`: 15 + 32 for gzip and zlib, -15 for the raw form within zip.
Result<std::string> inflate_bytes(std::string_view bytes, int window) {
  z_stream stream{};
  if (inflateInit2(&stream, window) != Z_OK) return fail_temporary("cannot unpack");
  std::string in(bytes);
  stream.next_in = static_cast<Bytef*>(static_cast<void*>(in.data()));
  stream.avail_in = static_cast<uInt>(in.size());
  std::string out;
  std::array<Bytef, 65536> buffer{};
  int state = Z_OK;
  while (state == Z_OK && out.size() < kMaxUnpacked) {
    stream.next_out = buffer.data();
    stream.avail_out = static_cast<uInt>(buffer.size());
    state = inflate(&stream, Z_NO_FLUSH);
    out.append(static_cast<const char*>(static_cast<const void*>(buffer.data())),
               buffer.size() - stream.avail_out);
    if (state == Z_OK && stream.avail_in == 0 && stream.avail_out != 0) break;
  }
  inflateEnd(&stream);
  if (state != Z_STREAM_END) return fail(Error::Kind::kPermanent, "damaged or too large archive");
  return out;
}

std::size_t little_end(std::string_view bytes, std::size_t at, std::size_t size) {
  std::size_t value = 0;
  for (std::size_t i = size; i-- > 0;) {
    value = value << 8U | static_cast<unsigned char>(bytes[at + i]);
  }
  return value;
}

// The first file of a zip archive: reports have one.
Result<std::string> unzip(std::string_view bytes) {
  const auto refuse = [] { return fail(Error::Kind::kPermanent, "damaged zip archive"); };
  if (bytes.size() < kZipHeader) return refuse();
  const std::size_t method = little_end(bytes, 8, 2);
  std::size_t packed = little_end(bytes, 18, 4);
  const std::size_t start = kZipHeader + little_end(bytes, 26, 2) + little_end(bytes, 28, 2);
  if (start > bytes.size()) return refuse();
  // The size may come behind the data.
  if (packed == 0 || packed > bytes.size() - start) packed = bytes.size() - start;
  const std::string_view data = bytes.substr(start, packed);
  if (method == 0) return std::string(data);
  if (method != 8) return refuse();
  return inflate_bytes(data, -MAX_WBITS);
}

// Collects the parts of a mail that are not text for people.
class Attachments final : public mail::MimeSink {
 public:
  void header(mail::HeaderClass /*header_class*/, std::string_view field) override {
    const auto parsed = mail::parse_field(field);
    if (parsed && equal_nocase(parsed->name, "Content-Transfer-Encoding")) {
      next_is_base64_ = equal_nocase(trim(parsed->body), "base64");
    }
  }
  void header_end() override {
    finish();
    is_base64_ = std::exchange(next_is_base64_, false);
  }
  void body(std::string_view text, bool ends_line, std::uint64_t /*offset*/) override {
    if (is_base64_ && text.starts_with("--")) return;  // a boundary
    if (text_.size() < kMaxFile) text_ += text;
    if (ends_line) text_ += '\n';
  }
  void begin(bool is_base64) { is_base64_ = is_base64; }
  void finish() {
    std::string text = std::exchange(text_, {});
    if (is_base64_) text = base64_decode_folded(text).value_or("");
    if (!trim(text).empty() && parts.size() < kMaxParts) parts.push_back(std::move(text));
  }

  std::vector<std::string> parts;

 private:
  std::string text_;
  bool is_base64_ = false;
  bool next_is_base64_ = false;
};

std::vector<std::string> attachments_of(std::string_view bytes) {
  const std::string text = replace_all(bytes, "\r\n", "\n");
  mail::HeaderScanner scanner(text.size() + 1);
  scanner.scan(text, true);
  const std::string header = text.substr(0, scanner.header_size());
  Attachments sink;
  mail::MimeParser parser({}, sink);
  parser.start(header);
  for (const auto& field : mail::split_header(header)) {
    if (equal_nocase(field.name, "Content-Transfer-Encoding")) {
      sink.begin(equal_nocase(trim(field.body), "base64"));
    }
  }
  parser.add(std::string_view(text).substr(scanner.body_start()));
  parser.finish();
  sink.finish();
  return std::move(sink.parts);
}

bool is_packed(std::string_view bytes) {
  return bytes.starts_with("\x1f\x8b") || bytes.starts_with("PK\x03\x04");
}

bool is_json(std::string_view bytes) {
  return trim_left(bytes, "\xef\xbb\xbf \t\r\n").starts_with('{');
}

bool is_xml(std::string_view bytes) {
  bytes = trim_left(bytes, "\xef\xbb\xbf \t\r\n");
  return bytes.starts_with("<?xml") || bytes.starts_with("<feedback") || bytes.starts_with("<!--");
}

Result<std::string> unpack(std::string_view bytes) {
  if (bytes.starts_with("PK")) return unzip(bytes);
  return inflate_bytes(bytes, MAX_WBITS + 32);
}

struct Sum {
  std::uint64_t passed = 0, failed = 0;
  void add(const mailauth::DmarcReportRow& row) { (row.passes() ? passed : failed) += row.count; }
  [[nodiscard]] std::uint64_t all() const { return passed + failed; }
};
using Sums = std::map<std::string, Sum>;
using Ranked = std::vector<std::pair<std::string, Sum>>;

Ranked ranked(const Sums& sums) {
  Ranked list(sums.begin(), sums.end());
  std::ranges::sort(list, [](const auto& a, const auto& b) {
    return a.second.all() != b.second.all() ? a.second.all() > b.second.all() : a.first < b.first;
  });
  if (list.size() > kMaxSources) list.resize(kMaxSources);
  return list;
}

// Passed as full blocks, failed as light ones.
std::string bar(const Sum& sum, std::uint64_t most) {
  const auto length = [most](std::uint64_t part) {
    return most == 0 ? std::size_t{0}
                     : static_cast<std::size_t>(
                           static_cast<double>(part) / static_cast<double>(most) * kBarWidth + 0.5);
  };
  std::string out;
  for (std::size_t i = 0; i < length(sum.passed); ++i) out += "█";
  for (std::size_t i = 0; i < length(sum.failed); ++i) out += "░";
  return out;
}

void print_table(std::string_view title, const Sums& sums) {
  const Ranked list = ranked(sums);
  if (list.empty()) return;
  std::size_t width = 0;
  for (const auto& [name, sum] : list) width = std::max(width, name.size());
  fmt::print("\n{}\n", title);
  for (const auto& [name, sum] : list) {
    fmt::print("  {:<{}} {:>8} passed {:>8} failed  {}\n", name, width, sum.passed, sum.failed,
               bar(sum, list.front().second.all()));
  }
}

std::string xml_escape(std::string_view text) {
  std::string out = replace_all(text, "&", "&amp;");
  out = replace_all(out, "<", "&lt;");
  return replace_all(out, ">", "&gt;");
}

std::string svg_of(const Sums& sums) {
  constexpr int kRow = 22;
  constexpr int kLeft = 220;
  constexpr int kBar = 500;
  const Ranked list = ranked(sums);
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" "
      "font-family=\"sans-serif\" font-size=\"13\">\n",
      kLeft + kBar + 100, kRow * (static_cast<int>(list.size()) + 1));
  int y = 4;
  for (const auto& [name, sum] : list) {
    const double scale =
        kBar / static_cast<double>(std::max<std::uint64_t>(list.front().second.all(), 1));
    const double passed = static_cast<double>(sum.passed) * scale;
    const double failed = static_cast<double>(sum.failed) * scale;
    out += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n", kLeft - 8, y + 13,
                       xml_escape(name));
    out +=
        fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{:.1f}\" height=\"16\" fill=\"#2e7d32\"/>\n",
                    kLeft, y, passed);
    out += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"16\" fill=\"#c62828\"/>\n",
        kLeft + passed, y, failed);
    out += fmt::format("<text x=\"{:.1f}\" y=\"{}\">{} / {}</text>\n", kLeft + passed + failed + 6,
                       y + 13, sum.passed, sum.failed);
    y += kRow;
  }
  return out + "</svg>\n";
}

std::string day(std::int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  gmtime_r(&time, &parts);
  std::array<char, 16> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d", &parts);
  return text.data();
}

class Summary {
 public:
  void add(const mailauth::DmarcReport& report) {
    ++reports_;
    begin_ = reports_ == 1 ? report.begin : std::min(begin_, report.begin);
    end_ = std::max(end_, report.end);
    for (const auto& row : report.rows) {
      domains_[log::clean(report.domain)].add(row);
      senders_[log::clean(report.organization)].add(row);
      sources_[log::clean(row.source)].add(row);
      if (!row.passes()) failing_[log::clean(row.source)].add(row);
      dispositions_[log::clean(row.disposition)] += row.count;
    }
  }
  void print() const {
    fmt::print("{} reports, {} to {}\n", reports_, day(begin_), day(end_));
    for (const auto& [name, count] : dispositions_) {
      fmt::print("  {:<10} {:>8}\n", name.empty() ? "unknown" : name, count);
    }
    print_table("Domains", domains_);
    print_table("Reported by", senders_);
    print_table("Sent by", sources_);
    print_table("Sent by, failing", failing_);
  }
  [[nodiscard]] std::string svg() const { return svg_of(sources_); }

 private:
  std::size_t reports_ = 0;
  std::int64_t begin_ = 0, end_ = 0;
  Sums domains_, senders_, sources_, failing_;
  std::map<std::string, std::uint64_t> dispositions_;
};

Result<std::string> read_input(const std::string& path) {
  if (path != "-") return config::read_file(path, kMaxFile);
  std::string text;
  std::array<char, 65536> buffer{};
  for (;;) {
    const ssize_t size = ::read(0, buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0 || text.size() > kMaxFile) break;
    text.append(buffer.data(), static_cast<std::size_t>(size));
  }
  return text;
}

void complain(const std::string& file, std::string_view what) {
  fmt::print(stderr, "postern report: {}: {}\n", file, what);
}

// What can be read of the files goes to the summary; false where some could not.
template <typename Sum, typename Parse>
bool read_reports(const std::vector<std::string>& files, Sum& summary, Parse parse) {
  bool is_good = true;
  for (const auto& file : files) {
    const auto bytes = read_input(file);
    const auto texts = bytes ? unpack_reports(*bytes)
                             : Result<std::vector<std::string>>(std::unexpected(bytes.error()));
    if (!texts) {
      complain(file, texts.error().text);
      is_good = false;
      continue;
    }
    for (const auto& text : *texts) {
      const auto report = parse(text);
      if (report) {
        summary.add(*report);
      } else {
        complain(file, report.error().text);
        is_good = false;
      }
    }
  }
  return is_good;
}

int dmarc(const std::vector<std::string>& files, const std::string& svg) {
  Summary summary;
  bool is_good = read_reports(files, summary, mailauth::parse_dmarc_report);
  summary.print();
  if (!svg.empty()) {
    std::ofstream out(svg, std::ios::binary | std::ios::trunc);
    out << summary.svg();
    if (!out.flush()) {
      complain(svg, "cannot be written");
      is_good = false;
    }
  }
  return is_good ? 0 : 1;
}

// Reports of TLS (RFC 8460), as others send them.
class TlsSummary {
 public:
  void add(const tls::TlsReport& report) {
    ++reports_;
    const std::string first = log::clean(report.begin).substr(0, 10);
    begin_ = begin_.empty() ? first : std::min(begin_, first);
    end_ = std::max(end_, log::clean(report.end).substr(0, 10));
    for (const auto& policy : report.policies) {
      add(domains_[log::clean(policy.domain)], policy);
      add(senders_[log::clean(report.organization)], policy);
      add(policies_[log::clean(policy.type)], policy);
      for (const auto& failure : policy.details) {
        failures_[log::clean(failure.type)].failed += failure.count;
        servers_[log::clean(failure.mx_host.empty() ? failure.mx_address : failure.mx_host)]
            .failed += failure.count;
      }
    }
  }
  void print() const {
    fmt::print("{} reports, {} to {}\n", reports_, begin_, end_);
    print_table("Domains", domains_);
    print_table("Policies", policies_);
    print_table("Reported by", senders_);
    print_table("Failures", failures_);
    print_table("Servers that failed", servers_);
  }

 private:
  static void add(Sum& sum, const tls::TlsReportPolicy& policy) {
    sum.passed += policy.successes;
    sum.failed += policy.failures;
  }
  std::size_t reports_ = 0;
  std::string begin_, end_;
  Sums domains_, policies_, senders_, failures_, servers_;
};

int tls_reports(const std::vector<std::string>& files) {
  TlsSummary summary;
  const bool is_good = read_reports(files, summary, tls::parse_tls_report);
  summary.print();
  return is_good ? 0 : 1;
}

void print_lines(std::string_view title, const std::vector<ipc::reports::Line>& lines) {
  if (lines.empty()) return;
  fmt::print("{}\n", title);
  for (const auto& line : lines) {
    fmt::print("  {} {:<30} {:>8} passed {:>8} failed\n", line.day, log::clean(line.domain),
               line.good, line.bad);
    for (const auto& remark : line.remarks) fmt::print("      {}\n", log::clean(remark));
  }
}

// What this system has found out of others, and what it has told them.
int own_reports(ipc::reports::Kind kind, bool is_sent_now) {
  const auto system = open_mail_system();
  if (!system) return 1;
  const std::string queue = system->values().text("queue_directory");
  if (::chdir(queue.c_str()) < 0) return refuse(sys::fail_errno("chdir " + queue).error().text);
  Result<ipc::reports::Listing> listing = fail_temporary("");
  if (is_sent_now) {
    ipc::reports::Send request;
    request.kind = kind;
    listing = ask_service("reports", std::move(request), kSendTime);
  } else {
    ipc::reports::List request;
    request.kind = kind;
    listing = ask_service("reports", std::move(request));
  }
  if (!listing) return refuse(listing.error().text);
  if (listing->collected.empty() && listing->sent.empty()) {
    fmt::print("Nothing was {}.\n", is_sent_now ? "sent" : "collected");
  }
  print_lines("Collected:", listing->collected);
  print_lines("Sent:", listing->sent);
  return 0;
}

}  // namespace

Result<std::vector<std::string>> unpack_reports(std::string_view bytes) {
  std::vector<std::string> texts;
  if (is_xml(bytes) || is_json(bytes)) {
    texts.emplace_back(bytes);
    return texts;
  }
  if (is_packed(bytes)) {
    TRY(std::string text, unpack(bytes));
    texts.push_back(std::move(text));
    return texts;
  }
  for (auto& part : attachments_of(bytes)) {
    if (is_packed(part)) {
      TRY(std::string text, unpack(part));
      texts.push_back(std::move(text));
    } else if (is_xml(part) || is_json(part)) {
      texts.push_back(std::move(part));
    }
  }
  if (texts.empty()) return fail(Error::Kind::kPermanent, "no report in it");
  return texts;
}

int report_main(int argc, char** argv) {
  std::vector<std::string> files;
  std::string svg;
  bool is_collected = false;
  bool is_sent_now = false;
  const auto usage = [] {
    fmt::print(stderr,
               "usage: postern report dmarc [--svg FILE] [FILE...] | --collected | --send\n"
               "       postern report tls [FILE...] | --send\n");
    return 1;
  };
  const std::string_view kind = argc < 2 ? "" : argv[1];
  if (kind != "dmarc" && kind != "tls") return usage();
  const bool is_tls = kind == "tls";
  for (int i = 2; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--svg" && !is_tls) {
      if (i + 1 == argc) return usage();
      svg = argv[++i];
    } else if (word == "--send") {
      is_sent_now = true;
    } else if (word == "--collected") {
      is_collected = true;
    } else if (word.starts_with("--")) {
      return usage();
    } else {
      files.emplace_back(word);
    }
  }
  const bool is_own = is_sent_now || is_collected || (is_tls && files.empty());
  if (is_own && (!files.empty() || !svg.empty())) return usage();
  if (is_own) {
    return own_reports(is_tls ? ipc::reports::Kind::kTls : ipc::reports::Kind::kDmarc, is_sent_now);
  }
  if (files.empty()) files.emplace_back("-");
  return is_tls ? tls_reports(files) : dmarc(files, svg);
}

}  // namespace postern::control
