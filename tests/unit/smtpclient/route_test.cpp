#include "common/smtpclient/route.h"

#include <catch2/catch.hpp>

namespace postern::smtpclient {

namespace {

using ipc::resolver::Host;
using ipc::resolver::Hosts;
using ipc::resolver::Status;

std::size_t first(std::size_t) { return 0; }

Settings settings() {
  Settings out;
  out.params.smtp_mx_address_limit = 5;
  out.params.smtp_address_preference = "any";
  out.own_addresses = {"192.0.2.99"};
  return out;
}

Destination domain() { return {"example.org", true, 25, "", "example.org"}; }

Host host(std::string name, std::int64_t preference, std::vector<std::string> addresses) {
  Host out;
  out.name = std::move(name);
  out.preference = preference;
  out.addresses = std::move(addresses);
  if (out.addresses.empty()) {
    out.status = Status::kNoSuchName;
    out.error = "no " + out.name;
  }
  return out;
}

Hosts mx(std::vector<Host> list) {
  Hosts out;
  out.has_mx = true;
  out.hosts = std::move(list);
  return out;
}

std::string names(const Route& route) {
  std::string out;
  for (const auto& target : route.targets) out += target.name + "=" + target.address + " ";
  return out;
}

}  // namespace

TEST_CASE("servers are tried by preference, and not beyond ourselves") {
  const auto far = host("far", 30, {"192.0.2.3"});
  const auto near = host("near", 10, {"192.0.2.1"});
  const auto self = host("self", 20, {"192.0.2.99"});
  CHECK(names(plan_route(domain(), mx({far, near}), settings(), first)) ==
        "near=192.0.2.1 far=192.0.2.3 ");
  const Route backup = plan_route(domain(), mx({far, near, self}), settings(), first);
  CHECK(names(backup) == "near=192.0.2.1 ");
  CHECK(backup.is_ours);
  CHECK_FALSE(backup.is_loop);
  CHECK_FALSE(plan_route(domain(), mx({far, near}), settings(), first).is_ours);
  const Route loop = plan_route(domain(), mx({far, self}), settings(), first);
  CHECK(loop.failure.status == "5.4.6");
  CHECK(loop.is_loop);
  CHECK(loop.is_ours);
  CHECK(loop.failure.text == "mail for example.org loops back to myself");
  const Route lost = plan_route(domain(), mx({far, self, host("near", 10, {})}), settings(), first);
  CHECK(lost.failure.status == "4.4.4");
  CHECK(lost.failure.text == "unable to find primary relay for example.org");
  Destination filter = domain();
  filter.port = 10025;
  CHECK(names(plan_route(filter, mx({self}), settings(), first)) == "self=192.0.2.99 ");
}

TEST_CASE("a domain without a usable server says why") {
  Hosts null = mx({});
  null.is_null_mx = true;
  CHECK(plan_route(domain(), null, settings(), first).failure.status == "5.1.0");
  CHECK(plan_route(domain(), null, settings(), first).failure.text ==
        "Domain example.org does not accept mail (nullMX)");
  auto gone = host("gone", 10, {});
  CHECK(plan_route(domain(), mx({gone}), settings(), first).failure.status == "5.4.4");
  auto slow = host("slow", 20, {});
  slow.status = Status::kTemporary;
  const Route later = plan_route(domain(), mx({gone, slow, gone}), settings(), first);
  CHECK(later.failure.status == "4.4.3");
  CHECK(later.failure.text == "no slow");
  CHECK(names(plan_route(domain(), mx({gone, host("ok", 30, {"192.0.2.1"})}), settings(), first)) ==
        "ok=192.0.2.1 ");
}

TEST_CASE("where the hosts file is read, too, a name is unknown to more than DNS") {
  Settings local = settings();
  local.use_hosts_file = true;
  Hosts hosts;
  hosts.status = Status::kNoSuchName;
  hosts.error = "Host not found";
  const Route route = plan_route(domain(), hosts, local, first);
  CHECK(route.failure.status == "5.4.4");
  CHECK(route.failure.text == "unable to look up host example.org: Name or service not known");
  const Route of_mx = plan_route(domain(), mx({host("lost.test", 10, {})}), local, first);
  CHECK(of_mx.failure.text == "unable to look up host lost.test: Name or service not known");
}

TEST_CASE("servers of SRV records keep their order and have ports of their own") {
  auto one = host("one", 0, {"192.0.2.1"});
  auto two = host("two", 1, {"192.0.2.2"});
  one.port = 2525;
  Hosts hosts;
  hosts.has_srv = true;
  hosts.hosts = {one, two};
  const Route route = plan_route(domain(), hosts, settings(), first);
  CHECK(names(route) == "one=192.0.2.1 two=192.0.2.2 ");
  CHECK(route.targets.front().port == 2525);
  CHECK(route.targets.back().port == 25);
}

TEST_CASE("addresses are bounded, and both families stay") {
  const std::vector<std::string> many{"192.0.2.1", "192.0.2.2", "192.0.2.3",
                                      "192.0.2.4", "192.0.2.5", "2001:db8::1"};
  Settings s = settings();
  s.params.smtp_mx_address_limit = 3;
  s.params.smtp_balance_inet_protocols = true;
  const Route balanced = plan_route(domain(), mx({host("h", 10, many)}), s, first);
  CHECK(balanced.targets.size() == 3);
  CHECK(names(balanced).find("2001:db8::1") != std::string::npos);
  s.params.smtp_balance_inet_protocols = false;
  CHECK(names(plan_route(domain(), mx({host("h", 10, many)}), s, first)) ==
        "h=192.0.2.1 h=192.0.2.2 h=192.0.2.3 ");
  s.params.smtp_mx_address_limit = 0;
  CHECK(plan_route(domain(), mx({host("h", 10, many)}), s, first).targets.size() == 6);
  s.params.smtp_address_preference = "ipv6";
  CHECK(names(plan_route(domain(), mx({host("h", 10, many)}), s, first))
            .starts_with("h=2001:db8::1 "));
}

TEST_CASE("an address literal needs no look-up") {
  Settings s = settings();
  CHECK_FALSE(route_literal({"example.org", true, 25, "", ""}, s).has_value());
  CHECK(names(route_literal({"192.0.2.1", false, 25, "", ""}, s).value()) ==
        "192.0.2.1=192.0.2.1 ");
  CHECK(route_literal({"192.0.2.99", false, 25, "", ""}, s).value().failure.text ==
        "mail for 192.0.2.99 loops back to myself");
  CHECK(route_literal({"192.0.2.99", false, 26, "", ""}, s).value().targets.size() == 1);
  s.use_ipv6 = false;
  CHECK(route_literal({"2001:db8::9", false, 25, "", ""}, s).value().failure.text ==
        "Name service error for 2001:db8::9: invalid host or domain name");
}

}  // namespace postern::smtpclient
