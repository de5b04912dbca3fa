// DKIM and ARC: any header gets its verdicts, and none passes without a key.

#include <cassert>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/mailauth/arc.h"
#include "common/mailauth/dkim.h"
#include "common/mailauth/dmarc.h"
#include "common/mailauth/results_header.h"
#include "tests/support/table_dns.h"

using namespace postern;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string input(static_cast<const char*>(static_cast<const void*>(data)), size);
  const auto fields = mail::split_header(input);
  mailauth::DkimVerifier dkim(fields, 1'700'000'000);
  mailauth::ArcVerifier arc(fields);
  mailauth::BodyHashes hashes;
  dkim.plan(hashes);
  arc.plan(hashes);
  hashes.append(input);
  hashes.finish();

  mailauth::TableDns dns;
  dns.add("s._domainkey.example.org", dns::RecordType::kTxt,
          "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
  // Whatever is in the input as the text of a key record, too.
  mailauth::Refusal refusal;
  static_cast<void>(
      mailauth::parse_key_record(input, mailauth::SignAlgorithm::kRsaSha256, refusal));

  mailauth::ResultsHeader results("mx.example");
  const auto signatures = mailauth::result_of(dkim.verify(dns, hashes));
  assert(signatures.size() <= 50);
  for (const auto& result : signatures) results.add_dkim(result);
  const auto chain = mailauth::result_of(arc.verify(dns, hashes));
  results.add_arc(chain);
  assert(dns.questions <= 10 + 51);

  // What we write is ours, and one field.
  const std::string value = results.value();
  assert(mailauth::is_forged_results(value, "mx.example"));
  const auto again = mail::split_header("Authentication-Results: " + value + "\n");
  assert(again.size() == 1);
  for (const auto& field : fields) {
    static_cast<void>(mailauth::is_forged_results(field.body, "mx.example"));
    static_cast<void>(mailauth::find_result(field.body, "dmarc"));
  }
  static_cast<void>(mailauth::author_domains(fields));

  // The canonical body is the same in whatever pieces it comes.
  mailauth::BodyHashes pieces;
  mailauth::BodyHashes whole;
  for (const auto form : {mailauth::Canon::kSimple, mailauth::Canon::kRelaxed}) {
    pieces.want(form);
    whole.want(form);
  }
  whole.append(input);
  for (std::size_t i = 0; i < input.size(); i += 3) {
    pieces.append(std::string_view(input).substr(i, 3));
  }
  whole.finish();
  pieces.finish();
  assert(whole.digest(0) == pieces.digest(0) && whole.digest(1) == pieces.digest(1));
  return 0;
}
