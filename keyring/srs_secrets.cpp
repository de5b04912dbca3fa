#include "keyring/srs_secrets.h"

#include <openssl/crypto.h>

namespace postern::keyring {

void SrsSecrets::configure(const config::MailauthParams& params) {
  rules_.domain = params.srs_domain;
  rules_.max_age = params.srs_max_age;
  batv_days_ = static_cast<unsigned>(params.batv_days);
}

void SrsSecrets::set(const std::vector<ipc::keyring::KeyFile>& files) {
  for (auto& secret : rules_.secrets) OPENSSL_cleanse(secret.data(), secret.size());
  rules_.secrets.clear();
  for (const auto& file : files) {
    if (file.purpose != ipc::keyring::Purpose::kSrs) continue;
    for (auto& secret : mailauth::parse_srs_secrets(file.pem)) {
      rules_.secrets.push_back(std::move(secret));
    }
  }
}

Result<ipc::srs::Rewritten> SrsSecrets::rewrite(const ipc::srs::Rewrite& request,
                                                std::int64_t now) const {
  using ipc::srs::Direction;
  if (rules_.secrets.empty()) return fail_temporary("srs_secrets_file has no secret");
  if (request.direction == Direction::kTag || request.direction == Direction::kUntag) {
    return tag(request, now);
  }
  const auto made = request.direction == ipc::srs::Direction::kForward
                        ? mailauth::srs_forward(rules_, request.address, now)
                        : mailauth::srs_reverse(rules_, request.address, now);
  ipc::srs::Rewritten answer;
  if (made) {
    answer.address = *made;
  } else if (made.error().kind == Error::Kind::kPermanent) {
    answer.refusal = made.error().text;
  } else {
    return std::unexpected(made.error());
  }
  return answer;
}

ipc::srs::Rewritten SrsSecrets::tag(const ipc::srs::Rewrite& request, std::int64_t now) const {
  ipc::srs::Rewritten answer;
  for (const auto& secret : rules_.secrets) {
    // Another key than that of SRS: one is no help to guess the other.
    const mailauth::BatvRules batv{.key = "batv:" + secret, .days = batv_days_};
    if (request.direction == ipc::srs::Direction::kTag) {
      answer.address = mailauth::batv_sign(batv, request.address, now);
      return answer;
    }
    if (auto plain = mailauth::batv_verify(batv, request.address, now)) {
      answer.address = *std::move(plain);
      return answer;
    }
  }
  answer.refusal = "the tag of the address is wrong or has expired";
  return answer;
}

}  // namespace postern::keyring
