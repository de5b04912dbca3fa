#include "smtp/tls_files.h"

#include <dirent.h>

#include <algorithm>
#include <memory>

#include "common/base/text.h"
#include "common/config/load.h"
#include "common/log/log.h"
#include "common/sys/fd.h"

namespace postern::smtp {

namespace {

constexpr std::size_t kMaxFile = std::size_t{4} << 20;
constexpr std::size_t kMaxAuthorities = std::size_t{8} << 20;

std::string read_or_warn(const std::string& path, std::string_view parameter) {
  if (path.empty()) return {};
  auto text = config::read_file(path, kMaxFile);
  if (text) return *std::move(text);
  log::warning("{} = {}: {}", parameter, path, text.error().text);
  return {};
}

// "5ed36f99.0": what openssl-rehash(1) makes, and the library itself would look for.
bool is_hashed_name(std::string_view name) {
  constexpr std::string_view kHex = "0123456789abcdef";
  return name.size() > 9 && name[8] == '.' &&
         name.substr(0, 8).find_first_not_of(kHex) == std::string_view::npos &&
         is_all_digits(name.substr(9));
}

std::string read_directory(const std::string& path, std::string_view parameter) {
  if (path.empty()) return {};
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), ::closedir);
  if (!dir) {
    log::warning("{} = {}: {}", parameter, path, sys::errno_text(errno));
    return {};
  }
  std::string all;
  while (const dirent* entry = ::readdir(dir.get())) {
    if (!is_hashed_name(entry->d_name) || all.size() > kMaxAuthorities) continue;
    const auto text = config::read_file(path + "/" + entry->d_name, kMaxFile);
    if (text) all += *text + "\n";
  }
  return all;
}

void add_identity(std::vector<tls::IdentityPtr>& identities, const std::string& certificate,
                  const std::string& key, std::string_view parameter) {
  if (certificate.empty() || certificate == "none") return;
  const std::string chain = read_or_warn(certificate, parameter);
  const std::string secret = key == certificate ? chain : read_or_warn(key, parameter);
  if (chain.empty() || secret.empty()) return;
  auto identity = tls::parse_identity(chain, secret);
  if (identity) {
    identities.push_back(*std::move(identity));
  } else {
    log::warning("{} = {}: {}; no certificate of ours is shown", parameter, certificate,
                 identity.error().text);
  }
}

}  // namespace

smtpclient::TlsMaterials read_tls_materials(const config::Values& all,
                                            smtpclient::Protocol protocol) {
  const config::Values values = protocol == smtpclient::Protocol::kLmtp ? all.for_lmtp() : all;
  config::Problems problems;
  const auto params = config::load<config::TlsParams>(values, problems);
  smtpclient::TlsMaterials out;
  if (!smtpclient::TlsSettings::load(params, {}).is_used()) return out;
  out.authorities = read_or_warn(params.smtp_tls_CAfile, "smtp_tls_CAfile");
  out.authorities += "\n" + read_directory(params.smtp_tls_CApath, "smtp_tls_CApath");
  for (const auto& file : params.smtp_tls_chain_files) {
    const std::string chain = read_or_warn(file, "smtp_tls_chain_files");
    auto identities = tls::parse_identities(chain);
    if (identities) {
      std::ranges::move(*identities, std::back_inserter(out.identities));
    } else if (!chain.empty()) {
      log::warning("smtp_tls_chain_files: {}: {}", file, identities.error().text);
    }
  }
  if (params.smtp_tls_chain_files.empty()) {
    add_identity(out.identities, params.smtp_tls_cert_file, params.smtp_tls_key_file,
                 "smtp_tls_cert_file");
    add_identity(out.identities, params.smtp_tls_dcert_file, params.smtp_tls_dkey_file,
                 "smtp_tls_dcert_file");
    add_identity(out.identities, params.smtp_tls_eccert_file, params.smtp_tls_eckey_file,
                 "smtp_tls_eccert_file");
  }
  if (!params.smtp_tls_trust_anchor_file.empty()) {
    out.anchor_files[params.smtp_tls_trust_anchor_file] =
        read_or_warn(params.smtp_tls_trust_anchor_file, "smtp_tls_trust_anchor_file");
  }
  return out;
}

}  // namespace postern::smtp
