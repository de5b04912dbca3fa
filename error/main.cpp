// error - the transport that fails: error:5.1.2 text bounces, retry:4.3.0 text lets mail wait.

#include "common/agent/service.h"
#include "common/daemon/daemon.h"
#include "error/verdict.h"

namespace {

using namespace postern;

loop::Task<void> deliver(std::shared_ptr<agent::Delivery> delivery, std::string service) {
  delivery->fail_rest(error::verdict_of(delivery->request().nexthop, service));
  co_return;
}

}  // namespace

int main(int argc, char** argv) {
  daemon::Process process(argc, argv, "error");
  process.drop_rights();
  agent::AgentService service(process.take_listener(), process.values(),
                              [&process](std::shared_ptr<agent::Delivery> delivery) {
                                return deliver(std::move(delivery), process.service());
                              });
  service.handle_probes();
  // What it says is what the administrator wrote.
  service.say_as_it_is();
  service.attach(process);
  process.on_reload([&] { service.configure(process.values()); });
  return process.serve();
}
