// Command lines: every parser, any bytes; each refusal is a well-formed reply.

#include <cassert>
#include <cstdint>
#include <string_view>

#include "common/smtpwire/command.h"
#include "common/smtpwire/line.h"

using namespace postern;

namespace {

template <typename T>
void judge(const smtpwire::Parsed<T>& parsed) {
  if (parsed) return;
  const std::string wire = parsed.error().to_wire();
  assert(parsed.error().code >= 500 && parsed.error().code < 600);
  assert(wire.ends_with("\r\n"));
  assert(wire.find('\n') == wire.size() - 1);
}

void judge_line(std::string_view line) {
  using smtpwire::Verb;
  const auto command = smtpwire::split_command(line);
  smtpwire::Extensions extensions;
  extensions.verp = true;
  judge(smtpwire::parse_helo(Verb::kEhlo, command.argument));
  judge(smtpwire::parse_mail(command.argument, extensions));
  const auto rcpt = smtpwire::parse_rcpt(command.argument, extensions);
  judge(rcpt);
  if (rcpt) assert(smtpwire::print_notify(rcpt->notify).empty() == (rcpt->notify == 0));
  judge(smtpwire::parse_bdat(command.argument));
  judge(smtpwire::parse_vrfy(command.argument));
  judge(smtpwire::parse_etrn(command.argument));
  judge(smtpwire::parse_auth(command.argument));
  judge(smtpwire::parse_attributes(Verb::kXclient, command.argument));
  judge(smtpwire::parse_no_argument(command.verb, command.argument));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(static_cast<const char*>(static_cast<const void*>(data)), size);
  smtpwire::LineSplitter splitter(200);
  while (!input.empty()) {
    const auto line = splitter.next(input);
    assert(line.consumed <= input.size());
    if (line.state == smtpwire::Line::State::kMore) break;
    assert(line.consumed > 0 && line.text.size() <= 200);
    judge_line(line.text);
    input.remove_prefix(line.consumed);
  }
  return 0;
}
