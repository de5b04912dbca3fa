// mapping.h - one address for another: canonical(5), masquerading, generic(5), automatic BCC.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/ipc/tables.h"

namespace postern::tables {

// Members have the names of their parameters in postconf(5).
struct MappingSettings {
  std::vector<std::string> canonical_maps, sender_canonical_maps, recipient_canonical_maps;
  std::vector<std::string> canonical_classes, sender_canonical_classes, recipient_canonical_classes;
  std::vector<std::string> masquerade_domains, masquerade_classes, masquerade_exceptions;
  std::vector<std::string> sender_bcc_maps, recipient_bcc_maps;
};

// The word of canonical_classes and masquerade_classes.
[[nodiscard]] std::string_view class_name(ipc::tables::AddressRole role);

// `user@host.example.org` to `user@example.org` where example.org is one of `domains`: the first
// that fits decides, and one with `!` in front leaves the address alone.
[[nodiscard]] std::string masquerade(const std::vector<std::string>& domains,
                                     const std::vector<std::string>& exceptions,
                                     std::string_view address);

// The addresses of a map's value in external form; `<>` is one, the empty one.
[[nodiscard]] std::vector<std::string> addresses_of(std::string_view value);

// What a map's value makes of an address: `@domain` keeps the local part, else the value stands for
// all of it; an extension that the key left out goes on behind the new local part.
[[nodiscard]] std::string apply_value(std::string_view address, std::string_view value,
                                      std::string_view extension);

}  // namespace postern::tables
