#include "common/tls/settings.h"

#include "common/base/text.h"

namespace postern::tls {

namespace {

class Reader {
 public:
  Reader(const config::Values& values, Role role, config::Problems& problems)
      : values_(values), role_(role), problems_(problems) {}

  // "smtpd_tls_ciphers" of a server, "smtp_tls_ciphers" or "lmtp_tls_ciphers" of a client.
  [[nodiscard]] std::string name(std::string_view suffix) const {
    return role_ == Role::kServer ? fmt::format("smtpd_{}", suffix)
                                  : values_.member_name(fmt::format("smtp_{}", suffix));
  }

  template <typename T, typename Parse>
  T parsed(const std::string& param, const Parse& parse, T instead) {
    auto result = parse();
    if (result) return *std::move(result);
    problems_.push_back(values_.problem(param, result.error().text));
    return instead;
  }

 private:
  const config::Values& values_;
  Role role_;
  config::Problems& problems_;
};

std::vector<std::string> groups_of(const config::Values& values, Role role) {
  // A client offers what the server may choose from; smtpd_tls_eecdh_grade is the server's alone.
  const std::string grade = role == Role::kServer ? values.text("smtpd_tls_eecdh_grade") : "auto";
  if (grade == "strong") return {values.text("tls_eecdh_strong_curve")};
  if (grade == "ultra") return {values.text("tls_eecdh_ultra_curve")};
  auto names = values.list("tls_eecdh_auto_curves");
  for (auto& group : values.list("tls_ffdhe_auto_groups")) names.push_back(std::move(group));
  return names;
}

}  // namespace

CipherLists read_cipher_lists(const config::Values& values) {
  return {.high = values.text("tls_high_cipherlist"),
          .medium = values.text("tls_medium_cipherlist"),
          .low = values.text("tls_low_cipherlist"),
          .export_grade = values.text("tls_export_cipherlist"),
          .null = values.text("tls_null_cipherlist")};
}

Algorithms read_algorithms(const config::Values& values, Role role, Demand demand,
                           config::Problems& problems) {
  Reader reader(values, role, problems);
  const bool is_mandatory = demand == Demand::kMandatory;
  Algorithms algorithms;

  const auto protocols = reader.name(is_mandatory ? "tls_mandatory_protocols" : "tls_protocols");
  algorithms.protocols = reader.parsed(
      protocols, [&] { return parse_protocols(values.text(protocols)); },
      parse_protocols(">=TLSv1").value());

  // tls_exclude_ciphers counts for both, the mandatory list on top of it.
  auto exclusions = values.list(reader.name("tls_exclude_ciphers"));
  if (is_mandatory) {
    for (auto& more : values.list(reader.name("tls_mandatory_exclude_ciphers"))) {
      exclusions.push_back(std::move(more));
    }
  }
  const auto ciphers = reader.name(is_mandatory ? "tls_mandatory_ciphers" : "tls_ciphers");
  // The cipher list of Postfix 2.2 goes before the grade, where somebody still has it.
  const auto old_list = values.text(reader.name("tls_cipherlist"));
  const auto lists = read_cipher_lists(values);
  algorithms.ciphers = reader.parsed(
      ciphers,
      [&] {
        auto of_old = lists;
        if (!old_list.empty()) of_old.medium = old_list;
        return cipher_string(of_old, old_list.empty() ? values.text(ciphers) : "medium",
                             exclusions);
      },
      lists.medium);

  algorithms.options = reader.parsed(
      "tls_ssl_options", [&] { return parse_ssl_options(values.list("tls_ssl_options")); },
      std::uint64_t{0});
  algorithms.workarounds_off = reader.parsed(
      "tls_disable_workarounds",
      [&] { return parse_workarounds(values.list("tls_disable_workarounds")); }, std::uint64_t{0});
  algorithms.groups = usable_groups(groups_of(values, role));
  return algorithms;
}

std::vector<IdentityPtr> read_identities(const config::Values& values, Role role,
                                         config::Problems& problems) {
  std::vector<IdentityPtr> identities;
  const auto add = [&](const std::string& parameter, const std::string& path,
                       const std::string& text, bool is_chain) {
    auto parsed = parse_public_identities(text, is_chain);
    if (!parsed) {
      problems.push_back(
          values.problem(parameter, fmt::format("{}: {}", path, parsed.error().text)));
      return;
    }
    for (auto& identity : *parsed) identities.push_back(std::move(identity));
  };
  // Chain files are read as one text: a key may be in one file and its certificate in the next.
  std::string chain;
  std::vector<std::string> chain_files;
  std::string chain_parameter;
  for (const auto& file : named_files(values, role)) {
    if (file.kind != FileKind::kChain && file.kind != FileKind::kCertificate) continue;
    const auto text = values.file(file_name(file.path));
    if (!text) continue;  // master has said why
    if (file.kind == FileKind::kCertificate) {
      add(file.parameter, file.path, *text, false);
      continue;
    }
    chain += *text + "\n";
    chain_files.push_back(file.path);
    chain_parameter = file.parameter;
  }
  if (!chain.empty()) add(chain_parameter, join(chain_files, ", "), chain, true);
  return identities;
}

std::string read_authorities(const config::Values& values, Role role) {
  return read_trust(values, role).authorities;
}

Trust read_trust(const config::Values& values, Role role) {
  Trust trust;
  for (const auto& file : named_files(values, role)) {
    if (file.kind != FileKind::kAuthorities && file.kind != FileKind::kDirectory) continue;
    const std::string text = values.file(file_name(file.path)).value_or("") + '\n';
    trust.authorities += text;
    if (file.kind == FileKind::kAuthorities && file.parameter != "tls_append_default_CA") {
      trust.announced += text;
    }
  }
  trust.any_purpose = role == Role::kServer && values.flag("tls_trust_server_ccerts");
  trust.depth = static_cast<unsigned>(
      values.count(role == Role::kServer ? std::string("smtpd_tls_ccert_verifydepth")
                                         : values.member_name("smtp_tls_scert_verifydepth")));
  return trust;
}

std::string read_dh_parameters(const config::Values& values) {
  for (const auto& file : named_files(values, Role::kServer)) {
    if (file.kind == FileKind::kParameters) {
      return values.file(file_name(file.path)).value_or("");
    }
  }
  return {};
}

}  // namespace postern::tls
