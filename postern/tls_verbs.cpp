#include "postern/tls_verbs.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <span>
#include <string>
#include <vector>

#include "common/base/text.h"
#include "common/config/param.h"
#include "common/sys/fd.h"
#include "common/tls/certificate.h"
#include "postern/config_edit.h"
#include "postern/mail_system.h"
#include "postern/tls_keys.h"

namespace postern::control {

namespace {

constexpr std::size_t kMaxKeyFile = std::size_t{1} << 20;

struct Request {
  std::string algorithm;
  std::string bits;
  std::string host;  // -h
  std::string key;   // -k
  std::vector<std::string> words;
};

struct Made {
  std::string key_file;
  std::string certificate_file;
  std::string algorithm;
};

int fail_with(std::string_view text) {
  fmt::print(stderr, "postern tls: {}\n", text);
  return 1;
}

int usage() {
  fmt::print(
      stderr,
      "usage: postern tls enable-client | enable-server\n"
      "       postern tls new-server-key|new-server-cert [-a rsa|ecdsa] [-b BITS] [HOST...]\n"
      "       postern tls deploy-server-cert CERTIFICATE KEY\n"
      "       postern tls output-server-csr|csr [-k KEY] [HOST...]\n"
      "       postern tls output-server-tlsa|tlsa [-h HOST] [KEY...]\n"
      "       postern tls new-cert [HOST...]\n"
      "       postern tls test DOMAIN|[HOST][:PORT]\n"
      "       postern tls all-default-client | all-default-server\n");
  return 1;
}

// All settings of one side of TLS are as they came: then a verb may choose for the administrator.
bool is_all_default(const config::Values& values, std::string_view prefix) {
  return std::ranges::none_of(config::all_params(), [&](const config::ParamInfo& param) {
    const std::string_view name = param.name;
    const bool concerns = name.starts_with(std::string(prefix) + "_tls_") ||
                          name == std::string(prefix) + "_use_tls" ||
                          name == std::string(prefix) + "_enforce_tls";
    return concerns && values.is_set(name);
  });
}

class Tool {
 public:
  explicit Tool(const MailSystem& system) : system_(system), values_(system.values()) {}

  int enable_client() const;
  int enable_server(const Request& request) const;
  int new_server_key(const Request& request, bool keep_key) const;
  int deploy(const std::string& certificate, const std::string& key) const;
  int csr(const Request& request) const;
  int tlsa(const Request& request) const;
  int test(const Request& request) const;
  [[nodiscard]] bool is_default(std::string_view prefix) const {
    return is_all_default(values_, prefix);
  }

 private:
  [[nodiscard]] std::vector<std::string> names_of(const std::vector<std::string>& words) const {
    if (!words.empty()) return words;
    return {values_.text("myhostname")};
  }
  [[nodiscard]] std::string path_of(const std::string& name) const {
    return name.starts_with('/') ? name : system_.directory + "/" + name;
  }
  // "rsa" and "ecdsa" stand for the key of main.cf.
  [[nodiscard]] std::string key_path(const std::string& name) const {
    if (name == "rsa") return values_.text("smtpd_tls_key_file");
    if (name == "ecdsa") return values_.text("smtpd_tls_eckey_file");
    return path_of(name);
  }
  [[nodiscard]] Result<tls::KeyPtr> read_key(const std::string& name) const;
  [[nodiscard]] Result<Made> make(const Request& request, bool keep_key) const;
  [[nodiscard]] int edit(const std::vector<MainEdit>& edits) const;

  const MailSystem& system_;
  config::Values values_;
};

// Made under its final name, for nobody but root to read; an existing file is never written over.
Result<void> write_new(const std::string& path, std::string_view text, mode_t mode) {
  sys::Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!fd) return sys::fail_errno("make " + path);
  while (!text.empty()) {
    const ssize_t count = ::write(fd.get(), text.data(), text.size());
    if (count < 0) return sys::fail_errno("write " + path);
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  if (::fsync(fd.get()) < 0) return sys::fail_errno("flush " + path);
  return fd.close_checked();
}

Result<tls::KeyPtr> Tool::read_key(const std::string& name) const {
  const std::string path = key_path(name);
  if (path.empty() || path == "none") {
    return fail(Error::Kind::kConfig, fmt::format("main.cf names no {} key", name));
  }
  TRY(const std::string text, config::read_file(path, kMaxKeyFile));
  auto key = tls::parse_private_key(text);
  if (!key) return fail(key.error().kind, path + ": " + key.error().text);
  return key;
}

int Tool::edit(const std::vector<MainEdit>& edits) const {
  const auto done = edit_file(
      system_.directory + "/main.cf",
      [&](std::string_view text) -> Result<std::string> { return edit_main_cf(text, edits); });
  if (!done) return fail_with(done.error().text);
  for (const auto& each : edits) fmt::print("{} = {}\n", each.name, each.value);
  fmt::print("main.cf is changed; `postern reload` makes it count.\n");
  return 0;
}

int Tool::enable_client() const {
  const std::vector<MainEdit> edits = {
      {MainEdit::Kind::kSet, "smtp_tls_security_level", "may"},
      {MainEdit::Kind::kSet, "smtp_tls_loglevel", "1"},
  };
  if (is_default("smtp")) return edit(edits);
  fmt::print("Some smtp_tls_ settings are not at their defaults; nothing was changed. Consider:\n");
  for (const auto& each : edits) fmt::print("    {} = {}\n", each.name, each.value);
  return 1;
}

Result<Made> Tool::make(const Request& request, bool keep_key) const {
  Made made;
  made.algorithm = request.algorithm.empty() ? "rsa" : request.algorithm;
  tls::KeyPtr key;
  if (keep_key) {
    auto old = read_key(made.algorithm);
    if (old) key = *std::move(old);
  }
  if (!key) {
    TRY(key, make_key(made.algorithm, request.bits));
  }
  TRY(const std::string certificate, make_certificate(*key, names_of(request.words)));
  const std::string_view kind = made.algorithm == "ecdsa" ? "ec" : "";
  // The second made within a second is called by a later one.
  for (std::time_t now = std::time(nullptr);; ++now) {
    const std::string stamp = fmt::format("{:%Y%m%d-%H%M%S}", fmt::gmtime(now));
    made.key_file = fmt::format("{}/{}key-{}.pem", system_.directory, kind, stamp);
    made.certificate_file = fmt::format("{}/{}cert-{}.pem", system_.directory, kind, stamp);
    if (::access(made.key_file.c_str(), F_OK) != 0) break;
  }
  DO(write_new(made.key_file, print_key(*key), 0600));
  DO(write_new(made.certificate_file, certificate, 0644));
  return made;
}

std::vector<MainEdit> deployment(const std::string& certificate, const std::string& key,
                                 bool is_ecdsa) {
  const std::string kind = is_ecdsa ? "ec" : "";
  return {{MainEdit::Kind::kSet, fmt::format("smtpd_tls_{}cert_file", kind), certificate},
          {MainEdit::Kind::kSet, fmt::format("smtpd_tls_{}key_file", kind), key}};
}

int Tool::enable_server(const Request& request) const {
  auto made = make(request, false);
  if (!made) return fail_with(made.error().text);
  auto edits = deployment(made->certificate_file, made->key_file, made->algorithm == "ecdsa");
  edits.push_back({MainEdit::Kind::kSet, "smtpd_tls_security_level", "may"});
  edits.push_back({MainEdit::Kind::kSet, "smtpd_tls_received_header", "yes"});
  edits.push_back({MainEdit::Kind::kSet, "smtpd_tls_loglevel", "1"});
  if (is_default("smtpd")) return edit(edits);
  fmt::print("Some smtpd_tls_ settings are not at their defaults; main.cf stays. Consider:\n");
  for (const auto& each : edits) fmt::print("    {} = {}\n", each.name, each.value);
  return 1;
}

int Tool::new_server_key(const Request& request, bool keep_key) const {
  const auto made = make(request, keep_key);
  if (!made) return fail_with(made.error().text);
  fmt::print(
      "New private key:             {}\n"
      "New self-signed certificate: {}\n\n"
      "For a certificate of an authority, send it what this prints, and put its answer, chain\n"
      "included, in the place of {}:\n"
      "    postern tls output-server-csr -k {}\n\n"
      "With DANE, publish what this prints beside the records that are there, and wait until\n"
      "everybody sees it:\n"
      "    postern tls output-server-tlsa {}\n\n"
      "Then use them:\n"
      "    postern tls deploy-server-cert {} {}\n",
      made->key_file, made->certificate_file, made->certificate_file, made->key_file,
      made->key_file, made->certificate_file, made->key_file);
  return 0;
}

int Tool::deploy(const std::string& certificate, const std::string& key) const {
  const std::string certificate_path = path_of(certificate);
  const std::string private_path = path_of(key);
  auto chain = config::read_file(certificate_path, kMaxKeyFile);
  if (!chain) return fail_with(chain.error().text);
  auto secret = config::read_file(private_path, kMaxKeyFile);
  if (!secret) return fail_with(secret.error().text);
  const auto identity = tls::parse_identity(*chain, *secret);
  if (!identity) return fail_with(identity.error().text);
  const bool is_ecdsa = EVP_PKEY_get_base_id((*identity)->key.get()) == EVP_PKEY_EC;
  return edit(deployment(certificate_path, private_path, is_ecdsa));
}

int Tool::csr(const Request& request) const {
  const auto key = read_key(request.key.empty() ? "rsa" : request.key);
  if (!key) return fail_with(key.error().text);
  const auto text = make_request(**key, names_of(request.words));
  if (!text) return fail_with(text.error().text);
  fmt::print("{}", *text);
  return 0;
}

int Tool::tlsa(const Request& request) const {
  const std::string host = request.host.empty() ? values_.text("myhostname") : request.host;
  std::vector<std::string> keys = request.words;
  if (keys.empty()) {
    for (const std::string name : {"rsa", "ecdsa"}) {
      const std::string path = key_path(name);
      if (!path.empty() && path != "none") keys.push_back(name);
    }
  }
  if (keys.empty()) return fail_with("main.cf names no key (smtpd_tls_key_file)");
  for (const auto& name : keys) {
    const auto key = read_key(name);
    if (!key) return fail_with(key.error().text);
    fmt::print("{}\n", tlsa_record(**key, host));
  }
  return 0;
}

// A program of its own: it needs what no other verb does, and they should start quickly.
int Tool::test(const Request& request) const {
  const std::string program = system_.paths.daemon_directory + "/tlstest";
  std::vector<std::string> words = {"tlstest", "-c", system_.directory, request.words.front()};
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  ::execv(program.c_str(), arguments.data());
  return fail_with(fmt::format("execute {}: {}", program, sys::errno_text(errno)));
}

}  // namespace

int tls_main(int argc, char** argv) {
  if (argc < 2) return usage();
  const std::string_view verb = argv[1];
  Request request;
  ::optind = 2;
  ::opterr = 0;
  for (int c = 0; (c = ::getopt(argc, argv, "a:b:h:k:r:")) != -1;) {
    if (c == '?') return usage();
    if (c == 'a') request.algorithm = ::optarg;
    if (c == 'b') request.bits = ::optarg;
    if (c == 'h') request.host = ::optarg;
    if (c == 'k') request.key = ::optarg;
  }
  request.words.assign(argv + ::optind, argv + argc);
  const auto system = open_mail_system();
  if (!system) return 1;
  const Tool tool(*system);
  if (verb == "enable-client") return tool.enable_client();
  if (verb == "enable-server") return tool.enable_server(request);
  if (verb == "new-server-key") return tool.new_server_key(request, false);
  if (verb == "new-server-cert") return tool.new_server_key(request, true);
  if (verb == "new-cert") {
    // P-256 where nobody asks for another: all peers of this decade know it, and it costs least.
    if (request.algorithm.empty()) request.algorithm = "ecdsa";
    return tool.new_server_key(request, false);
  }
  if (verb == "deploy-server-cert" && request.words.size() == 2) {
    return tool.deploy(request.words[0], request.words[1]);
  }
  if (verb == "output-server-csr" || verb == "csr") return tool.csr(request);
  if (verb == "output-server-tlsa" || verb == "tlsa") return tool.tlsa(request);
  if (verb == "test" && request.words.size() == 1) return tool.test(request);
  if (verb == "all-default-client") return tool.is_default("smtp") ? 0 : 1;
  if (verb == "all-default-server") return tool.is_default("smtpd") ? 0 : 1;
  return usage();
}

}  // namespace postern::control
