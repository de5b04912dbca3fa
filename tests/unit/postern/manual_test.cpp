#include "postern/manual.h"

#include <catch2/catch.hpp>

#include "common/config/param.h"

namespace postern::control {

TEST_CASE("a page without marks stays as it is") {
  const std::string page = ".Dd November 24, 2026\n.\\\" a comment\n.Sh NAME\nlast line\n";
  CHECK(fill_manual_page(page).value() == page);
}

TEST_CASE("a mark becomes the parameters of the area and the names, sorted, once each") {
  const auto page = fill_manual_page("before\n.\\\" parameters: queue_minfree log log\nafter\n");
  REQUIRE(page.has_value());
  CHECK(page->starts_with("before\n.Bl -tag -width Ds\n.It Sy debug_peer_level\n"));
  CHECK(page->ends_with(".El\nafter\n"));
  const auto first = page->find(".It Sy maillog_file\n");
  REQUIRE(first != std::string::npos);
  CHECK(page->find(".It Sy maillog_file\n", first + 1) == std::string::npos);
  CHECK(page->find(".It Sy queue_minfree\n") > first);
  // Known, but not in the log area; and one without effect.
  CHECK(page->find("smtpd_banner") == std::string::npos);
  CHECK(page->find("respectful_logging") == std::string::npos);
}

TEST_CASE("defaults do not become roff") {
  const auto page = fill_manual_page(".\\\" parameters: smtpd_forbid_bare_newline\n").value();
  CHECK(page.find("(one of yes, no, normalize, reject, note; default: normalize)") !=
        std::string::npos);
  const auto own = fill_manual_page(".\\\" parameters: maillog_format\n").value();
  CHECK(own.find("not a parameter of Postfix") != std::string::npos);
  const auto all = fill_manual_page(".\\\" parameters: all\n").value();
  // An escape that roff does not know, or a request made of a default.
  CHECK(all.find("\\x") == std::string::npos);
  CHECK(all.find("\n.\n") == std::string::npos);
}

TEST_CASE("what is found out on the machine is not shown as found on this one") {
  for (const std::string name : {"myhostname", "mynetworks", "queue_directory", "alias_maps"}) {
    CAPTURE(name);
    const auto page = fill_manual_page(".\\\" parameters: " + name + "\n").value();
    CHECK(page.find("that of the machine or installation") != std::string::npos);
  }
}

TEST_CASE("each parameter is in the manual, in the list of its standing") {
  const auto built = fill_manual_page(".\\\" parameters: all\n").value();
  const auto no_effect = fill_manual_page(".\\\" parameters: no-effect\n").value();
  const auto not_yet = fill_manual_page(".\\\" parameters: not-yet\n").value();
  for (const config::ParamInfo param : config::all_params()) {
    CAPTURE(param.name);
    const std::string name(param.name);
    const bool is_built =
        param.standing == config::Standing::kSame || param.standing == config::Standing::kOwn;
    CHECK((built.find(".It Sy " + name + "\n") != std::string::npos) == is_built);
    const std::string item = ".It Sy " + name + "\n";
    CHECK(no_effect.contains(item) == (param.standing == config::Standing::kNoEffect));
    CHECK(not_yet.contains(item) == (param.standing == config::Standing::kNotYet));
  }
}

TEST_CASE("each parameter has a paragraph of its own") {
  for (const config::ParamInfo param : config::all_params()) {
    CAPTURE(param.name, param.doc);
    CHECK(param.doc.size() > 20);
    CHECK(param.doc.ends_with('.'));
    CHECK(param.doc.find("postconf(5)") == std::string_view::npos);
    // What another one does is to be told here as well.
    CHECK_FALSE(param.doc.starts_with("As "));
    CHECK_FALSE(param.doc.starts_with("See "));
    CHECK(param.doc.find("  ") == std::string_view::npos);
  }
}

TEST_CASE("a page that names what is not built is refused") {
  for (const std::string word : {"no_such_parameter", "smtp_dns_reply_filter", "no_such_area"}) {
    CAPTURE(word);
    CHECK_FALSE(fill_manual_page(".\\\" parameters: log " + word + "\n").has_value());
  }
}

}  // namespace postern::control
