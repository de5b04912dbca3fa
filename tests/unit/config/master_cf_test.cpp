#include "common/config/master_cf.h"

#include <catch2/catch.hpp>

namespace postern::config {

namespace {

Service parse(std::string_view text) {
  auto service = parse_service(text, "master.cf", 7);
  INFO(text);
  REQUIRE(service.has_value());
  return *service;
}

using Pairs = std::vector<std::pair<std::string, std::string>>;
using Args = std::vector<std::string>;

}  // namespace

TEST_CASE("an entry's fields and defaults") {
  const Service smtp = parse("smtp inet n - n - - smtpd");
  CHECK(smtp.type == ServiceType::kInet);
  CHECK_FALSE(smtp.is_private);
  CHECK(smtp.is_unprivileged);
  CHECK_FALSE(smtp.is_chroot);
  CHECK(smtp.wakeup.count() == 0);
  CHECK_FALSE(smtp.maxproc.has_value());
  CHECK(smtp.program == "smtpd");
  CHECK(smtp.line == 7);

  const Service tlsmgr = parse("tlsmgr unix - n y 1000? 1 tlsmgr");
  CHECK(tlsmgr.is_private);
  CHECK_FALSE(tlsmgr.is_unprivileged);
  CHECK(tlsmgr.is_chroot);
  CHECK(tlsmgr.wakeup.count() == 1000);
  CHECK(tlsmgr.wakeup_only_if_used);
  CHECK(tlsmgr.maxproc == 1U);
  CHECK(parse("postlog unix-dgram n - n - 1 postlogd").type == ServiceType::kUnixDgram);
  CHECK(parse("smtpd pass - - n - 0 smtpd").maxproc == 0U);
}

TEST_CASE("-o values are taken out of the arguments, up to the first argument that is no option") {
  const Service smtp =
      parse("smtp inet n - n - - smtpd -v -o a=1 -ob=2 -o { mynetworks = a b } -o {c=}");
  CHECK(smtp.overrides == Pairs{{"a", "1"}, {"b", "2"}, {"mynetworks", "a b"}, {"c", ""}});
  CHECK(smtp.args == Args{"-v"});

  const Service pipe = parse(
      "x unix - n n - - pipe -o d=4 flags=R user=vmail argv=/bin/cmd -o kept=x { two words } "
      "${recipient}");
  CHECK(pipe.overrides == Pairs{{"d", "4"}});
  CHECK(pipe.args == Args{"flags=R", "user=vmail", "argv=/bin/cmd", "-o", "kept=x", "two words",
                          "${recipient}"});
}

TEST_CASE("malformed entries are errors with their place and do not hide the next") {
  const auto* const text = GENERATE(values<const char*>(
      {"smtp inet n - n - -", "smtp tcp n - n - - smtpd", "smtp inet x - n - - smtpd",
       "smtp inet n - n x - smtpd", "smtp inet n - n - many smtpd", "smtp inet n - n - -1 smtpd",
       "smtp inet n - n - - smtpd -o", "smtp inet n - n - - smtpd -o novalue",
       "smtp inet y - n - - smtpd", "smtp inet n - n - - {smtpd}",
       "smtp inet n - n - - smtpd -o { a = b", "smtp inet n - n - - smtpd -oa=}x{b c}",
       "../x unix - - n - - smtp", "/x unix - - n - - smtp"}));
  INFO(text);
  const MasterCf cf = parse_master_cf(
      std::string("# c\n") + text + "\nlocal unix - n n - -\n  local\n", "master.cf");
  REQUIRE(cf.problems.size() == 1);
  CHECK(place_of(cf.problems[0]) == "master.cf:2");
  REQUIRE(cf.services.size() == 1);
  CHECK(cf.services[0].name == "local");
  CHECK(cf.services[0].line == 3);
}

TEST_CASE("entries print as postconf -M and -Mf show them") {
  const Service smtp = parse("smtp inet n - n - - smtpd -o smtpd_banner=x -o { mynetworks = a b }");
  CHECK(print_service(smtp, MasterStyle::kOneLine) ==
        "smtp       inet  n       -       n       -       -       smtpd -o smtpd_banner=x -o "
        "{mynetworks=a b}");
  CHECK(print_service(smtp, MasterStyle::kFolded) ==
        "smtp       inet  n       -       n       -       -       smtpd\n"
        "    -o smtpd_banner=x\n"
        "    -o {mynetworks=a b}");
  CHECK(
      print_service(parse("new unix - - n - - pipe user=x argv=/bin/true"), MasterStyle::kFolded) ==
      "new        unix  -       -       n       -       -       pipe user=x\n"
      "    argv=/bin/true");
}

TEST_CASE("what is printed reads back as the same service") {
  for (const std::string_view line :
       {"127.0.0.1:10025 inet n - y - 10 smtpd -v -o a= -o { b = c  d } -o {e={f} {g}} {} {x y} z",
        "a inet n - n - - smtpd -oa=b -{c d} -o e=f", "a inet n - n - - smtpd {-o} b=c",
        "a inet n - n - - smtpd {{b}} {{c} d}"}) {
    const Service before = parse(line);
    for (const MasterStyle style : {MasterStyle::kOneLine, MasterStyle::kFolded}) {
      const MasterCf cf = parse_master_cf(print_service(before, style), "x");
      REQUIRE(cf.services.size() == 1);
      CAPTURE(print_service(before, style));
      CHECK(cf.services[0].overrides == before.overrides);
      CHECK(cf.services[0].args == before.args);
      CHECK(cf.services[0].columns == before.columns);
    }
  }
}

}  // namespace postern::config
