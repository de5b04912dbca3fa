// report.h - `postern report dmarc [--svg FILE] [FILE...]`: what others report of mail in our name.
//
// Each file (or standard input) is an aggregate report as XML, packed with gzip or zip, or the mail
// that it came with.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace postern::control {

int report_main(int argc, char** argv);

// The XML texts in a file of any of these forms. Bounded, however much they would unpack to.
[[nodiscard]] Result<std::vector<std::string>> unpack_reports(std::string_view bytes);

}  // namespace postern::control
