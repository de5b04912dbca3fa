#include "common/queuefile/record.h"

#include <catch2/catch.hpp>

#include <limits>

namespace postern::queuefile {

TEST_CASE("records read back as they were written") {
  const auto size = GENERATE(std::size_t{0}, std::size_t{127}, std::size_t{128}, kMaxPayload);
  const std::string payload(size, 'x');
  std::string file;
  append_record(file, {RecordType::kRecipient, payload});
  append_record(file, {RecordType::kEnd, ""});

  RecordReader reader(file);
  CHECK(reader.next().value() == Record{RecordType::kRecipient, payload});
  CHECK(file.substr(reader.payload_offset(), size) == payload);
  CHECK(reader.next().value() == Record{RecordType::kEnd, ""});
  CHECK(reader.next().value() == std::nullopt);
}

TEST_CASE("a file cut short at any byte is refused, never misread") {
  std::string file;
  append_record(file, {RecordType::kSender, "alice@example.org"});
  append_record(file, {RecordType::kEnd, ""});

  for (std::size_t cut = 0; cut < file.size(); ++cut) {
    RecordReader reader(std::string_view(file).substr(0, cut));
    auto record = reader.next();
    while (record && *record) record = reader.next();
    INFO("cut at " << cut);
    CHECK_FALSE(record.has_value());
  }
}

TEST_CASE("damage is reported with its place") {
  struct Case {
    std::string_view bytes, text;
  };
  const auto c = GENERATE(values<Case>({
      {"", "no end record at offset 0"},
      {"?", "unknown record type at offset 0"},
      {"S\x03xy", "record runs past the end at offset 2"},
      {"S\xff\xff\xff\xff\xff", "record too long at offset 4"},
      {"S\x80\x80\x80\x80\x80", "bad record length at offset 6"},
  }));
  const auto record = RecordReader(c.bytes).next();
  REQUIRE_FALSE(record.has_value());
  CHECK(record.error().text == c.text);
  CHECK(record.error().kind == Error::Kind::kDamaged);
}

TEST_CASE("numbers and texts read back, up to the largest") {
  constexpr auto kMax = std::numeric_limits<std::uint64_t>::max();
  const auto number = GENERATE(std::uint64_t{0}, std::uint64_t{127}, std::uint64_t{128},
                               std::uint64_t{1} << 32, ~std::uint64_t{0});
  std::string payload;
  append_number(payload, number);
  append_text(payload, "text");
  FieldReader fields(payload);
  CHECK(fields.number(kMax).value() == number);
  CHECK(fields.text(4).value() == "text");
  CHECK(fields.at_end());
  if (number > 0) CHECK_FALSE(FieldReader(payload).number(number - 1).has_value());
}

TEST_CASE("fields that do not fit are refused") {
  using namespace std::string_view_literals;
  CHECK_FALSE(FieldReader("").byte().has_value());
  CHECK_FALSE(FieldReader("").number(9).has_value());
  CHECK_FALSE(FieldReader("\x05"
                          "four")
                  .text(9)
                  .has_value());
  CHECK_FALSE(FieldReader("\x05"
                          "fives")
                  .text(4)
                  .has_value());
  CHECK_FALSE(FieldReader("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02").number(~0ULL).has_value());
  CHECK_FALSE(
      FieldReader("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01").number(~0ULL).has_value());
}

}  // namespace postern::queuefile
