// verp.h - variable envelope return paths: a sender address of its own for each recipient, so that
// a bounce tells which one has failed.
//
//     list@example.org, to u@example.net, with "+=": list+u=example.net@example.org

#pragma once

#include <string>
#include <string_view>

namespace postern::mail {

// Whether `delimiters` are two characters out of `filter` (verp_delimiter_filter).
[[nodiscard]] bool is_verp_delimiters(std::string_view delimiters, std::string_view filter);

// Precondition: delimiters.size() == 2. A null sender stays as it is.
[[nodiscard]] std::string verp_sender(std::string_view sender, std::string_view recipient,
                                      std::string_view delimiters);

}  // namespace postern::mail
