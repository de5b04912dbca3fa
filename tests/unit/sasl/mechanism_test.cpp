#include "common/sasl/mechanism.h"

#include <catch2/catch.hpp>

namespace postern::sasl {

TEST_CASE("security options say which mechanisms are left") {
  const std::vector<Mechanism> all = {{"PLAIN", traits_of("PLAIN")},
                                      {"ANONYMOUS", traits_of("ANONYMOUS")},
                                      {"CRAM-MD5", traits_of("CRAM-MD5")},
                                      {"DIGEST-MD5", traits_of("DIGEST-MD5")},
                                      {"EXTERNAL", traits_of("EXTERNAL")}};
  struct Case {
    std::vector<std::string> words;
    std::string_view left;
  };
  const auto c = GENERATE(values<Case>({
      {{}, "PLAIN ANONYMOUS CRAM-MD5 DIGEST-MD5 EXTERNAL"},
      {{"noanonymous"}, "PLAIN CRAM-MD5 DIGEST-MD5 EXTERNAL"},
      {{"NoPlaintext", "noanonymous"}, "CRAM-MD5 DIGEST-MD5 EXTERNAL"},
      {{"nodictionary"}, "EXTERNAL"},
      {{"noactive"}, "EXTERNAL"},
      {{"mutual_auth"}, "DIGEST-MD5"},
      {{"forward_secrecy"}, ""},
  }));
  CHECK(names_of(allowed(all, parse_security_options(c.words))) == c.left);
}

TEST_CASE("a security option that nobody knows is named") {
  std::vector<std::string> unknown;
  (void)parse_security_options({"noanonymous", "noplaintxt"}, &unknown);
  CHECK(unknown == std::vector<std::string>{"noplaintxt"});
}

TEST_CASE("mechanism names are those of RFC 4422") {
  CHECK(is_mechanism_name("SCRAM-SHA-256-PLUS"));
  CHECK_FALSE(is_mechanism_name(""));
  CHECK_FALSE(is_mechanism_name("plain"));
  CHECK_FALSE(is_mechanism_name("PLAIN LOGIN"));
  CHECK_FALSE(is_mechanism_name("A23456789012345678901"));
}

}  // namespace postern::sasl
