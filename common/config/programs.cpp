#include "common/config/programs.h"

namespace postern::config {

namespace {

constexpr ServiceProgram kPrograms[] = {
    {"anvil", "anvil", LimitKind::kNone, false},
    {"auth", "auth", LimitKind::kNone, false},
    {"bounce", "bounce", LimitKind::kClients, false},
    {"broker", "broker", LimitKind::kNone, false},
    {"cleanup", "cleanup", LimitKind::kClients, false},
    {"discard", "discard", LimitKind::kClients, true},
    {"dnsblog", "", LimitKind::kNone, false},
    {"error", "error", LimitKind::kClients, true},
    {"flush", "flush", LimitKind::kClients, false},
    {"keyring", "keyring", LimitKind::kNone, false},
    {"lmtp", "lmtp", LimitKind::kClients, true},
    {"local", "local", LimitKind::kClients, true},
    {"mailauth", "mailauth", LimitKind::kNone, false},
    {"sts", "sts", LimitKind::kNone, false},
    {"nqmgr", "qmgr", LimitKind::kNone, false},
    {"oqmgr", "qmgr", LimitKind::kNone, false},
    {"pickup", "pickup", LimitKind::kNone, false},
    {"pipe", "pipe", LimitKind::kClients, true},
    {"postlogd", "postlog", LimitKind::kNone, false},
    {"postscreen", "smtpd", LimitKind::kNone, false},
    {"proxymap", "proxymap", LimitKind::kNone, false},
    {"qmgr", "qmgr", LimitKind::kNone, false},
    {"qmqpd", "", LimitKind::kNone, false},
    {"reports", "reports", LimitKind::kNone, false},
    {"resolver", "resolver", LimitKind::kNone, false},
    {"scache", "", LimitKind::kNone, false},
    {"showq", "showq", LimitKind::kClients, false},
    {"smtp", "smtp", LimitKind::kClients, true},
    {"smtpd", "smtpd", LimitKind::kClients, false},
    {"spawn", "spawn", LimitKind::kClients, false},
    {"tables", "tables", LimitKind::kNone, false},
    {"tlsmgr", "", LimitKind::kNone, false},
    {"tlsproxy", "", LimitKind::kNone, false},
    {"trivial-rewrite", "tables", LimitKind::kNone, false},
    {"verify", "verify", LimitKind::kNone, false},
    {"virtual", "virtual", LimitKind::kClients, true},
};

}  // namespace

std::optional<ServiceProgram> find_service_program(std::string_view name) {
  for (const ServiceProgram& program : kPrograms) {
    if (program.name == name) return program;
  }
  return std::nullopt;
}

}  // namespace postern::config
