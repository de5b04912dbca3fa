// report.h - `postern report dmarc|tls [FILE...]`: what others report of mail in our name and of
// TLS with our servers; and what this system has collected about others and sent to them.
//
// Each file (or standard input, for dmarc) is a report as XML or JSON, packed with gzip or zip, or
// the mail that it came with.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace postern::control {

int report_main(int argc, char** argv);

// The texts (XML, JSON) in a file of any of these forms. Bounded, however much they would unpack
// to.
[[nodiscard]] Result<std::vector<std::string>> unpack_reports(std::string_view bytes);

}  // namespace postern::control
