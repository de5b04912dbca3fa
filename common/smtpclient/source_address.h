// source_address.h - where connections come from, by the sender of the mail
// (sender_bind_address_maps).

#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/ipc/tables_client.h"
#include "common/loop/task.h"
#include "common/smtpclient/settings.h"

namespace postern::smtpclient {

struct SourceAddresses {
  std::string ipv4{};  // empty: as for all other mail
  std::string ipv6{};
};

// One address of each kind out of a list, "192.0.2.5, 192.0.2.6 [2001:db8::5]". What is no address
// makes all of it an error (kConfig).
[[nodiscard]] Result<SourceAddresses> choose_source(
    std::string_view pool, const std::function<std::size_t(std::size_t limit)>& random);

// What the sender's address is looked up by: itself, "@domain"; "<>" where it is empty.
[[nodiscard]] std::vector<ipc::tables::Key> source_keys(std::string_view sender);

// The settings for mail of this sender: the given ones where no table has it.
[[nodiscard]] loop::Task<Result<SettingsPtr>> settings_for_sender(
    ipc::TablesClient* tables, SettingsPtr settings, std::string sender,
    std::function<std::size_t(std::size_t limit)> random);

}  // namespace postern::smtpclient
