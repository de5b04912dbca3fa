// local_resolver.h - DNS without the resolver process, for tools and filters outside of the mail
// system: the servers of resolv.conf, one question at a time.

#pragma once

#include <optional>
#include <string>

#include "common/mailauth/dns_source.h"

namespace postern::mailauth {

// Blocks. Any thread that runs no loop may ask.
[[nodiscard]] DnsAnswer ask_dns(std::string name, dns::RecordType type);

// Whether the answer comes with the word of a validating resolver that resolv.conf trusts.
[[nodiscard]] bool is_validated(std::string name, dns::RecordType type);

class LocalResolver final : public DnsSource {
 public:
  loop::Task<DnsAnswer> look_up(std::string name, dns::RecordType type) override {
    co_return ask_dns(std::move(name), type);
  }
};

// What a task gives that waits for nothing but such answers.
template <typename T>
T result_of(loop::Task<T> task) {
  std::optional<T> result;
  const auto keep = [](loop::Task<T> inner, std::optional<T>* out) -> loop::Task<void> {
    out->emplace(co_await std::move(inner));
  };
  loop::spawn(keep(std::move(task), &result));
  return *std::move(result);
}

}  // namespace postern::mailauth
