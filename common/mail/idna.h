// idna.h - internationalised domains as DNS has them: "bücher.example" is xn--bcher-kva.example
// (IDNA 2008, RFC 5890). libidn2.

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace postern::mail {

// The domain with A-labels in place of U-labels, in lower case; one that is ASCII comes back in
// lower case. Nothing where a label is not allowed.
[[nodiscard]] std::optional<std::string> to_a_labels(std::string_view domain);

// The same of an address's domain. One that cannot be converted stays as it is.
[[nodiscard]] std::string with_a_labels(std::string_view address);

}  // namespace postern::mail
