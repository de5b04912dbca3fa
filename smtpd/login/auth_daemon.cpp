#include "smtpd/login/auth_daemon.h"

#include "common/ipc/auth.h"

namespace postern::smtpd {

namespace {

using ipc::auth::StepKind;

constexpr std::chrono::seconds kListTime{10};
// The daemon gives up its own work before that.
constexpr std::chrono::seconds kStepTime{90};

class AuthExchange final : public LoginExchange {
 public:
  AuthExchange(ipc::Client& daemon, std::uint64_t profile) : daemon_(daemon), profile_(profile) {}
  ~AuthExchange() override {
    const auto channel = login_ == 0 ? nullptr : daemon_.channel_now();
    if (channel != nullptr) channel->notify(ipc::auth::Cancel{login_});
  }

  loop::Task<LoginStep> start(LoginRequest request) override {
    ipc::auth::Begin question;
    question.profile = profile_;
    question.mechanism = std::move(request.mechanism);
    question.initial_response = std::move(request.initial_response);
    question.client_address = std::move(request.client_address);
    question.server_address = std::move(request.server_address);
    question.is_encrypted = request.is_encrypted;
    question.channel_binding_type = std::move(request.channel_binding_type);
    question.channel_binding = std::move(request.channel_binding);
    question.certificate_name = std::move(request.certificate_name);
    auto answer = co_await daemon_.call(std::move(question), loop::Clock::now() + kStepTime);
    co_return step(std::move(answer));
  }

  loop::Task<LoginStep> next(std::string response) override {
    ipc::auth::Continue question;
    question.login = login_;
    question.response = std::move(response);
    auto answer = co_await daemon_.call(std::move(question), loop::Clock::now() + kStepTime);
    co_return step(std::move(answer));
  }

 private:
  LoginStep step(Result<ipc::auth::Step> answer) {
    login_ = 0;
    LoginStep step;
    if (!answer) {
      step.text = std::move(answer).error().text;
      return step;
    }
    step.text = std::move(answer->text);
    step.username = std::move(answer->username);
    switch (answer->kind) {
      case StepKind::kChallenge:
        login_ = answer->login;
        step.kind = LoginStep::Kind::kChallenge;
        break;
      case StepKind::kDone:
        step.kind = LoginStep::Kind::kDone;
        break;
      case StepKind::kFailed:
        step.kind = LoginStep::Kind::kFailed;
        break;
      case StepKind::kTemporary:
        break;
    }
    return step;
  }

  ipc::Client& daemon_;
  std::uint64_t profile_;
  std::uint64_t login_ = 0;
};

}  // namespace

loop::Task<Result<std::vector<sasl::Mechanism>>> auth_mechanisms(ipc::Client& daemon,
                                                                 std::uint64_t profile) {
  ipc::auth::ListMechanisms question;
  question.profile = profile;
  CO_TRY(auto list, co_await daemon.call(question, loop::Clock::now() + kListTime));
  std::vector<sasl::Mechanism> mechanisms;
  for (auto& mechanism : list.mechanisms) {
    mechanisms.push_back({std::move(mechanism.name), static_cast<sasl::Traits>(mechanism.traits)});
  }
  co_return mechanisms;
}

std::unique_ptr<LoginExchange> make_auth_exchange(ipc::Client& daemon, std::uint64_t profile) {
  return std::make_unique<AuthExchange>(daemon, profile);
}

}  // namespace postern::smtpd
