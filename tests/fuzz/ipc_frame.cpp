// ipc_frame.cpp - any bytes as the payload of every message between our processes.

#include <cstdint>
#include <string_view>

#include "common/ipc/agent.h"
#include "common/ipc/bounce.h"
#include "common/ipc/cleanup.h"
#include "common/ipc/control.h"
#include "common/ipc/qmgr.h"
#include "common/ipc/resolver.h"
#include "common/ipc/tables.h"

namespace {

template <typename T>
void try_as(std::string_view payload) {
  const auto message = postern::ipc::decode<T>(payload);
  if (!message) return;
  // What was understood reads back as the same.
  const std::string again = postern::ipc::encode(*message);
  const auto copy = postern::ipc::decode<T>(again);
  if (!copy || postern::ipc::encode(*copy) != again) __builtin_trap();
  (void)postern::ipc::trace(*message);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern::ipc;
  const std::string bytes(data, data + size);
  try_as<tables::Lookup>(bytes);
  try_as<tables::Resolved>(bytes);
  try_as<tables::Expanded>(bytes);
  try_as<cleanup::Submit>(bytes);
  try_as<cleanup::Outcome>(bytes);
  try_as<qmgr::NewMessage>(bytes);
  try_as<agent::Deliver>(bytes);
  try_as<agent::Report>(bytes);
  try_as<bounce::Append>(bytes);
  try_as<bounce::Notify>(bytes);
  try_as<resolver::Hosts>(bytes);
  try_as<control::Load>(bytes);
  return 0;
}
