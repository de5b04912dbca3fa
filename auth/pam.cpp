#include "auth/pam.h"

#include <security/pam_appl.h>

#include <cstdlib>
#include <cstring>
#include <new>

namespace postern::auth {

namespace {

using ipc::auth::StepKind;

constexpr int kMaxMessages = 32;

// Answers with the password where something unseen is asked for, and with nothing where a name is.
int converse(int count, const pam_message** messages, pam_response** answers, void* context) {
  const auto& job = *static_cast<const Job*>(context);
  if (count <= 0 || count > kMaxMessages) return PAM_CONV_ERR;
  // PAM frees what it gets with free(3).
  auto* const out = static_cast<pam_response*>(
      std::calloc(static_cast<std::size_t>(count), sizeof(pam_response)));
  if (out == nullptr) return PAM_BUF_ERR;
  for (int i = 0; i < count; ++i) {
    const int style = messages[i]->msg_style;
    if (style == PAM_PROMPT_ECHO_OFF) out[i].resp = ::strdup(job.password.c_str());
    if (style == PAM_PROMPT_ECHO_ON) out[i].resp = ::strdup(job.username.c_str());
  }
  *answers = out;
  return PAM_SUCCESS;
}

}  // namespace

JobReply ask_pam(const Job& job) {
  JobReply reply;
  const bool has_nul =
      job.username.find('\0') != std::string::npos || job.password.find('\0') != std::string::npos;
  if (job.username.empty() || job.password.empty() || has_nul) {
    reply.kind = StepKind::kFailed;
    return reply;
  }
  // converse() only reads.
  const pam_conv conversation{&converse, const_cast<Job*>(&job)};
  pam_handle_t* handle = nullptr;
  int status = ::pam_start(job.service.c_str(), job.username.c_str(), &conversation, &handle);
  if (status != PAM_SUCCESS) {
    reply.text = "PAM cannot be started";
    return reply;
  }
  if (!job.begin.client_address.empty()) {
    ::pam_set_item(handle, PAM_RHOST, job.begin.client_address.c_str());
  }
  ::pam_set_item(handle, PAM_TTY, "smtp");
  status = ::pam_authenticate(handle, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
  if (status == PAM_SUCCESS) status = ::pam_acct_mgmt(handle, PAM_SILENT);
  switch (status) {
    case PAM_SUCCESS:
      reply.kind = StepKind::kDone;
      break;
    case PAM_AUTH_ERR:
    case PAM_USER_UNKNOWN:
    case PAM_MAXTRIES:
    case PAM_CRED_INSUFFICIENT:
      reply.kind = StepKind::kFailed;
      break;
    // Right, and yet not allowed in.
    case PAM_PERM_DENIED:
    case PAM_ACCT_EXPIRED:
    case PAM_NEW_AUTHTOK_REQD:
    case PAM_CRED_EXPIRED:
      reply.kind = StepKind::kFailed;
      reply.text = ::pam_strerror(handle, status);
      break;
    default:
      reply.text = "PAM: " + std::string(::pam_strerror(handle, status));
  }
  ::pam_end(handle, status);
  return reply;
}

}  // namespace postern::auth
