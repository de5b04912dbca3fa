#include "postlog/record.h"

#include <catch2/catch.hpp>

namespace postern::postlog {

TEST_CASE("records of our processes are read back, all else is foreign") {
  struct Case {
    std::string_view line;
    RecordKind kind;
    log::Level level;
    std::string_view text;
  };
  const auto c = GENERATE(values<Case>({
      {"TiNov 24 13:53:56 host postfix/smtpd[1]: x", RecordKind::kText, log::Level::kInfo,
       "Nov 24 13:53:56 host postfix/smtpd[1]: x"},
      {"TwNov  4 13:53:56 host t[1]: x", RecordKind::kText, log::Level::kWarning,
       "Nov  4 13:53:56 host t[1]: x"},
      {"Je{\"a\":1}", RecordKind::kJson, log::Level::kError, "{\"a\":1}"},
      {"Je{\"a\":1", RecordKind::kForeign, log::Level::kWarning, "Je{\"a\":1"},
      {"Ti", RecordKind::kForeign, log::Level::kWarning, "Ti"},
      {"TxNov 24 13:53:56 host t[1]: x", RecordKind::kForeign, log::Level::kWarning,
       "TxNov 24 13:53:56 host t[1]: x"},
      {"Title: this is no record", RecordKind::kForeign, log::Level::kWarning,
       "Title: this is no record"},
      {"", RecordKind::kForeign, log::Level::kWarning, ""},
  }));
  INFO(c.line);
  const Record record = parse_record(c.line);
  CHECK(record.kind == c.kind);
  CHECK(record.level == c.level);
  CHECK(record.line == c.text);
}

TEST_CASE("a classic line has time, host and the rest") {
  const auto line = parse_classic_line("Nov 24 13:53:56 mx postfix/qmgr[7]: removed");
  REQUIRE(line.has_value());
  CHECK(line->time == "Nov 24 13:53:56");
  CHECK(line->host == "mx");
  CHECK(line->rest == "postfix/qmgr[7]: removed");
  for (const std::string_view bad :
       {"", "Nov 24 13:53:56", "Nov 24 13:53:56 mx", "Nov 24 13.53:56 mx x", "x"}) {
    INFO(bad);
    CHECK_FALSE(parse_classic_line(bad).has_value());
  }
}

TEST_CASE("lines come out whole wherever the stream was cut") {
  const std::string stream = "one\n\nthree three\nfour\n";
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    LineCutter cutter;
    std::vector<std::string> lines;
    for (const std::string_view part :
         {std::string_view(stream).substr(0, cut), std::string_view(stream).substr(cut)}) {
      cutter.add(part);
      while (const auto line = cutter.next()) lines.emplace_back(*line);
    }
    INFO("cut at " << cut);
    CHECK(lines == std::vector<std::string>{"one", "", "three three", "four"});
  }
}

TEST_CASE("a line without end is given out in pieces or at the end, never kept for ever") {
  LineCutter cutter;
  cutter.add(std::string(LineCutter::kMaxLine + 1, 'x'));
  CHECK(cutter.next()->size() == LineCutter::kMaxLine);
  CHECK_FALSE(cutter.next().has_value());
  CHECK(cutter.next(true) == "x");
  CHECK_FALSE(cutter.next(true).has_value());
}

TEST_CASE("control characters are made harmless, line ends and UTF-8 stay") {
  std::string text = "a\x1b[31mb\x01\x7f\tc\n\xc3\xa4";
  make_printable(text);
  CHECK(text == "a?[31mb??\tc\n\xc3\xa4");
}

}  // namespace postern::postlog
