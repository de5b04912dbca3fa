"""parameters.py - small parameters, each through the door that its users come by."""
from harness import *


def send(sender, recipient, text=b"Subject: x\n\nx\n"):
    with Client() as client:
        check_equal(client.send(sender, [recipient], text), 250, recipient)


def status_filters():
    """smtp_delivery_status_filter makes a failure permanent, local_ hides where mail went."""
    with Mta({"smtp_delivery_status_filter": "pcre:{{/^4(\\.\\d+\\.\\d+ .*not yours.*)/ 5$$1}}",
              "local_delivery_status_filter": "pcre:{{/^(2\\S+ delivered to ).*/ $${1}somebody}}"}) as mta:
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
        check_equal(refused.returncode, 75, refused.stderr)
        check(b"User alice(2001) is not allowed to submit mail" in refused.stderr, refused.stderr)
        refused = mta.tool("postqueue", "-f", user="bob")
        check_equal(refused.returncode, 69, refused.stderr)
        refused = mta.tool("postqueue", "-p", user="bob")
        check(b"User bob(2002) is not allowed to view the mail queue" in refused.stderr, refused.stderr)
        check_equal(mta.tool("postqueue", "-p").returncode, 0, "root")


def users_send_as_themselves():
    """local_login_sender_maps: what the command line may call the sender."""
    maps = f"inline:{{ {{root = *}} }}, texthash:{CONF}/senders, regexp:{{{{/^(b.b)/ $$1 $$1@home.test}}}}"
    with Mta({"local_login_sender_maps": maps, "recipient_delimiter": "+"}, start=False) as mta:
        write(CONF + "/senders", "alice  alice, @alice.test, <>\n")
        mta.start()
        for user, sender, is_allowed in (
                ("alice", "alice", True), ("alice", "x@alice.test", True), ("alice", "ALICE+tag", True),
                ("alice", "", True), ("alice", "bob", False), ("alice", "x@sub.alice.test", False),
                ("bob", "bob@home.test", True), ("bob", "bob+x@home.test", True), ("bob", "", False),
                ("bob", "alice@home.test", False), (None, "anybody@away.test", True)):
            done = mta.tool("sendmail", "-f", sender, "u1@box.test", data=b"Subject: x\n\nx\n", user=user)
            check_equal(done.returncode, 0 if is_allowed else 75, (user, sender, done.stderr))
            if not is_allowed:
                check(f"is not allowed to send as <{sender}>".encode() in done.stderr, done.stderr)
        said = mta.tool("sendmail", "-bs", user="bob", data=b"EHLO x\r\nMAIL FROM:<alice@home.test>\r\n"
                        b"MAIL FROM:<bob@home.test>\r\nQUIT\r\n").stdout.decode().split("\r\n")
        check([line[:9] for line in said].count("553 5.7.1") == 1, said)
        check("250 2.1.0 Ok" in said, said)
        # Whom no table knows.
        mta.write_main_cf(local_login_sender_maps="inline:{root=*}")
        done = mta.tool("sendmail", "u1@box.test", data=b"Subject: x\n\nx\n", user="alice")
        check_equal(done.returncode, 75, done.stderr)
        # A table that the user cannot read is no permission, and no refusal for good.
        mta.write_main_cf(local_login_sender_maps="texthash:" + CONF + "/secret, static:*")
        write(CONF + "/secret", "bob *\n", 0o600)
        done = mta.tool("sendmail", "u1@box.test", data=b"Subject: x\n\nx\n", user="alice")
        check_equal(done.returncode, 75, done.stderr)
        # Nor is a value that cannot be read.
        mta.write_main_cf(local_login_sender_maps="inline:{alice=$(bob}")
        done = mta.tool("sendmail", "u1@box.test", data=b"Subject: x\n\nx\n", user="alice")
        check_equal(done.returncode, 75, done.stderr)
        mta.wait_drained()
        check_equal(len(maildir("u1")), 7)


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
    main([status_filters, debug_peers, authorized_users, users_send_as_themselves,
          delays_are_cleared, utf8_must_be_declared, cleanup_keeps_to_its_limit])
