// The final recipients behind one envelope recipient: virtual_alias_maps until nothing more is
// found (virtual(5), postconf(5) virtual_alias_recursion_limit and its kin).

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "common/base/text.h"
#include "common/mail/address.h"
#include "tables/resolve.h"

namespace postern::tables {

namespace {

// An address that is among its own aliases is a final one, too.
class OwnNames {
 public:
  void add(std::string_view address) { names_.push_back(to_lower(address)); }
  [[nodiscard]] bool contains(std::string_view address) const {
    return std::ranges::find(names_, to_lower(address)) != names_.end();
  }

 private:
  std::vector<std::string> names_;
};

}  // namespace

// The result with what the key has left out of the address.
std::string Resolver::alias_result(const std::string& external, const std::string& address,
                                   const std::string& extension) const {
  std::string result = mail::unquote_address(external);
  if (result.starts_with('@')) {
    result.insert(0, mail::split_address(address).local_part);
  } else if (propagates("virtual") && !extension.empty()) {
    const auto parts = mail::split_address(result);
    result = std::string(parts.local_part) + extension +
             (parts.has_domain ? "@" + std::string(parts.domain) : std::string());
  }
  return result;
}

// An address is followed through the first result of each alias; the other results stand in line
// behind all that are there. Each is followed for recursion_limit steps, so a circle ends there.
Result<Resolver::Aliases> Resolver::expand_aliases(const std::string& recipient) {
  constexpr std::string_view kWhat = "unreasonable virtual_alias_maps";
  Aliases found;
  found.addresses.push_back(recipient);
  OwnNames own_names;
  for (std::size_t i = 0; i < found.addresses.size(); ++i) {
    if (found.addresses.size() > settings_.virtual_alias_expansion_limit) {
      found.error = fmt::format("{} map expansion size for {}", kWhat, recipient);
      return found;
    }
    for (std::size_t steps = 0; !own_names.contains(found.addresses[i]); ++steps) {
      if (steps >= settings_.virtual_alias_recursion_limit) {
        found.error = fmt::format("{} map nesting for {}", kWhat, recipient);
        return found;
      }
      const std::string address = found.addresses[i];
      TRY(const auto match, find_address(settings_.virtual_alias_maps, address, KeyForm::kWritten));
      if (!match) break;
      found.is_aliased = true;
      std::vector<std::string> results;
      for (const auto& external : addresses_of(match->value)) {
        std::string result = alias_result(external, address, match->extension);
        if (result.empty()) result = settings_.rules.empty_address_recipient;
        if (result.size() > settings_.virtual_alias_address_length_limit) {
          found.error = fmt::format("{} result for {}", kWhat, recipient);
          return found;
        }
        results.push_back(rewritten(result, true));
        if (equal_nocase(results.back(), address)) own_names.add(address);
      }
      if (results.empty()) break;
      found.addresses[i] = std::move(results.front());
      found.addresses.insert(found.addresses.end(), std::move_iterator(results.begin() + 1),
                             std::move_iterator(results.end()));
    }
  }
  return found;
}

Result<ipc::tables::Expanded> Resolver::expand(const ipc::tables::Expand& question) {
  ipc::tables::Expanded expanded;
  expanded.generation = registry_.generation().value();
  expanded.canonical = rewritten(question.address, question.is_local_context);
  Aliases aliases;
  aliases.addresses.push_back(expanded.canonical);
  if (!question.skip_aliases) {
    TRY(expanded.canonical,
        mapped(std::move(expanded.canonical), ipc::tables::AddressRole::kEnvelopeRecipient));
    TRY(expanded.bcc, bcc_for(settings_.mapping.recipient_bcc_maps, expanded.canonical));
    aliases.addresses.front() = expanded.canonical;
    if (!settings_.virtual_alias_maps.empty()) {
      TRY(aliases, expand_aliases(expanded.canonical));
    }
  }
  expanded.is_aliased = aliases.is_aliased;
  expanded.error = std::move(aliases.error);
  if (!expanded.error.empty()) return expanded;
  for (const auto& address : aliases.addresses) {
    TRY(ipc::tables::Resolved resolved, route(address, question.sender));
    resolved.generation = expanded.generation;
    expanded.depends_on_sender = expanded.depends_on_sender || resolved.depends_on_sender;
    expanded.recipients.push_back(std::move(resolved));
  }
  return expanded;
}

}  // namespace postern::tables
