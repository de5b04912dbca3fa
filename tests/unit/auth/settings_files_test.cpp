#include "auth/settings_files.h"

#include <catch2/catch.hpp>

namespace postern::auth {

TEST_CASE("the options of the SASL library are read as it reads them") {
  const auto options = parse_sasl_options(
      "# a comment\n"
      "pwcheck_method: auxprop\n"
      "  Auxprop_Plugin:sql \n"
      "sql_select: SELECT password FROM users WHERE name = '%u' # no comment\n"
      "sql_select: another\n"
      "mech_list:\n"
      "no colon\n"
      ": no name\n"
      "two words: x\r\n"
      "log_level: 7\r\n");
  CHECK(options == std::map<std::string, std::string, std::less<>>{
                       {"pwcheck_method", "auxprop"},
                       {"auxprop_plugin", "sql"},
                       {"sql_select", "SELECT password FROM users WHERE name = '%u' # no comment"},
                       {"log_level", "7"}});
  CHECK(parse_sasl_options("").empty());
}

TEST_CASE("the library's files are looked for where Postfix looks for them") {
  config::SaslProfile profile;
  CHECK(search_path(profile, "/etc/postern") ==
        "/etc/postern/sasl:/etc/postfix/sasl:/usr/lib/sasl2:/etc/sasl2");
  profile.config_path = "/a:/b";
  CHECK(search_path(profile, "/etc/postern") == "/a:/b");
}

}  // namespace postern::auth
