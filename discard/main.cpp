// discard - the transport that drops mail: discard:why is logged as the reason.

#include "common/agent/service.h"
#include "common/daemon/daemon.h"

namespace {

using namespace postern;

loop::Task<void> deliver(std::shared_ptr<agent::Delivery> delivery) {
  const std::string& why = delivery->request().nexthop;
  agent::Verdict verdict{.status = "2.0.0", .text = why.empty() ? "discarded" : why};
  // There is nobody further on who could report it.
  verdict.action = "delivered";
  for (std::size_t i = 0; i < delivery->recipients().size(); ++i) delivery->delivered(i, verdict);
  co_return;
}

}  // namespace

int main(int argc, char** argv) {
  daemon::Process process(argc, argv, "discard");
  process.drop_rights();
  agent::AgentService service(process.take_listener(), process.values(), deliver);
  service.handle_probes();
  service.attach(process);
  process.on_reload([&] { service.configure(process.values()); });
  return process.serve();
}
