#include "common/tls/key_files.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/config/load.h"
#include "common/sys/fd.h"
#include "common/tls/signing_keys.h"

namespace postern::tls {

namespace {

constexpr std::size_t kMaxFile = std::size_t{4} << 20;
constexpr std::size_t kMaxDirectory = std::size_t{16} << 20;
constexpr std::size_t kMaxEntries = 4096;

// Where systems keep the authorities that everybody trusts (tls_append_default_CA).
constexpr std::array<std::string_view, 3> kDefaultAuthorities = {
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"};

bool is_there(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0;
}

// Calls for each part of the text: what is between private keys, and the keys.
template <typename Call>
void walk(std::string_view pem, const Call& call) {
  constexpr std::string_view kBegin = "-----BEGIN ";
  constexpr std::string_view kKey = "PRIVATE KEY-----";
  std::size_t from = 0;
  std::size_t search = 0;
  while ((search = pem.find(kBegin, search)) != std::string_view::npos) {
    const std::size_t begin = search;
    const std::size_t line = std::min(pem.find('\n', begin), pem.size());
    search = line;
    if (!trim_right(pem.substr(begin, line - begin)).ends_with(kKey)) continue;
    // A key that never ends takes the rest: none of it is public.
    std::size_t end = pem.find("-----END ", line);
    if (end != std::string_view::npos) end = pem.find('\n', end);
    const std::size_t after = end == std::string_view::npos ? pem.size() : end + 1;
    call(pem.substr(from, begin - from), false);
    call(pem.substr(begin, after - begin), true);
    from = search = after;
  }
  call(pem.substr(from), false);
}

// "9d04f354.0"
bool is_hashed_name(std::string_view name) {
  const auto [hash, number] = split_at_first(name, '.');
  return hash.size() == 8 &&
         std::ranges::all_of(hash, [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); }) &&
         is_all_digits(number);
}

Result<std::string> read_directory(const std::string& path) {
  DIR* const directory = ::opendir(path.c_str());
  if (directory == nullptr) return sys::fail_errno(fmt::format("open {}", path));
  std::vector<std::string> names;
  while (const dirent* const entry = ::readdir(directory)) {
    if (is_hashed_name(entry->d_name) && names.size() < kMaxEntries) {
      names.emplace_back(entry->d_name);
    }
  }
  ::closedir(directory);
  std::ranges::sort(names);
  std::string all;
  for (const auto& name : names) {
    auto content = config::read_file(fmt::format("{}/{}", path, name), kMaxFile);
    // A link that leads nowhere is no reason to trust nobody.
    if (!content || all.size() + content->size() > kMaxDirectory) continue;
    all += *content;
    if (!all.ends_with('\n')) all += '\n';
  }
  return all;
}

ipc::keyring::Purpose purpose_of(Role role) {
  return role == Role::kServer ? ipc::keyring::Purpose::kTlsServer
                               : ipc::keyring::Purpose::kTlsClient;
}

void read_into(Material& material, const config::Values& values, const NamedFile& file, Role role) {
  const std::string name = file_name(file.path);
  const bool is_read = material.stamps.contains(file.path);
  if (!is_read) material.stamps[file.path] = stamp_of(file.path);
  auto content = file.kind == FileKind::kDirectory ? read_directory(file.path)
                                                   : config::read_file(file.path, kMaxFile);
  if (!content) {
    if (!is_read) material.problems.push_back(values.problem(file.parameter, content.error().text));
    return;
  }
  material.files[name] = public_part(*content);
  if (file.kind != FileKind::kChain && file.kind != FileKind::kKey &&
      file.kind != FileKind::kCertificate) {
    return;
  }
  const bool has_key = file.kind != FileKind::kCertificate;
  for (auto& known : material.keys) {
    if (known.path != file.path || known.purpose != purpose_of(role)) continue;
    // One file may be both: named for its certificate first, then for its key.
    if (has_key && known.pem.empty()) known.pem = private_part(*content);
    return;
  }
  material.keys.push_back({file.path, purpose_of(role),
                           has_key ? private_part(*content) : std::string(),
                           file.kind != FileKind::kKey ? public_part(*content) : std::string()});
}

}  // namespace

std::vector<NamedFile> named_files(const config::Values& values, Role role) {
  std::vector<NamedFile> files;
  const auto name_of = [&](std::string_view suffix) {
    return role == Role::kServer ? fmt::format("smtpd_tls_{}", suffix)
                                 : values.member_name(fmt::format("smtp_tls_{}", suffix));
  };
  const auto add = [&](std::string_view suffix, FileKind kind) {
    const std::string parameter = name_of(suffix);
    std::string path = values.text(parameter);
    if (!path.empty() && path != "none" && path != "auto") {
      files.push_back({parameter, std::move(path), kind});
    }
  };
  // The list goes before the older names (postconf(5), smtpd_tls_chain_files).
  const std::string chain_files = name_of("chain_files");
  for (auto& path : values.list(chain_files)) {
    files.push_back({chain_files, std::move(path), FileKind::kChain});
  }
  if (files.empty()) {
    for (const std::string_view type : {"", "ec", "d"}) {
      add(fmt::format("{}cert_file", type), FileKind::kCertificate);
      add(fmt::format("{}key_file", type), FileKind::kKey);
    }
  }
  add("CAfile", FileKind::kAuthorities);
  add("CApath", FileKind::kDirectory);
  const bool has_authorities = !files.empty() && (files.back().kind == FileKind::kAuthorities ||
                                                  files.back().kind == FileKind::kDirectory);
  const bool wants_default = (has_authorities && values.flag("tls_append_default_CA")) ||
                             (role == Role::kClient && values.flag("smtp_mta_sts_enable"));
  if (wants_default) {
    if (std::string path = system_authorities_path(); !path.empty()) {
      files.push_back({"tls_append_default_CA", std::move(path), FileKind::kAuthorities});
    }
  }
  if (role == Role::kServer) add("dh1024_param_file", FileKind::kParameters);
  if (role == Role::kClient) add("trust_anchor_file", FileKind::kParameters);
  return files;
}

std::string system_authorities_path() {
  for (const std::string_view path : kDefaultAuthorities) {
    if (is_there(std::string(path))) return std::string(path);
  }
  return {};
}

std::string file_name(std::string_view path) { return fmt::format("tls:{}", path); }

std::string public_part(std::string_view pem) {
  std::string text;
  walk(pem, [&](std::string_view part, bool is_key) { text += is_key ? kKeyMark : part; });
  return text;
}

std::string private_part(std::string_view pem) {
  std::string text;
  walk(pem, [&](std::string_view part, bool is_key) {
    if (!is_key) return;
    text += part;
    if (!text.ends_with('\n')) text += '\n';
  });
  return text;
}

Stamp stamp_of(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return {};
  return {status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_size, status.st_ino};
}

Material read_material(const std::shared_ptr<const config::Snapshot>& snapshot) {
  Material material;
  for_each_tls_service(snapshot, [&](const config::Values& values, Role role) {
    for (const auto& file : named_files(values, role)) read_into(material, values, file, role);
  });
  read_signing_keys(material, config::Values(snapshot));
  return material;
}

}  // namespace postern::tls
