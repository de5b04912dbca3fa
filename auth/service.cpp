#include "auth/service.h"

#include <fmt/format.h>

#include <utility>

#include "auth/token.h"
#include "common/base/encode.h"
#include "common/base/text.h"
#include "common/log/log.h"
#include "common/sasl/mechanism.h"
#include "common/sasl/password.h"

namespace postern::auth {

namespace {

using ipc::auth::Step;
using ipc::auth::StepKind;

constexpr std::chrono::seconds kTablesTime{60};
// A client has smtpd_timeout for each of its lines; no login has more than a few.
constexpr std::chrono::seconds kLoginTime{1800};
constexpr std::chrono::seconds kSweepPeriod{60};
// Over all clients: what is kept of one is about a kilobyte.
constexpr std::size_t kMaxLogins = 20'000;
constexpr std::size_t kNonceSize = 18;
constexpr std::string_view kNativeSetUp = "postern";

Step temporary(std::string why) {
  Step step;
  step.text = std::move(why);
  return step;
}

Step refused(std::string why, std::optional<std::string> username) {
  Step step;
  step.kind = StepKind::kFailed;
  step.text = std::move(why);
  step.username = std::move(username);
  return step;
}

}  // namespace

Service::Service(daemon::Process& process, sys::Fd maker, SettingsFiles files)
    : process_(process),
      files_(std::move(files)),
      server_(process.take_listener()),
      workers_(std::move(maker)),
      secret_(sasl::random_bytes(32)),
      sweep_([this] { end_old(); }) {
  configure();
}

void Service::configure() {
  profiles_ = config::configured_sasl_profiles(process_.values());
  mechanisms_.clear();
  workers_.set_limit(static_cast<std::size_t>(process_.values().count("auth_workers")));
}

void Service::start() {
  using namespace ipc::auth;
  auto& dispatcher = server_.dispatcher();
  dispatcher.serve<ListMechanisms>([this](ListMechanisms question, ipc::ChannelPtr /*channel*/) {
    return list(std::move(question));
  });
  dispatcher.serve<Begin>([this](Begin question, ipc::ChannelPtr channel) {
    return begin(std::move(question), std::move(channel));
  });
  dispatcher.serve<Continue>([this](Continue question, ipc::ChannelPtr channel) {
    return go_on(std::move(question), std::move(channel));
  });
  dispatcher.serve<FindToken>([this](FindToken question, ipc::ChannelPtr /*channel*/) {
    return find_token(std::move(question));
  });
  dispatcher.notice<Cancel>(
      [this](Cancel& notice, const ipc::ChannelPtr& channel) { cancel(notice.login, channel); });
  server_.on_closed([this](const ipc::ChannelPtr& channel) {
    const auto logins = logins_;
    for (const auto& [number, login] : logins) {
      if (login->channel.lock() == channel) cancel(number, channel);
    }
  });
  process_.on_reload([this] {
    if (!files_.read(process_.values())) {
      log::info("ending, to read files of the SASL library that are for the superuser alone");
      return process_.finish();
    }
    configure();
    workers_.retire_all();
  });
  process_.on_drain([this] {
    // What is asked from now on goes to the next process; logins under way have to begin again.
    server_.stop_accepting();
    process_.finish();
  });
  server_.only_for(process_.clients());
  server_.start();
}

const Service::Profile* Service::find_profile(std::uint64_t number) const {
  const auto found = profiles_.find(number);
  return found == profiles_.end() ? nullptr : &found->second;
}

std::string Service::set_up_of(const Profile& profile) {
  return profile.type == "cyrus" ? fmt::format("{}\n{}", profile.config_path, profile.path)
                                 : std::string(kNativeSetUp);
}

Job Service::job_of(const Profile& profile) const {
  Job job;
  job.path = profile.path;
  job.config_path = search_path(profile, process_.values().text("config_directory"));
  job.settings = files_.text_of(profile.number());
  job.service = profile.service;
  job.local_domain = profile.local_domain;
  job.hostname = profile.hostname;
  return job;
}

loop::Task<Result<ipc::auth::Mechanisms>> Service::list(ipc::auth::ListMechanisms question) {
  const Profile* const profile = find_profile(question.profile);
  if (profile == nullptr) {
    co_return fail(Error::Kind::kConfig, "no such SASL profile in the configuration");
  }
  ipc::auth::Mechanisms out;
  const auto add = [&out](std::string_view name) {
    out.mechanisms.push_back({std::string(name), sasl::traits_of(name)});
  };
  if (profile->type == "postern") {
    if (profile->password_maps.empty() && profile->pam_service.empty()) {
      co_return fail(Error::Kind::kConfig,
                     "neither smtpd_sasl_password_maps nor smtpd_sasl_pam_service is set");
    }
    for (const std::string_view name : {"PLAIN", "LOGIN"}) add(name);
    if (!profile->password_maps.empty()) {
      for (const std::string_view name : {"SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"}) add(name);
    }
    co_return out;
  }
  const auto known = mechanisms_.find(question.profile);
  if (known != mechanisms_.end()) co_return known->second;
  Job job = job_of(*profile);
  job.kind = JobKind::kListMechanisms;
  CO_TRY(const JobReply reply, co_await workers_.run(std::move(job), set_up_of(*profile), nullptr));
  if (reply.kind != StepKind::kDone) co_return fail_temporary(reply.text);
  for (const auto& name : reply.mechanisms) add(name);
  mechanisms_[question.profile] = out;
  co_return out;
}

// ---- logins

loop::Task<Result<Step>> Service::begin(ipc::auth::Begin question, ipc::ChannelPtr channel) {
  const Profile* const profile = find_profile(question.profile);
  if (profile == nullptr) {
    co_return fail(Error::Kind::kConfig, "no such SASL profile in the configuration");
  }
  if (logins_.size() >= kMaxLogins) co_return fail_temporary("too many logins under way");
  auto login = std::make_shared<Login>();
  login->number = ++last_login_;
  login->profile = question.profile;
  login->channel = channel;
  login->is_busy = true;
  login->client_address = question.client_address;
  if (profile->type == "cyrus") {
    Job job = job_of(*profile);
    job.kind = JobKind::kBegin;
    job.begin = std::move(question);
    auto step = co_await cyrus_step(login, std::move(job));
    co_return conclude(login, std::move(step));
  }
  login->native = make_native_login(question.mechanism, {std::move(question.channel_binding_type),
                                                         std::move(question.channel_binding)});
  if (login->native == nullptr) co_return refused("Invalid authentication mechanism", std::nullopt);
  auto first = login->native->read(std::move(question.initial_response));
  auto step = co_await native_step(login, std::move(first));
  co_return conclude(login, std::move(step));
}

loop::Task<Result<Step>> Service::go_on(ipc::auth::Continue question, ipc::ChannelPtr channel) {
  const auto found = logins_.find(question.login);
  // A login belongs to the process that began it.
  if (found == logins_.end() || found->second->channel.lock() != channel ||
      found->second->is_busy) {
    co_return temporary("the login is not known any more");
  }
  const LoginPtr login = found->second;
  login->is_busy = true;
  const Profile* const profile = find_profile(login->profile);
  if (profile == nullptr) {
    co_return conclude(login, temporary("the configuration has changed"));
  }
  if (login->native != nullptr) {
    auto read = login->native->read(std::move(question.response));
    auto step = co_await native_step(login, std::move(read));
    co_return conclude(login, std::move(step));
  }
  Job job = job_of(*profile);
  job.kind = JobKind::kContinue;
  job.response = std::move(question.response);
  auto step = co_await cyrus_step(login, std::move(job));
  co_return conclude(login, std::move(step));
}

loop::Task<Result<ipc::auth::Token>> Service::find_token(ipc::auth::FindToken question) {
  const auto& values = process_.values();
  if (!is_below(question.file, values.text("smtp_sasl_token_directory"))) {
    co_return fail(Error::Kind::kConfig,
                   fmt::format("{} is not below smtp_sasl_token_directory", question.file));
  }
  Job job;
  job.kind = JobKind::kFindToken;
  job.path = std::move(question.file);
  job.entry = values.text("smtp_sasl_token_command");
  job.is_refused = question.is_refused;
  CO_TRY(JobReply reply, co_await workers_.run(std::move(job), std::string(kTokenSetUp), nullptr));
  if (reply.kind != StepKind::kDone) co_return fail_temporary(std::move(reply.text));
  ipc::auth::Token token;
  token.text = std::move(reply.text);
  co_return token;
}

Step Service::conclude(const LoginPtr& login, Step step) {
  login->is_busy = false;
  const auto channel = login->channel.lock();
  const bool is_open = channel != nullptr && channel->is_open();
  if (step.kind == StepKind::kChallenge && is_open) {
    step.login = login->number;
    logins_[login->number] = login;
    if (!sweep_.is_armed()) sweep_.arm(loop::Clock::now() + kSweepPeriod);
  } else if (step.kind == StepKind::kChallenge) {
    logins_[login->number] = login;
    forget(login);
  } else {
    if (login->worker != nullptr) workers_.login_ends(std::exchange(login->worker, nullptr));
    logins_.erase(login->number);
  }
  return step;
}

void Service::cancel(std::uint64_t number, const ipc::ChannelPtr& channel) {
  const auto found = logins_.find(number);
  if (found == logins_.end()) return;
  const LoginPtr login = found->second;
  // One in a step ends with it: conclude() sees that the channel has closed.
  if (login->channel.lock() == channel && !login->is_busy) forget(login);
}

void Service::forget(const LoginPtr& login) {
  logins_.erase(login->number);
  if (login->worker == nullptr) return;
  Job job;
  if (const Profile* const profile = find_profile(login->profile)) job = job_of(*profile);
  job.kind = JobKind::kCancel;
  job.login = login->number;
  workers_.tell(std::exchange(login->worker, nullptr), std::move(job));
}

void Service::end_old() {
  const auto now = loop::Clock::now();
  const auto logins = logins_;
  for (const auto& [number, login] : logins) {
    if (!login->is_busy && login->began + kLoginTime <= now) forget(login);
  }
  if (!logins_.empty()) sweep_.arm(now + kSweepPeriod);
}

loop::Task<Step> Service::cyrus_step(LoginPtr login, Job job) {
  job.login = login->number;
  const Profile* const profile = find_profile(login->profile);
  const bool is_first = login->worker == nullptr;
  Workers::WorkerPtr worker = login->worker;
  auto reply = co_await workers_.run(std::move(job), set_up_of(*profile), &worker);
  if (!reply) co_return temporary(reply.error().text);
  if (is_first && reply->kind == StepKind::kChallenge) {
    login->worker = worker;
    workers_.login_begins(worker);
  }
  Step step;
  step.kind = reply->kind;
  step.text = std::move(reply->text);
  step.username = std::move(reply->username);
  co_return step;
}

loop::Task<Step> Service::native_step(LoginPtr login, NativeStep step) {
  if (auto* const want = std::get_if<WantEntry>(&step)) {
    auto entry = co_await scram_entry(login, std::move(want->username));
    if (!entry) co_return temporary(entry.error().text);
    step =
        login->native->take_entry(*std::move(entry), base64_encode(sasl::random_bytes(kNonceSize)));
  }
  if (auto* const challenge = std::get_if<Challenge>(&step)) {
    Step out;
    out.kind = StepKind::kChallenge;
    out.text = std::move(challenge->text);
    co_return out;
  }
  if (auto* const question = std::get_if<JudgePassword>(&step)) {
    co_return co_await judge(login, std::move(*question));
  }
  if (auto* const verified = std::get_if<Verified>(&step)) {
    Step out;
    out.kind = StepKind::kDone;
    out.username = std::move(verified->username);
    co_return out;
  }
  auto* const no = std::get_if<Refused>(&step);
  if (no == nullptr) co_return temporary("no such step");
  co_return refused(std::move(no->reason), std::move(no->username));
}

loop::Task<Result<std::optional<std::string>>> Service::find_entry(std::vector<std::string> tables,
                                                                   std::string local_domain,
                                                                   std::string username) {
  if (tables.empty()) co_return std::nullopt;
  ipc::tables::Lookup question;
  question.tables = std::move(tables);
  question.keys.push_back({username, false});
  if (!local_domain.empty() && username.find('@') == std::string::npos) {
    question.keys.push_back({fmt::format("{}@{}", username, local_domain), false});
  }
  CO_TRY(const auto found,
         co_await tables_.lookup(std::move(question), loop::Clock::now() + kTablesTime));
  if (!found.is_found) co_return std::nullopt;
  co_return found.value;
}

loop::Task<Step> Service::judge(LoginPtr login, JudgePassword question) {
  const Profile* const profile = find_profile(login->profile);
  if (profile == nullptr) co_return temporary("the configuration has changed");
  const std::string pam_service = profile->pam_service;
  auto entry =
      co_await find_entry(profile->password_maps, profile->local_domain, question.username);
  if (!entry) co_return temporary(entry.error().text);
  Job job;
  job.username = question.username;
  job.password = std::move(question.password);
  if (*entry) {
    job.kind = JobKind::kCheckPassword;
    job.entry = **std::move(entry);
  } else if (!pam_service.empty()) {
    job.kind = JobKind::kAskPam;
    job.service = pam_service;
    job.begin.client_address = login->client_address;
  } else {
    // As long as for one that there is.
    job.kind = JobKind::kCheckPassword;
    job.entry =
        "{SCRAM-SHA-256}" + sasl::print_scram_entry(made_up_entry(secret_, question.username));
  }
  auto reply = co_await workers_.run(std::move(job), std::string(kNativeSetUp), nullptr);
  if (!reply) co_return temporary(reply.error().text);
  Step step;
  step.kind = reply->kind;
  step.text = std::move(reply->text);
  step.username = std::move(question.username);
  if (step.kind == StepKind::kTemporary) {
    log::warning("SASL: password of {}: {}", *step.username, step.text);
  }
  co_return step;
}

loop::Task<Result<sasl::ScramEntry>> Service::scram_entry(LoginPtr login, std::string username) {
  const Profile* const profile = find_profile(login->profile);
  if (profile == nullptr) co_return fail_temporary("the configuration has changed");
  CO_TRY(auto entry, co_await find_entry(profile->password_maps, profile->local_domain, username));
  if (!entry) co_return made_up_entry(secret_, username);
  if (auto scram = sasl::scram_entry_of(*entry)) co_return *std::move(scram);
  if (!sasl::plain_password_of(*entry)) {
    log::warning("SASL: {} cannot log in with SCRAM: the entry is of another scheme", username);
    co_return made_up_entry(secret_, username);
  }
  Job job;
  job.kind = JobKind::kMakeScram;
  job.entry = *std::move(entry);
  CO_TRY(const JobReply reply,
         co_await workers_.run(std::move(job), std::string(kNativeSetUp), nullptr));
  auto made = sasl::parse_scram_entry(sasl::Hash::kSha256, reply.text);
  if (!made) co_return fail_temporary("no entry could be made");
  co_return *std::move(made);
}

}  // namespace postern::auth
