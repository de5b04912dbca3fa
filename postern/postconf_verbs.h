// postconf_verbs.h - what postconf(1) does once its options are read. Each returns the exit status.

#pragma once

#include <initializer_list>
#include <string_view>

#include "postern/postconf_request.h"

namespace postern::control::postconf {

[[nodiscard]] int show_main(const Request& request);
[[nodiscard]] int edit_main(const Request& request);
[[nodiscard]] int show_master(const Request& request);
[[nodiscard]] int edit_master(const Request& request);

// Without a configuration.
[[nodiscard]] int show_list(std::initializer_list<std::string_view> words);
[[nodiscard]] int show_table_types();
[[nodiscard]] int show_tls(std::string_view what);

// The notices' templates: of the file named, else of bounce_template_file, else built in. With
// `expands` (-b) their texts alone, the names in them replaced by their values.
[[nodiscard]] int show_templates(const Request& request, bool expands);

}  // namespace postern::control::postconf
