#include "common/sasl/password.h"

#include <catch2/catch.hpp>

namespace postern::sasl {

TEST_CASE("an entry of each scheme knows its password and no other") {
  const auto scheme =
      GENERATE("scram-sha-256", "argon2id", "yescrypt", "sha512-crypt", "bcrypt", "BCRYPT");
  const auto entry = make_password(scheme, "correct horse");
  INFO(scheme);
  REQUIRE(entry);
  CHECK(check_password(*entry, "correct horse").value());
  CHECK_FALSE(check_password(*entry, "correct horsf").value());
  CHECK_FALSE(check_password(*entry, "").value());
  CHECK(make_password(scheme, "correct horse") != entry);
}

TEST_CASE("entries that others have made are known") {
  struct Case {
    std::string_view entry, password;
  };
  const auto c = GENERATE(values<Case>({
      {"{PLAIN}secret", "secret"},
      {"{cleartext}secret", "secret"},
      {"$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/"
       "O6IND4WQhG.",
       "secret"},
      {"{MD5-CRYPT}$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1", "secret"},
      {"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
       "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
       "pencil"},
      {"{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
       "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
       "pencil"},
  }));
  INFO(c.entry);
  const auto good = check_password(c.entry, c.password);
  REQUIRE(good);
  CHECK(*good);
  CHECK_FALSE(check_password(c.entry, "another").value());
}

TEST_CASE("an entry of no known form is a fault of the table, not of the user") {
  const auto entry =
      GENERATE("secret", "", "{MD4}abc", "{CRYPT}", "{ARGON2ID}x", "{SCRAM-SHA-256}x");
  const auto checked = check_password(entry, "secret");
  REQUIRE_FALSE(checked);
  CHECK(checked.error().kind == Error::Kind::kConfig);
}

TEST_CASE("passwords that a C library would cut short are refused") {
  const std::string with_nul("secret\0tail", 11);
  CHECK_FALSE(check_password("{PLAIN}secret", with_nul).value());
  CHECK_FALSE(make_password("bcrypt", with_nul));
  CHECK_FALSE(make_password("bcrypt", ""));
  CHECK_FALSE(make_password("bcrypt", std::string(kMaxPassword + 1, 'x')));
  CHECK_FALSE(make_password("md4", "secret"));
}

}  // namespace postern::sasl
