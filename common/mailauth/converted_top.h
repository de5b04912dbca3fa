// converted_top.h - the signatures of an 8-bit message in two editions.
//
// A server without 8BITMIME gets the message converted (RFC 6152 3), and another body has another
// signature. Who has the keys does not know the server, and who knows it must not have the keys: so
// both editions are made when the message comes. One stands in the header, the other waits in the
// envelope.

#pragma once

#include <string>
#include <string_view>

namespace postern::mailauth {

// The attribute of the envelope.
inline constexpr const char* kConvertedTop = "converted_signatures";

// The attribute's value. `top` stands at the beginning of the header, each field with its line end,
// and `converted` takes its place when the message is converted. Empty where it would be too large
// for an attribute.
[[nodiscard]] std::string print_converted_top(std::string_view top, std::string_view converted);

// The header of the converted message. It is left as it is when it does not begin with what
// `attribute` is to replace: what somebody has put above since is not thrown away.
void put_converted_top(std::string& header, std::string_view attribute);

}  // namespace postern::mailauth
