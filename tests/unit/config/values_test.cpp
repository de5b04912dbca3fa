#include "common/config/values.h"

#include <catch2/catch.hpp>
#include <fstream>

#include "common/base/text.h"
#include "common/config/lint.h"
#include "common/config/params/bounce.h"
#include "common/config/params/queue.h"
#include "common/config/params/smtp.h"
#include "common/config/params/smtpd.h"

namespace postern::config {

namespace {

std::shared_ptr<const Snapshot> snapshot_of(std::string_view main_cf,
                                            std::string_view master_cf = "") {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->config_directory = "/etc/postern";
  snapshot->settings = parse_main_cf(main_cf, "main.cf").settings;
  snapshot->services = parse_master_cf(master_cf, "master.cf").services;
  snapshot->computed["myhostname"] = "mx.example.org";
  snapshot->computed["mydomain"] = "example.org";
  snapshot->files["/etc/mailname"] = "mail.example.org\nrest\n";
  snapshot->index();
  return snapshot;
}

}  // namespace

TEST_CASE("every name of the reference is known") {
  std::ifstream names(POSTERN_SOURCE_DIR "/tests/unit/config/postfix_names.txt");
  REQUIRE(names.good());
  std::string name;
  std::size_t count = 0;
  while (std::getline(names, name)) {
    INFO(name);
    CHECK((find_param(name).has_value() || parse_transport_param(name).has_value()));
    ++count;
  }
  CHECK(count > 900);
}

TEST_CASE("every default is a value of its type, calm and under stress") {
  const Values calm(snapshot_of(""));
  for (const Values& values : {calm, calm.under_stress()}) {
    for (const ParamInfo param : all_params()) {
      INFO(param.name << " = " << param.initial);
      const auto text = values.expanded(param.name);
      REQUIRE(text.has_value());
      CHECK(find_fault(param, *text).value_or("") == "");
    }
  }
}

TEST_CASE("a typed struct holds defaults, settings and -o values of its service") {
  const auto snapshot = snapshot_of(
      "smtpd_timeout = 2m\nsmtpd_soft_error_limit = 3\n",
      "smtp inet n - n - - smtpd -o smtpd_soft_error_limit=5 -o smtpd_soft_error_limit=7\n");
  Problems problems;
  const auto params = load<SmtpdParams>(Values(snapshot, snapshot->services[0]), problems);
  CHECK(problems.empty());
  CHECK(params.smtpd_timeout == std::chrono::seconds(120));
  CHECK(params.smtpd_soft_error_limit == 7);
  CHECK(params.smtpd_hard_error_limit == 20);
  CHECK(params.smtpd_banner == "mx.example.org ESMTP Postern");
  CHECK(params.smtpd_forbid_bare_newline == "normalize");
  CHECK(params.default_rbl_reply.starts_with("$rbl_code"));
  const auto stressed = load<SmtpdParams>(Values(snapshot).under_stress(), problems);
  CHECK(stressed.smtpd_hard_error_limit == 1);
  CHECK(load<BounceParams>(Values(snapshot), problems).n2bounce_notice_recipient == "postmaster");
}

TEST_CASE("a bad value is a problem with its place, and the default counts") {
  struct Case {
    const char *setting, *text;
  };
  const auto c = GENERATE(values<Case>({
      {"smtpd_helo_required = maybe",
       "smtpd_helo_required: bad boolean value \"maybe\": yes or no expected"},
      {"smtpd_soft_error_limit = 0", "smtpd_soft_error_limit: 0 is less than the smallest value 1"},
      {"smtpd_soft_error_limit = ten", "smtpd_soft_error_limit: bad numerical value \"ten\""},
      {"smtpd_soft_error_limit =", "smtpd_soft_error_limit: bad numerical value \"\""},
      {"smtpd_error_sleep_time = 1y",
       "smtpd_error_sleep_time: bad time \"1y\": a number and s, m, h, d or w expected"},
      {"smtpd_forbid_bare_newline = perhaps",
       "smtpd_forbid_bare_newline: bad value \"perhaps\": one of these expected: yes no normalize "
       "reject note"},
      {"smtpd_banner = ${x",
       "smtpd_banner: missing closing bracket in reference to a parameter: "
       "\"{x\""},
      {"smtpd_forbid_bare_newline_exclusions = 10.0.0.1/8",
       "smtpd_forbid_bare_newline_exclusions: host bits behind the prefix in \"10.0.0.1/8\"; did "
       "you mean \"10.0.0.0/8\"?"},
  }));
  Problems problems;
  const auto params =
      load<SmtpdParams>(Values(snapshot_of(std::string("a = b\n") + c.setting)), problems);
  REQUIRE(problems.size() == 1);
  CHECK(problems[0].text == c.text);
  CHECK(place_of(problems[0]) == "main.cf:2");
  CHECK(params.smtpd_soft_error_limit == 10);
  CHECK(params.smtpd_error_sleep_time == std::chrono::seconds(1));
  CHECK_FALSE(params.smtpd_helo_required);
}

TEST_CASE("a time without a unit has that of the default") {
  Problems problems;
  const auto params = load<QueueParams>(
      Values(snapshot_of("maximal_queue_lifetime = 3\nminimal_backoff_time = 5\n")), problems);
  CHECK(params.maximal_queue_lifetime == std::chrono::days(3));
  CHECK(params.minimal_backoff_time == std::chrono::seconds(5));
  CHECK(problems.empty());
}

TEST_CASE("texts become numbers only when they are whole and fit") {
  CHECK(parse_size("10k").value() == 10240);
  CHECK(parse_size("2g").value() == std::int64_t{2} << 30);
  CHECK_FALSE(parse_size("9223372036854775807k").has_value());
  CHECK_FALSE(parse_size("-1").has_value());
  CHECK_FALSE(parse_size("k").has_value());
  CHECK(parse_duration("1w").value() == std::chrono::weeks(1));
  CHECK_FALSE(parse_duration("99999999999999999999d").has_value());
  CHECK_FALSE(parse_duration("9999999w").has_value());
  CHECK_FALSE(parse_duration("").has_value());
  CHECK(parse_bool("YES").value());
}

TEST_CASE("a transport's own parameters, or the default of all") {
  const Values values(
      snapshot_of("slow_destination_concurrency_limit = 2\nslow_destination_rate_delay = 1m\n"
                  "default_destination_concurrency_limit = 9\n"));
  CHECK(transport_count(values, "slow", "_destination_concurrency_limit") == 2);
  CHECK(transport_count(values, "fast", "_destination_concurrency_limit") == 9);
  CHECK(transport_count(values, "smtp", "_destination_concurrency_limit") == 9);
  CHECK(transport_count(values, "local", "_destination_concurrency_limit") == 2);
  CHECK(transport_duration(values, "slow", "_destination_rate_delay") == std::chrono::minutes(1));
  CHECK(transport_duration(values, "fast", "_time_limit") == std::chrono::seconds(1000));
}

TEST_CASE("the LMTP client reads its own names into the shared struct") {
  Problems problems;
  const Values values(
      snapshot_of("lmtp_lhlo_name = lhlo\nlmtp_connect_timeout = 7s\n"
                  "smtp_helo_name = helo\n"));
  const auto smtp = load<SmtpParams>(values, problems);
  const auto lmtp = load<SmtpParams>(values.for_lmtp(), problems);
  CHECK(smtp.smtp_helo_name == "helo");
  CHECK(lmtp.smtp_helo_name == "lhlo");
  CHECK(lmtp.smtp_connect_timeout == std::chrono::seconds(7));
  CHECK(lmtp.smtp_tcp_port == "24");
}

TEST_CASE("myorigin may be a file, wherever it is used") {
  const Values values(snapshot_of("myorigin = /etc/mailname\nx = <$myorigin>\n"));
  CHECK(values.text("myorigin") == "mail.example.org");
  CHECK(values.text("x") == "<mail.example.org>");
  CHECK(values.raw("myorigin") == "/etc/mailname");
}

TEST_CASE("a value that needs itself is an error, and the default counts") {
  const Values values(snapshot_of("mydestination = x $mydestination\n"));
  CHECK_FALSE(values.expanded("mydestination").has_value());
  CHECK(values.text("mydestination") == "mx.example.org, localhost.example.org, localhost");
}

TEST_CASE("a snapshot reads back, and damaged ones are refused") {
  const auto before = snapshot_of("a = 1\nmyorigin = /etc/mailname\n",
                                  "smtp inet n - n 5? 3 smtpd -v -o { a = b c }\n"
                                  "local unix - n n - - local\n");
  const std::string bytes = serialize(*before);
  const auto after = parse_snapshot(bytes);
  REQUIRE(after.has_value());
  CHECK(serialize(*after) == bytes);
  CHECK(after->services == before->services);
  CHECK(after->find("a")->line == 1);
  CHECK(after->files == before->files);
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    INFO(cut);
    REQUIRE_FALSE(parse_snapshot(std::string_view(bytes).substr(0, cut)).has_value());
  }
  CHECK_FALSE(parse_snapshot(bytes + "1:x").has_value());
}

TEST_CASE("lint finds typos, names without effect and undefined references") {
  const auto snapshot = snapshot_of(
      "smtpd_recipent_restrictions = permit\n"
      "mymade = x\n"
      "relayhost = $mymade\n"
      "enable_errors_to = yes\n"
      "smtpd_helo_required = yes\n"
      "mydestination = $nosuch\n"
      "slow_destination_rate_delay = 1s\n"
      "gone_destination_rate_delay = 1s\n"
      "virtual_mailbox_maps = mysql:accounts\n"
      "accounts_hosts = db\n"
      "milter_protocol = 6\n"
      "qqqqqqqqqqqqqqqqq = 1\n",
      "slow unix - - n - - smtp\n");
  std::vector<std::string> texts;
  for (const Problem& problem : lint_names(*snapshot)) {
    CHECK(problem.severity == Severity::kWarning);
    texts.push_back(place_of(problem) + " " + problem.text);
  }
  CHECK(texts ==
        std::vector<std::string>{
            "main.cf:1 smtpd_recipent_restrictions: unknown parameter; did you mean "
            "smtpd_recipient_restrictions?",
            "main.cf:4 enable_errors_to: not supported yet",
            "main.cf:6 mydestination: undefined parameter: nosuch",
            "main.cf:8 gone_destination_rate_delay: unused parameter; master.cf has no service "
            "\"gone\"",
            "main.cf:12 qqqqqqqqqqqqqqqqq: unknown parameter"});
}

}  // namespace postern::config
