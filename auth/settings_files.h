// settings_files.h - the files with the settings of the Cyrus library (smtpd.conf), read before the
// daemon gives up its rights: they may hold the password of a data base and be readable by root
// alone.
//
// The workers get the text; the library asks for each option by its name.

#pragma once

#include <map>
#include <string>
#include <string_view>

#include "common/config/sasl_profile.h"

namespace postern::auth {

// "name: value", names in lower case; lines that begin with `#` are comments. Of several lines with
// one name the first counts. A line that is none of these is passed over.
[[nodiscard]] std::map<std::string, std::string, std::less<>> parse_sasl_options(
    std::string_view text);

// The directories of a profile, parted by `:`.
[[nodiscard]] std::string search_path(const config::SaslProfile& profile,
                                      std::string_view config_directory);

class SettingsFiles {
 public:
  // Reads the files of all profiles. False where one that was read before cannot be any more for
  // want of rights: another process with rights has to take over.
  [[nodiscard]] bool read(const config::Values& values);

  // Empty where there is none.
  [[nodiscard]] const std::string& text_of(std::uint64_t profile) const;

 private:
  std::map<std::uint64_t, std::string> texts_;
};

}  // namespace postern::auth
