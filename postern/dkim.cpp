#include "postern/dkim.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/config/dkim_tables.h"
#include "common/mail/address.h"
#include "common/mailauth/crypto.h"
#include "common/sys/fd.h"
#include "postern/dkim_keys.h"
#include "postern/mail_system.h"

namespace postern::control {

namespace {

using config::DkimKey;
using mailauth::PrivateKey;
using mailauth::SignAlgorithm;

constexpr std::size_t kMaxFile = std::size_t{16} << 20;
constexpr unsigned kDefaultBits = 2048;
constexpr int kWaiting = 75;  // EX_TEMPFAIL
constexpr unsigned kPollSeconds = 10;

int fail_with(std::string_view text) {
  fmt::print(stderr, "postern dkim: {}\n", text);
  return 1;
}

int usage() {
  fmt::print(stderr,
             "usage: postern dkim new DOMAIN SELECTOR [rsa[:BITS]|ed25519]\n"
             "       postern dkim list\n"
             "       postern dkim record DOMAIN SELECTOR\n"
             "       postern dkim test [DOMAIN [SELECTOR]]\n"
             "       postern dkim rotate DOMAIN OLD NEW [-w SECONDS]\n");
  return 1;
}

class Tool {
 public:
  explicit Tool(const config::Values& values) : values_(values) {
    pattern_ = dkim_key_pattern(values);
  }

  int make(DkimKey key, std::string_view kind) const;
  int list() const;
  int record(const DkimKey& key) const;
  int test(std::string_view domain, std::string_view selector) const;
  int rotate(DkimKey old_key, DkimKey new_key, unsigned wait) const;

  [[nodiscard]] DkimKey key_of(std::string_view domain, std::string_view selector) const {
    DkimKey key{to_lower(domain), std::string(selector), ""};
    for (const auto& known : dkim_keys(values_)) {
      if (known.domain == key.domain && known.selector == key.selector) return known;
    }
    key.path = config::dkim_key_path(pattern_, key.domain, key.selector, "");
    return key;
  }

 private:
  [[nodiscard]] Result<void> write_key(const DkimKey& key, const PrivateKey& made) const;
  [[nodiscard]] int replace_in_table(const DkimKey& old_key, const DkimKey& new_key) const;

  const config::Values& values_;
  std::string pattern_;
};

Result<void> Tool::write_key(const DkimKey& key, const PrivateKey& made) const {
  // Directories of the path that are missing: nobody but root has to look into them.
  for (std::size_t at = key.path.find('/', 1); at != std::string::npos;
       at = key.path.find('/', at + 1)) {
    if (::mkdir(key.path.substr(0, at).c_str(), 0700) < 0 && errno != EEXIST) {
      return sys::fail_errno("make directory " + key.path.substr(0, at));
    }
  }
  const sys::Fd fd(
      ::open(key.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return sys::fail_errno("create " + key.path);
  const std::string pem = made.to_pem();
  if (::write(fd.get(), pem.data(), pem.size()) != static_cast<ssize_t>(pem.size()) ||
      ::fsync(fd.get()) < 0) {
    auto error = sys::fail_errno("write " + key.path);
    ::unlink(key.path.c_str());
    return error;
  }
  return {};
}

int Tool::make(DkimKey key, std::string_view kind) const {
  const auto [name, bits_text] = split_at_first(kind, ':');
  const auto bits = bits_text.empty() ? std::optional<unsigned>(kDefaultBits)
                                      : parse_integer<unsigned>(bits_text, 1024, 8192);
  if ((name != "rsa" && name != "ed25519") || !bits) return usage();
  if (!mail::is_valid_hostname(key.domain) || !mail::is_valid_hostname(key.selector)) {
    return fail_with("domain or selector is no name");
  }
  if (pattern_.find("$domain") == std::string::npos ||
      pattern_.find("$selector") == std::string::npos) {
    return fail_with("dkim_key_path has no $domain or no $selector");
  }
  const auto made = PrivateKey::make(
      name == "rsa" ? SignAlgorithm::kRsaSha256 : SignAlgorithm::kEd25519Sha256, *bits);
  if (!made) return fail_with(made.error().text);
  if (const auto written = write_key(key, *made); !written) {
    return fail_with(written.error().text);
  }
  fmt::print("{}\n", dkim_zone_line(key, dkim_record(*made)));
  fmt::print(stderr, "The key is in {}. Publish the record above, then have it used:\n", key.path);
  fmt::print(stderr, "    dkim_signing_table = inline:{{{}={}}}\n", key.domain, key.selector);
  return 0;
}

int Tool::list() const {
  bool is_good = true;
  for (const auto& known : dkim_keys(values_)) {
    const auto key = read_dkim_key(known.path);
    if (!key) {
      is_good = false;
      fmt::print("{} {} {} ({})\n", known.domain, known.selector, known.path, key.error().text);
      continue;
    }
    const bool is_rsa = key->algorithm() == SignAlgorithm::kRsaSha256;
    fmt::print("{} {} {} {}\n", known.domain, known.selector,
               is_rsa ? fmt::format("rsa:{}", key->bits()) : "ed25519", known.path);
  }
  return is_good ? 0 : 1;
}

int Tool::record(const DkimKey& key) const {
  const auto read = read_dkim_key(key.path);
  if (!read) return fail_with(read.error().text);
  fmt::print("{}\n", dkim_zone_line(key, dkim_record(*read)));
  return 0;
}

int Tool::test(std::string_view domain, std::string_view selector) const {
  bool is_good = true;
  std::size_t count = 0;
  for (const auto& known : dkim_keys(values_)) {
    if (!domain.empty() && !equal_nocase(known.domain, domain)) continue;
    if (!selector.empty() && known.selector != selector) continue;
    ++count;
    if (known.domain == "%") continue;
    const auto key = read_dkim_key(known.path);
    if (!key) {
      is_good = false;
      fmt::print("{}: {}\n", dkim_record_name(known), key.error().text);
      continue;
    }
    const Published published = find_published(known, *key);
    is_good = is_good && published == Published::kYes;
    fmt::print("{}: {}\n", dkim_record_name(known), words_of(published));
  }
  if (count == 0) return fail_with("there is no such key");
  return is_good ? 0 : 1;
}

// The selector as a word of its own, in the lines for the domain.
int Tool::replace_in_table(const DkimKey& old_key, const DkimKey& new_key) const {
  const auto path = config::dkim_table_file(values_.text("dkim_signing_table"));
  const bool has_key_table = !values_.text("dkim_key_table").empty();
  if (!path || has_key_table) {
    fmt::print("{} is published: put {} in the place of {} in {}\n", dkim_record_name(new_key),
               new_key.selector, old_key.selector,
               has_key_table ? "dkim_key_table" : "dkim_signing_table");
    return 0;
  }
  const auto text = config::read_file(*path, kMaxFile);
  if (!text) return fail_with(text.error().text);
  std::string out;
  bool is_changed = false;
  std::vector<std::string_view> lines = split_fields(*text, '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  for (const std::string_view line : lines) {
    std::string_view rest = line;
    const std::string_view pattern = next_word(rest, kBlanks);
    const std::string_view domain =
        split_at_last(pattern, '@').second.empty() ? pattern : split_at_last(pattern, '@').second;
    std::vector<std::string> names;
    bool is_here = false;
    for (const auto name : split_words(rest)) {
      const bool is_old = name == old_key.selector && equal_nocase(domain, old_key.domain);
      is_here = is_here || is_old;
      names.emplace_back(is_old ? std::string_view(new_key.selector) : name);
    }
    is_changed = is_changed || is_here;
    out += is_here ? fmt::format("{} {}", pattern, join(names, ",")) : std::string(line);
    out += '\n';
  }
  if (!is_changed) {
    return fail_with(
        fmt::format("{}: no line has {} for {}", *path, old_key.selector, old_key.domain));
  }
  // A new file in the place of the old one: whoever reads sees one of the two.
  const std::string next = *path + ".new";
  struct stat status{};
  ::stat(path->c_str(), &status);
  const sys::Fd fd(::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
                          status.st_mode & 0777U));
  if (!fd || ::write(fd.get(), out.data(), out.size()) != static_cast<ssize_t>(out.size()) ||
      ::fsync(fd.get()) < 0 || ::rename(next.c_str(), path->c_str()) < 0) {
    return fail_with(sys::fail_errno("write " + next).error().text);
  }
  fmt::print("{} signs with {} now; keep the record of {} for a week\n", new_key.domain,
             new_key.selector, old_key.selector);
  return 0;
}

int Tool::rotate(DkimKey old_key, DkimKey new_key, unsigned wait) const {
  const auto old_read = read_dkim_key(old_key.path);
  if (!old_read) return fail_with(old_read.error().text);
  if (old_key.selector == new_key.selector) return fail_with("the selectors are the same");
  if (::access(new_key.path.c_str(), F_OK) != 0) {
    const bool is_rsa = old_read->algorithm() == SignAlgorithm::kRsaSha256;
    const auto made = PrivateKey::make(old_read->algorithm(),
                                       std::max(is_rsa ? old_read->bits() : 0U, kDefaultBits));
    if (!made) return fail_with(made.error().text);
    if (const auto written = write_key(new_key, *made); !written) {
      return fail_with(written.error().text);
    }
  }
  const auto read = read_dkim_key(new_key.path);
  if (!read) return fail_with(read.error().text);
  for (unsigned waited = 0;; waited += kPollSeconds) {
    const Published published = find_published(new_key, *read);
    if (published == Published::kYes) return replace_in_table(old_key, new_key);
    if (waited >= wait) {
      fmt::print("{}\n", dkim_zone_line(new_key, dkim_record(*read)));
      fmt::print(stderr, "{}: {}. Publish it, then call this again.\n", dkim_record_name(new_key),
                 words_of(published));
      return kWaiting;
    }
    ::sleep(std::min(kPollSeconds, wait - waited));
  }
}

}  // namespace

int dkim_main(int argc, char** argv) {
  std::vector<std::string_view> words;
  unsigned wait = 0;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "-w" && i + 1 < argc) {
      const auto seconds = parse_integer<unsigned>(argv[++i], 0, 7 * 86400);
      if (!seconds) return usage();
      wait = *seconds;
    } else {
      words.emplace_back(argv[i]);
    }
  }
  const auto system = open_mail_system();
  if (!system) return 1;
  const config::Values values = system->values();
  const Tool tool(values);
  const std::string_view verb = words.empty() ? "" : words[0];
  if (verb == "new" && (words.size() == 3 || words.size() == 4)) {
    return tool.make(tool.key_of(words[1], words[2]), words.size() == 4 ? words[3] : "rsa");
  }
  if (verb == "list" && words.size() == 1) return tool.list();
  if (verb == "record" && words.size() == 3) return tool.record(tool.key_of(words[1], words[2]));
  if (verb == "test" && words.size() <= 3) {
    return tool.test(words.size() > 1 ? words[1] : "", words.size() > 2 ? words[2] : "");
  }
  if (verb == "rotate" && words.size() == 4) {
    return tool.rotate(tool.key_of(words[1], words[2]), tool.key_of(words[1], words[3]), wait);
  }
  return usage();
}

}  // namespace postern::control
