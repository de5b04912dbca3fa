#include "common/smtpclient/source_address.h"

#include <sys/socket.h>

#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/sys/socket.h"

namespace postern::smtpclient {

namespace {

constexpr std::chrono::seconds kTablesTime{100};

}  // namespace

Result<SourceAddresses> choose_source(std::string_view pool,
                                      const std::function<std::size_t(std::size_t limit)>& random) {
  std::vector<std::string> ipv4;
  std::vector<std::string> ipv6;
  for (const std::string_view word : split_words(pool, ", \t")) {
    const std::string text(trim(word, "[]"));
    const auto address = sys::parse_address(text, 0);
    if (!address || address->family() == AF_UNIX) {
      return fail(Error::Kind::kConfig, "\"" + std::string(word) + "\" is no address");
    }
    (address->family() == AF_INET6 ? ipv6 : ipv4).push_back(text);
  }
  SourceAddresses out;
  if (!ipv4.empty()) out.ipv4 = ipv4[random(ipv4.size())];
  if (!ipv6.empty()) out.ipv6 = ipv6[random(ipv6.size())];
  return out;
}

std::vector<ipc::tables::Key> source_keys(std::string_view sender) {
  if (sender.empty()) return {{"<>", false}};
  const std::string address = to_lower(sender);
  const auto domain = mail::split_address(address).domain;
  std::vector<ipc::tables::Key> keys{{address, false}};
  if (!domain.empty()) keys.push_back({"@" + std::string(domain), true});
  return keys;
}

loop::Task<Result<SettingsPtr>> settings_for_sender(
    ipc::TablesClient* tables, SettingsPtr settings, std::string sender,
    std::function<std::size_t(std::size_t limit)> random) {
  if (tables == nullptr || settings->params.sender_bind_address_maps.empty()) co_return settings;
  ipc::tables::Lookup question;
  question.tables = settings->params.sender_bind_address_maps;
  question.keys = source_keys(sender);
  CO_TRY(const auto found,
         co_await tables->lookup(std::move(question), loop::Clock::now() + kTablesTime));
  if (!found.is_found) co_return settings;
  CO_TRY(const auto source, choose_source(found.value, random));
  auto own = std::make_shared<Settings>(*settings);
  if (!source.ipv4.empty()) own->bind_address = source.ipv4;
  if (!source.ipv6.empty()) own->bind_address6 = source.ipv6;
  SettingsPtr result = std::move(own);
  co_return result;
}

}  // namespace postern::smtpclient
