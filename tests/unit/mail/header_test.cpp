#include "common/mail/header.h"

#include <catch2/catch.hpp>

namespace postern::mail {

TEST_CASE("header lines are told from others") {
  CHECK(header_name_length("Subject: x") == 7);
  CHECK(header_name_length("Subject : x") == 7);
  CHECK(header_name_length("Subject\t:") == 7);
  for (const std::string_view bad :
       {"", ":", " Subject: x", "no colon", "two words: x", "J\xc3\xbc: x", "a\x01: x"}) {
    INFO(bad);
    CHECK_FALSE(is_header_line(bad));
  }
  CHECK(is_mailbox_from_line("From alice Thu"));
  CHECK(is_mailbox_from_line(">From x"));
  CHECK_FALSE(is_mailbox_from_line("From: x"));
}

TEST_CASE("a header ends where Postfix lets it end") {
  using State = HeaderScanner::State;
  struct Case {
    std::string_view text;
    State state;
    std::size_t header, body;
  };
  const auto c = GENERATE(values<Case>({
      {"A: b\n\nbody\n", State::kEmptyLine, 5, 6},
      {"A: b\n c\n\nbody\n", State::kEmptyLine, 8, 9},
      {"A: b\nbody\n", State::kNoHeader, 5, 5},
      {"\nbody\n", State::kEmptyLine, 0, 1},
      {"body\n", State::kNoHeader, 0, 0},
      {" indented\n", State::kNoHeader, 0, 0},
      {"From x\nA: b\n\n", State::kEmptyLine, 12, 13},
      {"A: b\nFrom x\n\n", State::kNoHeader, 5, 5},
      {"A: b\n", State::kNoHeader, 5, 5},
      {"A: b", State::kNoHeader, 4, 4},
      {"", State::kNoHeader, 0, 0},
  }));
  INFO(c.text);
  // Whole, and byte by byte: the same.
  HeaderScanner whole(1000);
  CHECK(whole.scan(c.text, true) == c.state);
  HeaderScanner pieces(1000);
  for (std::size_t i = 0; i < c.text.size(); ++i) pieces.scan(c.text.substr(0, i));
  CHECK(pieces.scan(c.text, true) == c.state);
  for (const auto& scanner : {whole, pieces}) {
    CHECK(scanner.header_size() == c.header);
    CHECK(scanner.body_start() == c.body);
  }
}

TEST_CASE("a header without end is given up at the limit") {
  HeaderScanner scanner(20);
  CHECK(scanner.scan("A: 12345678\n") == HeaderScanner::State::kMore);
  CHECK(scanner.scan("A: 12345678\nB: 12345678\n") == HeaderScanner::State::kTooLong);
  HeaderScanner one_line(20);
  CHECK(one_line.scan(std::string(30, 'x')) == HeaderScanner::State::kTooLong);
}

TEST_CASE("a field in pieces is cut at its limit, and nothing else is") {
  constexpr std::size_t kLimit = 10;
  using State = HeaderScanner::State;
  struct Case {
    std::string text, kept;  // with the body
    State state;
  };
  const std::string folded = "\tyyyyyyy\n";
  const std::string many = folded + folded + folded + folded + folded;
  const auto c = GENERATE_COPY(values<Case>({
      {"A: 1\n" + many + "B: 2\n\nbody\n", "A: 1\n\tyyyy\nB: 2\n\nbody\n", State::kEmptyLine},
      // A cut behind the end of a line does not end the header.
      {"A: 12345\n" + many + "B: 2\n\nbody\n", "A: 12345\n\t\nB: 2\n\nbody\n", State::kEmptyLine},
      {"A: " + std::string(50, 'x') + "\nB: 2\n\nbody\n", "A: xxxxxxx\nB: 2\n\nbody\n",
       State::kEmptyLine},
      // A name is not cut: without its colon the body would begin there.
      {"Long-Field-Name: 1\n" + many + "B: 2\n\nbody\n", "Long-Field-Name:\nB: 2\n\nbody\n",
       State::kEmptyLine},
      {"From x\nLong-Field-Name: 1\nB: 2\n\nbody\n", "From x\nLong-Field-Name:\nB: 2\n\nbody\n",
       State::kEmptyLine},
      {"A: " + std::string(50, 'x') + "\n y\n\nbody\n", "A: xxxxxxx\n\nbody\n", State::kEmptyLine},
      {std::string(50, 'x') + "\nbody\n", std::string(50, 'x') + "\nbody\n", State::kNoHeader},
      {"A: 1\n" + std::string(50, 'x') + "\n", "A: 1\n" + std::string(50, 'x') + "\n",
       State::kNoHeader},
  }));
  INFO(c.text);
  HeaderScanner scanner(1000);
  std::string all;
  std::size_t at = 0;
  for (; at < c.text.size(); ++at) {
    all += c.text[at];
    if (scanner.scan(all) != State::kMore) break;
    scanner.cut_field(all, kLimit);
    CHECK(all.size() <= 60);
  }
  CHECK(scanner.scan(all, true) == c.state);
  if (at < c.text.size()) all += c.text.substr(at + 1);
  // The header with each field at its limit, and all of the body.
  std::string header;
  for (const auto& field : split_header(all.substr(0, scanner.header_size()))) {
    header.append(field.raw.substr(0, kept_size(field.raw, kLimit))).append("\n");
  }
  std::string wanted_header;
  const auto wanted_fields = split_header(c.kept);
  for (const auto& field : wanted_fields) {
    wanted_header.append(field.raw.substr(0, kept_size(field.raw, kLimit))).append("\n");
  }
  CHECK(header == wanted_header);
  CHECK(all.substr(scanner.body_start()) == c.kept.substr(c.state == State::kEmptyLine
                                                              ? c.kept.find("\n\n") + 2
                                                              : c.kept.find(std::string(50, 'x'))));
}

TEST_CASE("fields keep their folding and lose what is no field") {
  const auto fields = split_header("From x\nA: b\n\tc\nB :d\nstray line\nEmpty:\n\nC: body\n");
  REQUIRE(fields.size() == 3);
  CHECK(fields[0].name == "A");
  CHECK(fields[0].body == "b\n\tc");
  CHECK(fields[0].raw == "A: b\n\tc");
  CHECK(unfold(fields[0].body) == "b\tc");
  CHECK(fields[1].name == "B");
  CHECK(fields[1].body == "d");
  CHECK(fields[2].body.empty());
}

TEST_CASE("known names are found in any case") {
  REQUIRE(find_header_info("reply-TO") != nullptr);
  CHECK(find_header_info("reply-TO")->has(HeaderInfo::kSender));
  CHECK(find_header_info("Resent-Bcc")->has(HeaderInfo::kResent));
  CHECK(find_header_info("To")->has(HeaderInfo::kExtract));
  CHECK(find_header_info("X-To") == nullptr);
  CHECK(find_header_info("") == nullptr);
}

}  // namespace postern::mail
