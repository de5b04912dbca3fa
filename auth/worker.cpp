#include "auth/worker.h"

#include <unistd.h>

#include <csignal>

#include "auth/cyrus.h"
#include "auth/jobs.h"
#include "auth/pam.h"
#include "auth/token.h"
#include "common/agent/packet.h"
#include "common/sasl/password.h"

namespace postern::auth {

namespace {

using ipc::auth::StepKind;

JobReply check_password(const Job& job) {
  JobReply reply;
  const auto checked = sasl::check_password(job.entry, job.password);
  if (checked) {
    reply.kind = *checked ? StepKind::kDone : StepKind::kFailed;
  } else {
    reply.text = checked.error().text;
  }
  return reply;
}

JobReply make_scram(const Job& job) {
  JobReply reply;
  const auto password = sasl::plain_password_of(job.entry);
  if (!password) return reply;
  reply.kind = StepKind::kDone;
  reply.text = sasl::print_scram_entry(sasl::make_scram_entry(
      sasl::Hash::kSha256, *password, sasl::random_bytes(16), sasl::kScramIterations));
  return reply;
}

JobReply do_job(Cyrus& cyrus, const Job& job) {
  switch (job.kind) {
    case JobKind::kListMechanisms:
    case JobKind::kBegin:
    case JobKind::kContinue:
    case JobKind::kCancel:
      return cyrus.run(job);
    case JobKind::kCheckPassword:
      return check_password(job);
    case JobKind::kMakeScram:
      return make_scram(job);
    case JobKind::kAskPam:
      return ask_pam(job);
    case JobKind::kFindToken:
      return find_token(job);
  }
  return {};
}

}  // namespace

void serve_auth_jobs(int socket) {
  Cyrus cyrus;
  while (auto packet = agent::wait_packet(socket)) {
    auto job = ipc::decode<Job>(packet->bytes);
    sasl::wipe(packet->bytes);
    if (!job) return;
    // A library that never comes back takes this process with it, and no other.
    ::signal(SIGALRM, SIG_DFL);
    ::signal(SIGPIPE, SIG_IGN);
    ::alarm(static_cast<unsigned>(kWorkerPatience.count()));
    const JobReply reply = do_job(cyrus, *job);
    ::alarm(0);
    sasl::wipe(job->password);
    sasl::wipe(job->response);
    if (job->begin.initial_response) sasl::wipe(*job->begin.initial_response);
    if (!agent::send_packet(socket, ipc::encode(reply))) return;
  }
}

}  // namespace postern::auth
