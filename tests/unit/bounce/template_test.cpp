#include "bounce/template.h"

#include <catch2/catch.hpp>

namespace postern::bounce {

namespace {

TemplateValues known_values() {
  return {.text = [](std::string_view name) -> std::optional<std::string> {
            if (name == "myhostname") return "mx.parity.test";
            if (name == "mydomain") return "parity.test";
            return std::nullopt;
          },
          .duration = [](std::string_view name) -> std::optional<std::chrono::seconds> {
            if (name == "maximal_queue_lifetime") return std::chrono::days(5);
            if (name == "delay_warning_time") return std::chrono::hours(4);
            return std::nullopt;
          }};
}

}  // namespace

TEST_CASE("the built-in templates print, read back and expand") {
  const Templates& built_in = built_in_templates();
  const std::string file = print_templates(built_in);
  CHECK(parse_templates(file, {}).templates == built_in);
  for (const Template* part :
       {&built_in.failure, &built_in.delay, &built_in.success, &built_in.verify}) {
    const std::string text = expand_template(part->text, known_values()).value();
    CHECK(text.starts_with("This is the mail system at host mx.parity.test.\n"));
    CHECK(text.find('$') == std::string::npos);
  }
  const std::string delay = expand_template(built_in.delay.text, known_values()).value();
  CHECK(delay.find("more than 4 hour(s)") != std::string::npos);
  CHECK(delay.find("\n5 day(s)") != std::string::npos);
}

TEST_CASE("a file replaces only the templates it has") {
  const auto templates = parse_templates(R"(# ours

failure_template = <<EOF
Charset: utf-8
From: Mail Robot <robot@parity.test>
Subject: Could not deliver

This is $myhostname.

Second.
EOF
)",
                                         built_in_templates())
                             .templates;
  CHECK(templates.failure.charset == "utf-8");
  CHECK(templates.failure.from == "Mail Robot <robot@parity.test>");
  CHECK(templates.failure.subject == "Could not deliver");
  CHECK(templates.failure.postmaster_subject == "Postmaster Copy: Undelivered Mail");
  CHECK(templates.failure.text == "This is $myhostname.\n\nSecond.\n");
  CHECK(templates.delay == built_in_templates().delay);
}

TEST_CASE("a template that is wrong is left out, and said so") {
  struct Case {
    std::string_view file, text;
  };
  const auto c = GENERATE(Catch::Generators::values<Case>({
      {"x_template = <<EOF\nEOF\n", "line 2: unknown template name: x_template"},
      {"failure_template = text\n",
       "line 1: expected \"<<\" and a last line behind \"failure_template =\""},
      {"failure_template = <<\n",
       "line 1: expected \"<<\" and a last line behind \"failure_template =\""},
      {"\nfailure_template = <<EOF\nSubject: x\n\ny\n", "line 5: no line \"EOF\" at the end"},
      {"failure_template = <<EOF\nSubject: x\nEOF\n", "missing message text in failure template"},
      {"failure_template = <<EOF\nSubject: x\nReply-To: y\n\nz\nEOF\n",
       "unknown \"Reply-To\" header label in failure template"},
      {"failure_template = <<EOF\nno header\n\nz\nEOF\n",
       "bad header syntax: \"no header\" in failure template"},
      {"failure_template = <<EOF\nFrom:\n\nz\nEOF\n",
       "missing \"From\" header value in failure template"},
      {"failure_template = <<EOF\nSubject: \xc3\xbc\n\nz\nEOF\n",
       "non-ASCII \"Subject\" header value in failure template"},
  }));
  const auto parsed = parse_templates(c.file, built_in_templates());
  CHECK(parsed.templates == built_in_templates());
  REQUIRE(parsed.problems.size() == 1);
  CHECK(parsed.problems.front() == std::string(c.text) + " -- ignoring this template");
}

TEST_CASE("one bad template leaves the others") {
  const auto parsed = parse_templates(
      "delay_template = <<EOF\nFrom:\n\nz\nEOF\nfailure_template = <<EOF\nSubject: "
      "S\n\ntext\nEOF\n",
      built_in_templates());
  CHECK(parsed.templates.failure.subject == "S");
  CHECK(parsed.templates.delay == built_in_templates().delay);
  CHECK(parsed.problems.size() == 1);
}

TEST_CASE("names are expanded in each form") {
  const auto expand = [](std::string_view text) { return expand_template(text, known_values()); };
  CHECK(expand("a $myhostname, ${mydomain}x $(mydomain) $$5").value() ==
        "a mx.parity.test, parity.testx parity.test $5");
  CHECK(expand("$maximal_queue_lifetime_days $maximal_queue_lifetime_hours "
               "$delay_warning_time_minutes")
            .value() == "5 120 240");
  CHECK(expand("").value().empty());
  for (const std::string_view bad :
       {"$nosuch", "$", "$ x", "${myhostname", "$myhostname_days", "${my(host}"}) {
    INFO(bad);
    CHECK_FALSE(expand(bad).has_value());
  }
}

}  // namespace postern::bounce
