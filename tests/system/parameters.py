"""parameters.py - small parameters, each through the door that its users come by."""
from harness import *


def send(sender, recipient, text=b"Subject: x\n\nx\n"):
    with Client() as client:
        check_equal(client.send(sender, [recipient], text), 250, recipient)


def status_filters():
    """smtp_delivery_status_filter makes a failure permanent, local_ hides where mail went."""
    with Mta({"smtp_delivery_status_filter": "pcre:{{/^4(\\.\\d+\\.\\d+ .*not yours.*)/ 5$$1}}",
              "local_delivery_status_filter": "pcre:{{/^(2\\S+ delivered to ).*/ $$1somebody}}"}) as mta:
        sink = mta.sink(replies={"RCPT": b"450 4.7.1 not yours\r\n"})
        send("u1@box.test", "r@away.test")
        send("s@home.test", "alice@home.test")
        mta.wait_log(r"to=<r@away\.test>.*dsn=5\.7\.1, status=bounced \(host .* not yours")
        mta.wait_log(r"to=<alice@home\.test>.*status=sent \(delivered to somebody\)")
        wait_for("the notice", lambda: maildir("u1"))
        check_equal(len(sink.messages), 0)


def debug_peers():
    with Mta({"debug_peer_list": "198.51.100.200 away.test"}) as mta:
        mta.sink()
        with Client(source="198.51.100.200") as client:
            client.command("AUTH PLAIN AHUAc2VjcmV0")
            client.command("NOOP seen")
        send("s@home.test", "r@away.test")
        mta.wait_log(r"< unknown\[198\.51\.100\.200\]: NOOP seen")
        mta.wait_log(r"> unknown\[198\.51\.100\.200\]: 250-PIPELINING")
        mta.wait_log(r"< unknown\[198\.51\.100\.200\]: AUTH PLAIN \(not shown\)")
        mta.wait_log(r"> mx\.away\.test\[198\.51\.100\.25\]:25: MAIL FROM:<s@home\.test>")
        check("AHUAc2VjcmV0" not in mta.log(), "a login is in the log")
        check("< unknown[192.0.2.1]" not in mta.log(), "nobody asked for that one")


def authorized_users():
    with Mta({"authorized_submit_users": "!alice, static:all",
              "authorized_mailq_users": "alice", "authorized_flush_users": ""}) as mta:
        refused = mta.tool("sendmail", "u1@box.test", data=b"x\n", user="alice")
        check_equal(refused.returncode, 77, refused.stderr)
        check(b"User alice(2001) is not allowed to submit mail" in refused.stderr, refused.stderr)
        refused = mta.tool("postqueue", "-f", user="bob")
        check_equal(refused.returncode, 77, refused.stderr)
        refused = mta.tool("postqueue", "-p", user="bob")
        check(b"User bob(2002) is not allowed to view the mail queue" in refused.stderr, refused.stderr)
        check_equal(mta.tool("postqueue", "-p").returncode, 0, "root")


def delays_are_cleared():
    with Mta({"delay_warning_time": "1s", "confirm_delay_cleared": "yes",
              "enable_threaded_bounces": "yes"}) as mta:
        send("u1@box.test", "r@away.test", b"Message-Id: <first@box.test>\nSubject: x\n\nx\n")
        wait_for("the warning", lambda: any(b"Subject: Delayed Mail" in m for m in maildir("u1")))
        mta.sink()
        wait_for("the good news", lambda: any(
            b"Subject: Successful Mail Delivery Report" in m for m in maildir("u1")))
        check(all(b"In-Reply-To: <first@box.test>" in m for m in maildir("u1")), maildir("u1"))


def utf8_must_be_declared():
    with Mta({"smtputf8_enable": "yes", "strict_smtputf8": "yes"}) as mta:
        with Client() as client:
            check_equal(client.command("MAIL FROM:<ü@away.test>"),
                        (553, "553 5.6.7 Must declare SMTPUTF8 to send unicode address"))
            check_equal(client.command("MAIL FROM:<ü@away.test> SMTPUTF8")[0], 250)


def cleanup_keeps_to_its_limit():
    with Mta(master=["cleanup unix n - n - 2 cleanup"]) as mta:
        sink = mta.sink()
        clients = [Client() for _ in range(12)]
        for number, client in enumerate(clients):
            check_equal(client.send("s@away.test", [f"u{number % 10}@box.test", "r@away.test"],
                                    b"Subject: x\n\n" + b"x" * 70 + b"\n"), 250)
            client.close()
        sink.wait(12)
        mta.wait_drained()


if __name__ == "__main__":
    main([status_filters, debug_peers, authorized_users, delays_are_cleared, utf8_must_be_declared,
          cleanup_keeps_to_its_limit])
