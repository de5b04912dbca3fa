#include "keyring/service.h"

#include <openssl/crypto.h>

#include "common/base/encode.h"
#include "common/log/log.h"

namespace postern::keyring {

namespace {

constexpr std::chrono::seconds kTablesTime{20};
constexpr std::size_t kMaxFind = 1000;

// A connection's turn: it comes again after all others that wait.
struct Turns {
  unsigned waiting = 0;
};

}  // namespace

Service::Service(daemon::Process& process) : process_(process), server_(process.take_listener()) {
  server_.only_for(process.clients());
  auto& requests = server_.dispatcher();
  requests.serve<ipc::keyring::Sign>([this](ipc::keyring::Sign request, ipc::ChannelPtr channel) {
    return sign(std::move(request), std::move(channel));
  });
  requests.answer<ipc::keyring::Find>(
      [this](ipc::keyring::Find& question, const ipc::ChannelPtr&) { return find(question); });
  requests.answer<ipc::keyring::FindFile>(
      [this](ipc::keyring::FindFile& question,
             const ipc::ChannelPtr&) -> Result<ipc::keyring::FileKey> {
        return store_.find_file(question.path, question.purpose);
      });
  requests.answer<ipc::srs::Rewrite>(
      [this](ipc::srs::Rewrite& question, const ipc::ChannelPtr&) -> Result<ipc::srs::Rewritten> {
        const auto now = std::chrono::duration_cast<std::chrono::seconds>(
            std::chrono::system_clock::now().time_since_epoch());
        return srs_.rewrite(question, now.count());
      });
  requests.answer<ipc::keyring::GetTickets>(
      [this](ipc::keyring::GetTickets& question,
             const ipc::ChannelPtr&) -> Result<ipc::keyring::Tickets> {
        TRY(auto answer, tickets_.get(question.lifetime, loop::Clock::now()));
        return ipc::keyring::Tickets{std::move(answer.keys), answer.next};
      });
  requests.serve<ipc::keyring::FindNamed>(
      [this](ipc::keyring::FindNamed question, const ipc::ChannelPtr&) {
        return find_named(std::move(question));
      });
  process_.on_keys([this](ipc::keyring::Keys& keys) {
    expiry_.set(keys.files);
    srs_.set(keys.files);
    store_.set(std::move(keys.files));
    if (!std::exchange(has_keys_, true) && is_started_) server_.start();
  });
  srs_.configure(process_.load<config::MailauthParams>());
  process_.on_reload([this] { srs_.configure(process_.load<config::MailauthParams>()); });
  process_.on_drain([this] {
    server_.stop_accepting();
    process_.finish();
  });
}

// Who asks before master has given the keys waits in the listener's queue, rather than hear that
// there are none.
void Service::start() {
  is_started_ = true;
  if (has_keys_) server_.start();
}

loop::Task<Result<ipc::keyring::Signed>> Service::sign(ipc::keyring::Sign request,
                                                       ipc::ChannelPtr channel) {
  if (!channel->context) channel->context = std::make_shared<Turns>();
  const auto turns = std::static_pointer_cast<Turns>(channel->context);
  const unsigned before = turns->waiting++;
  for (unsigned i = 0; i < before; ++i) co_await loop::Yield();
  --turns->waiting;
  auto signature = store_.sign(request);
  if (!signature) {
    if (signature.error().kind == Error::Kind::kPermanent) {
      // Nobody of ours asks so: somebody has taken a process over, or there is a bug.
      log::warning("a signature was refused: {}", signature.error().text);
    }
    co_return std::unexpected(std::move(signature).error());
  }
  co_return ipc::keyring::Signed{*std::move(signature)};
}

Result<ipc::keyring::Present> Service::find(const ipc::keyring::Find& question) const {
  ipc::keyring::Present present;
  if (question.keys.size() > kMaxFind) return fail_temporary("too many keys asked for");
  for (const auto& id : question.keys) {
    if (store_.has(id, question.purpose)) present.keys.push_back(id);
  }
  return present;
}

loop::Task<Result<ipc::keyring::Chain>> Service::find_named(ipc::keyring::FindNamed asked) {
  ipc::tables::Lookup question;
  question.tables = std::move(asked.tables);
  question.keys.push_back({asked.name, false});
  for (std::size_t dot = asked.name.find('.'); dot != std::string::npos;
       dot = asked.name.find('.', dot + 1)) {
    question.keys.push_back({asked.name.substr(dot), false});
  }
  auto found =
      co_await tables_.client().call(std::move(question), loop::Clock::now() + kTablesTime);
  if (!found) co_return fail_in("tls_server_sni_maps", std::move(found).error());
  if (!found->is_found) co_return ipc::keyring::Chain{};
  auto pem = base64_decode_folded(found->value);
  OPENSSL_cleanse(found->value.data(), found->value.size());
  if (!pem) {
    co_return fail(Error::Kind::kConfig,
                   "tls_server_sni_maps: the value is no base64; make the table with postmap -F");
  }
  auto chain = store_.add_named(*pem);
  OPENSSL_cleanse(pem->data(), pem->size());
  if (!chain) co_return fail_in("tls_server_sni_maps", std::move(chain).error());
  co_return ipc::keyring::Chain{true, *std::move(chain)};
}

}  // namespace postern::keyring
