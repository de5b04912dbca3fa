"""fallback_relay.py - smtp_fallback_relay by MX records, in their order, and what it is not asked
for; best_mx_transport for mail that would come back to this host; servers of SRV records."""
from harness import *

AWAY, FIRST, SECOND, LAST = (f"198.51.100.{n}" for n in (25, 31, 32, 33))
ZONE_OF_RELAYS = {
    "fall.test MX": ["20 b.fall.test", "10 a.fall.test"],
    "a.fall.test A": [FIRST],
    "b.fall.test A": [SECOND],
    # No MX: the name itself.
    "plain.test A": [LAST],
    "down.test MX": "SERVFAIL",
    # We are the second server of one domain and the best of the other.
    "ours.test MX": ["10 mx.away.test", "20 mx.home.test"],
    "best.test MX": ["10 mx.home.test", "20 mx.away.test"],
}
RELAYS = {"smtp_fallback_relay": "no-such.test, down.test, fall.test, plain.test",
          # A server that was down a moment ago is asked again.
          "smtp_connection_cache_on_demand": "no"}


def send(subject, recipients=("r@away.test",)):
    with Client("127.0.0.1", source="127.0.0.1") as client:
        check_equal(client.send("s@home.test", list(recipients),
                                f"Subject: {subject}\n\nx\n".encode()), 250, subject)


def relays_are_asked_in_the_order_of_their_records():
    """The best server of the first relay that has one; the next ones as those before are down."""
    with Mta(RELAYS, zone=ZONE_OF_RELAYS) as mta:
        sinks = {address: mta.sink(address) for address in (AWAY, FIRST, SECOND, LAST)}
        for count, address in enumerate((AWAY, FIRST, SECOND, LAST), 1):
            send(f"for-{address}")
            sinks[address].wait(1)
            mta.wait_drained()
            check_equal([len(sink.messages) for sink in sinks.values()],
                        [1] * count + [0] * (4 - count), "who has mail")
            name = {AWAY: "mx.away.test", FIRST: "a.fall.test", SECOND: "b.fall.test",
                    LAST: "plain.test"}[address]
            mta.wait_log(rf"to=<r@away\.test>, relay={re.escape(name)}\[{re.escape(address)}\]:25, "
                         r".*status=sent")
            sinks[address].close()
        # Nobody is left: it waits, and the last one says why.
        send("nobody")
        mta.wait_log(r"to=<r@away\.test>.*status=deferred \(connect to plain\.test\[198\.51\.100\.33\]"
                     r":25: Connection refused\)")
        mta.sink(SECOND).wait(1)
        mta.wait_drained()


def a_recipient_that_is_put_off_goes_to_the_relay():
    """Of one message each recipient goes on its own way; what was refused for good is not asked again."""
    with Mta(RELAYS, zone=ZONE_OF_RELAYS) as mta:
        mta.sink(AWAY, replies={"RCPT": b"450 4.2.0 not now\r\n"})
        relay = mta.sink(FIRST)
        send("later")
        check_equal(relay.wait(1)[0].recipients, ["r@away.test"])
        mta.wait_drained()
    with Mta(RELAYS, zone=ZONE_OF_RELAYS) as mta:
        mta.sink(AWAY, replies={"RCPT": b"550 5.1.1 no such user\r\n"})
        relay = mta.sink(FIRST)
        send("never")
        mta.wait_log(r"to=<r@away\.test>, relay=mx\.away\.test.*dsn=5\.1\.1.*status=bounced")
        mta.wait_drained()
        check_equal(len(relay.messages), 0, "at the relay")


def not_for_domains_whose_mail_we_keep():
    """A backup MX waits for the better server: a relay would send the mail back here."""
    with Mta(RELAYS | {"relay_domains": "ours.test"}, zone=ZONE_OF_RELAYS) as mta:
        relay = mta.sink(FIRST)
        send("waits", ["r@ours.test"])
        mta.wait_log(r"to=<r@ours\.test>.*status=deferred \(connect to mx\.away\.test\[198\.51\.100\.25\]"
                     r":25: Connection refused\)")
        send("loops", ["r@best.test"])
        mta.wait_log(r"to=<r@best\.test>, .*dsn=5\.4\.6, status=bounced "
                     r"\(mail for best\.test loops back to myself\)")
        check_equal(len(relay.messages), 0, "at the relay")
        mta.sink(AWAY).wait(1)
        mta.wait_drained()


def the_best_server_takes_it_with_another_transport():
    """best_mx_transport: mail for a domain that the DNS gives to us, and the configuration does not."""
    with Mta(RELAYS | {"best_mx_transport": "local"}, zone=ZONE_OF_RELAYS) as mta:
        send("here", ["alice@best.test"])
        mta.wait_log(r"local\[\d+\]: \w+: to=<alice@best\.test>, relay=local, .*status=sent")
        wait_for("the mailbox", lambda: os.path.exists(MAIL + "/alice") and
                 b"Subject: here" in read(MAIL + "/alice"))
        mta.wait_drained()
        # A next hop of its own.
        other = mta.sink(LAST, port=2525)
        mta.write_main_cf(best_mx_transport=f"smtp:[{LAST}]:2525")
        mta.restart()
        send("there", ["bob@best.test"])
        check_equal(other.wait(1)[0].recipients, ["bob@best.test"])
        mta.wait_drained()


def an_address_stands_for_a_server():
    """Against RFC 5321, and there are domains that have no other MX."""
    with Mta(zone={"number.test MX": [f"10 {FIRST}"]}) as mta:
        sink = mta.sink(FIRST)
        send("number", ["r@number.test"])
        check_equal(sink.wait(1)[0].recipients, ["r@number.test"])
        mta.wait_log(rf"relay={re.escape(FIRST)}\[{re.escape(FIRST)}\]:25, .*status=sent")
        mta.wait_log(rf"numeric domain name in a record of mail exchangers: {re.escape(FIRST)}")
        mta.wait_drained()


def servers_of_srv_records():
    """use_srv_lookup: by priority, each with its port, and what becomes of domains without them."""
    zone = {
        "_submission._tcp.hub.test SRV": ["20 0 2526 b.fall.test", "10 5 2525 a.fall.test"],
        "hub.test MX": [f"10 mx.away.test"],
        "_submission._tcp.none.test SRV": ["0 0 0 ."],
        "_submission._tcp.sick.test SRV": "SERVFAIL",
        "sick.test MX": ["10 a.fall.test"],
        "bare.test MX": ["10 a.fall.test"],
    }
    routes = ", ".join(f"{{{name}.test=smtp:{name}.test:submission}}" for name in ("hub", "none", "sick", "bare"))
    options = {"transport_maps": f"inline:{{ {routes} }}", "use_srv_lookup": "submission",
               "smtp_connection_cache_on_demand": "no"}
    with Mta(options, zone=ZONE_OF_RELAYS | zone) as mta:
        best = mta.sink(FIRST, port=2525)
        second = mta.sink(SECOND, port=2526)
        send("best", ["r@hub.test"])
        best.wait(1)
        mta.wait_log(rf"to=<r@hub\.test>, relay=a\.fall\.test\[{re.escape(FIRST)}\]:2525, .*status=sent")
        best.close()
        send("second", ["r@hub.test"])
        second.wait(1)
        mta.wait_log(rf"to=<r@hub\.test>, relay=b\.fall\.test\[{re.escape(SECOND)}\]:2526, .*status=sent")
        send("others", ["r@none.test", "r@sick.test", "r@bare.test"])
        mta.wait_log(r"to=<r@none\.test>, .*dsn=5\.4\.4, status=bounced \(domain none\.test does not offer the service submission\)")
        mta.wait_log(r"to=<r@bare\.test>, .*dsn=5\.4\.4, status=bounced \(.*name=_submission\._tcp\.bare\.test type=SRV")
        mta.wait_log(r"to=<r@sick\.test>, .*dsn=4\.4\.3, status=deferred \(.*name=_submission\._tcp\.sick\.test type=SRV")
    for parameter, found in (("ignore_srv_lookup_error", ("sick",)), ("allow_srv_lookup_fallback", ("sick", "bare"))):
        with Mta(options | {parameter: "yes"}, zone=ZONE_OF_RELAYS | zone) as mta:
            sink = mta.sink(FIRST, port=587)
            send("fallback", [f"r@{name}.test" for name in found])
            check_equal(sorted(to for message in sink.wait(len(found)) for to in message.recipients),
                        sorted(f"r@{name}.test" for name in found))


main([relays_are_asked_in_the_order_of_their_records, a_recipient_that_is_put_off_goes_to_the_relay,
      servers_of_srv_records, not_for_domains_whose_mail_we_keep, the_best_server_takes_it_with_another_transport,
      an_address_stands_for_a_server])
