#include "auth/cyrus.h"

#include <fmt/format.h>
#include <sasl/sasl.h>

#include <array>
#include <bit>
#include <cstring>

#include "auth/settings_files.h"
#include "common/base/text.h"

namespace postern::auth {

namespace {

using ipc::auth::StepKind;

// The library keeps the pointers that it is given.
std::string config_path;
std::vector<std::string>* warnings = nullptr;

int get_config_path(void* /*context*/, char** path) {
  *path = ::strdup(config_path.c_str());
  return *path == nullptr ? SASL_NOMEM : SASL_OK;
}

std::map<std::string, std::string, std::less<>> settings;

int get_option(void* /*context*/, const char* /*plugin*/, const char* option, const char** result,
               unsigned* size) {
  const auto found = settings.find(to_lower(option));
  if (found == settings.end()) return SASL_FAIL;  // the library's own files are next
  *result = found->second.c_str();
  if (size != nullptr) *size = static_cast<unsigned>(found->second.size());
  return SASL_OK;
}

int take_log(void* /*context*/, int level, const char* message) {
  // Failures are told by the answer, and details would show passwords.
  if (level != SASL_LOG_ERR && level != SASL_LOG_WARN) return SASL_OK;
  if (warnings != nullptr && message != nullptr && warnings->size() < 10) {
    warnings->emplace_back(message);
  }
  return SASL_OK;
}

// The library's own type for a callback of any signature.
template <typename Function>
auto any(Function function) {
  return std::bit_cast<int (*)()>(function);
}

const sasl_callback_t* callbacks(bool has_path) {
  static const std::array<sasl_callback_t, 4> with_path = {{
      {SASL_CB_LOG, any(&take_log), nullptr},
      {SASL_CB_GETOPT, any(&get_option), nullptr},
      {SASL_CB_GETCONFPATH, any(&get_config_path), nullptr},
      {SASL_CB_LIST_END, nullptr, nullptr},
  }};
  static const std::array<sasl_callback_t, 3> without_path = {{
      {SASL_CB_LOG, any(&take_log), nullptr},
      {SASL_CB_GETOPT, any(&get_option), nullptr},
      {SASL_CB_LIST_END, nullptr, nullptr},
  }};
  return has_path ? with_path.data() : without_path.data();
}

std::string reason_of(int status) {
  // Whether there is such a user is not for everybody to know.
  if (status == SASL_NOUSER) status = SASL_BADAUTH;
  return ::sasl_errstring(status, nullptr, nullptr);
}

}  // namespace

struct Cyrus::Login {
  Login() = default;
  Login(const Login&) = delete;
  Login& operator=(const Login&) = delete;
  ~Login() { ::sasl_dispose(&connection); }

  sasl_conn_t* connection = nullptr;
  // The library keeps pointers to what it is told of the client.
  ipc::auth::Begin begin;
  sasl_channel_binding_t binding{};
};

Cyrus::Cyrus() = default;
Cyrus::~Cyrus() = default;

bool Cyrus::set_up(const Job& job, JobReply& reply) {
  if (is_set_up_) return true;
  config_path = job.config_path;
  settings = parse_sasl_options(job.settings);
  const int status = ::sasl_server_init(callbacks(!config_path.empty()), job.path.c_str());
  is_set_up_ = status == SASL_OK;
  if (!is_set_up_) {
    reply.text = "SASL per-process initialization failed: " + reason_of(status);
  }
  return is_set_up_;
}

Cyrus::LoginPtr Cyrus::connect(const Job& job, JobReply& reply) {
  auto login = std::make_unique<Login>();
  const char* const realm = job.local_domain.empty() ? nullptr : job.local_domain.c_str();
  const int status = ::sasl_server_new(job.service.c_str(), job.hostname.c_str(), realm, nullptr,
                                       nullptr, nullptr, 0, &login->connection);
  if (status != SASL_OK) {
    reply.text = "SASL per-connection initialization failed: " + reason_of(status);
    return nullptr;
  }
  // No security layers: SMTP has TLS for that. What may be offered is smtpd's to judge.
  sasl_security_properties_t properties{};
  properties.max_ssf = 0;
  properties.maxbufsize = 0;
  ::sasl_setprop(login->connection, SASL_SEC_PROPS, &properties);
  return login;
}

void Cyrus::list(const Job& job, JobReply& reply) {
  const LoginPtr login = connect(job, reply);
  if (login == nullptr) return;
  // EXTERNAL is in the list of those only who have somebody to name.
  const sasl_ssf_t external = 0;
  ::sasl_setprop(login->connection, SASL_SSF_EXTERNAL, &external);
  ::sasl_setprop(login->connection, SASL_AUTH_EXTERNAL, "anybody");
  const char* text = nullptr;
  unsigned size = 0;
  int count = 0;
  const int status = ::sasl_listmech(login->connection, nullptr, "", " ", "", &text, &size, &count);
  if (status != SASL_OK) {
    reply.text = "no applicable SASL mechanisms: " + reason_of(status);
    return;
  }
  for (const auto word : split_words(std::string_view(text, size))) {
    reply.mechanisms.emplace_back(word);
  }
  reply.kind = StepKind::kDone;
}

void Cyrus::begin(const Job& job, JobReply& reply) {
  if (logins_.size() >= kMaxLoginsPerWorker) {
    reply.text = "too many logins under way";
    return;
  }
  LoginPtr login = connect(job, reply);
  if (login == nullptr) return;
  login->begin = job.begin;
  const auto& begin = login->begin;
  if (!begin.certificate_name.empty()) {
    ::sasl_setprop(login->connection, SASL_AUTH_EXTERNAL, begin.certificate_name.c_str());
  }
  auto& binding = login->binding;
  if (!begin.channel_binding.empty()) {
    binding.name = begin.channel_binding_type.c_str();
    binding.data =
        static_cast<const unsigned char*>(static_cast<const void*>(begin.channel_binding.data()));
    binding.len = begin.channel_binding.size();
    binding.critical = 0;
    ::sasl_setprop(login->connection, SASL_CHANNEL_BINDING, &binding);
  }
  const std::string* const initial = begin.initial_response ? &*begin.initial_response : nullptr;
  const char* output = nullptr;
  unsigned size = 0;
  const int status = ::sasl_server_start(
      login->connection, begin.mechanism.c_str(), initial == nullptr ? nullptr : initial->data(),
      initial == nullptr ? 0 : static_cast<unsigned>(initial->size()), &output, &size);
  conclude(status, output, size, job.login, std::move(login), reply);
}

void Cyrus::go_on(const Job& job, JobReply& reply) {
  const auto found = logins_.find(job.login);
  if (found == logins_.end()) {
    reply.text = "the login is not known any more";
    return;
  }
  LoginPtr login = std::move(found->second);
  logins_.erase(found);
  const char* output = nullptr;
  unsigned size = 0;
  const int status = ::sasl_server_step(login->connection, job.response.data(),
                                        static_cast<unsigned>(job.response.size()), &output, &size);
  conclude(status, output, size, job.login, std::move(login), reply);
}

void Cyrus::conclude(int status, const char* output, unsigned size, std::uint64_t number,
                     LoginPtr login, JobReply& reply) {
  const void* name = nullptr;
  switch (status) {
    case SASL_CONTINUE:
      reply.kind = StepKind::kChallenge;
      reply.text.assign(output == nullptr ? "" : output, output == nullptr ? 0 : size);
      logins_[number] = std::move(login);
      return;
    case SASL_OK:
      if (::sasl_getprop(login->connection, SASL_USERNAME, &name) == SASL_OK && name != nullptr) {
        reply.kind = StepKind::kDone;
        reply.username = static_cast<const char*>(name);
      } else {
        reply.kind = StepKind::kFailed;
        reply.text = "cannot look up the authenticated SASL username";
      }
      return;
    // What is not the client's doing.
    case SASL_TRYAGAIN:
    case SASL_UNAVAIL:
    case SASL_NOMEM:
      reply.kind = StepKind::kTemporary;
      break;
    default:
      reply.kind = StepKind::kFailed;
  }
  reply.text = reason_of(status);
  if (::sasl_getprop(login->connection, SASL_USERNAME, &name) == SASL_OK && name != nullptr) {
    reply.username = static_cast<const char*>(name);
  }
}

JobReply Cyrus::run(const Job& job) {
  JobReply reply;
  warnings = &reply.warnings;
  if (set_up(job, reply)) {
    if (job.kind == JobKind::kListMechanisms) list(job, reply);
    if (job.kind == JobKind::kBegin) begin(job, reply);
    if (job.kind == JobKind::kContinue) go_on(job, reply);
    if (job.kind == JobKind::kCancel) logins_.erase(job.login);
  }
  warnings = nullptr;
  return reply;
}

}  // namespace postern::auth
