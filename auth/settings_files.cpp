#include "auth/settings_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/jobs.h"
#include "common/base/text.h"
#include "common/log/log.h"
#include "common/sys/fd.h"

namespace postern::auth {

namespace {

enum class Outcome : unsigned char { kRead, kNone, kForbidden };

Outcome read_file(const std::string& path, std::string& text) {
  const sys::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return errno == EACCES ? Outcome::kForbidden : Outcome::kNone;
  struct stat status{};
  if (::fstat(fd.get(), &status) < 0 || !S_ISREG(status.st_mode)) return Outcome::kNone;
  if (status.st_size > static_cast<off_t>(kMaxSettings)) {
    log::warning("{} is longer than {} bytes; it is not read", path, kMaxSettings);
    return Outcome::kNone;
  }
  text.resize(kMaxSettings);
  const ssize_t count = ::read(fd.get(), text.data(), text.size());
  text.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
  return count < 0 ? Outcome::kNone : Outcome::kRead;
}

bool is_name_character(char c) { return is_alnum(c) || c == '_' || c == '-' || c == '.'; }

}  // namespace

std::map<std::string, std::string, std::less<>> parse_sasl_options(std::string_view text) {
  std::map<std::string, std::string, std::less<>> options;
  for (std::string_view line : split_fields(text, '\n')) {
    line = trim(line);
    if (line.empty() || line.front() == '#') continue;
    std::size_t end = 0;
    while (end < line.size() && is_name_character(line[end])) ++end;
    if (end == 0 || end == line.size() || line[end] != ':') continue;
    const auto value = trim(line.substr(end + 1));
    if (!value.empty()) options.emplace(to_lower(line.substr(0, end)), value);
  }
  return options;
}

std::string search_path(const config::SaslProfile& profile, std::string_view config_directory) {
  if (!profile.config_path.empty()) return profile.config_path;
  // As Debian's Postfix has it, after a place of our own.
  return fmt::format("{}/sasl:/etc/postfix/sasl:/usr/lib/sasl2:/etc/sasl2", config_directory);
}

bool SettingsFiles::read(const config::Values& values) {
  std::map<std::uint64_t, std::string> texts;
  bool has_rights = true;
  for (const auto& [number, profile] : config::configured_sasl_profiles(values)) {
    if (profile.type != "cyrus") continue;
    const std::string path = search_path(profile, values.text("config_directory"));
    for (const auto directory : split_fields(path, ':')) {
      std::string text;
      const auto outcome = read_file(fmt::format("{}/{}.conf", directory, profile.path), text);
      if (outcome == Outcome::kNone) continue;
      if (outcome == Outcome::kForbidden) {
        has_rights = false;
        text = text_of(number);
      }
      texts[number] = std::move(text);
      break;
    }
  }
  texts_ = std::move(texts);
  return has_rights;
}

const std::string& SettingsFiles::text_of(std::uint64_t profile) const {
  static const std::string kNone;
  const auto found = texts_.find(profile);
  return found == texts_.end() ? kNone : found->second;
}

}  // namespace postern::auth
