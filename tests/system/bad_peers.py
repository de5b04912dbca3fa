"""bad_peers.py - next hops that never come to an end, or end in the wrong place.

Deferred and never bounced, within a deadline that counts for the whole of a reply; what is for
other destinations goes out as if nothing were wrong. Each scenario prints its figures.
"""
from harness import *

HELLO = b"Subject: hello\n\nHello.\n"
SHORT = {"smtp_helo_timeout": "3s", "smtp_mail_timeout": "3s", "smtp_rcpt_timeout": "3s",
         "smtp_data_init_timeout": "3s", "smtp_data_xfer_timeout": "3s",
         "smtp_data_done_timeout": "3s", "smtp_quit_timeout": "1s", "smtp_connect_timeout": "3s",
         # Each is tried once: its time is that of one attempt.
         "minimal_backoff_time": "300s", "maximal_backoff_time": "300s",
         "default_destination_concurrency_failed_cohort_limit": "100"}
STAGES = ("greeting", "EHLO", "MAIL", "RCPT", "DATA", "dot")


def converse(connection, odd_at, odd):
    """A polite server until the stage, then odd(connection)."""
    def at(stage):
        if stage == odd_at:
            odd(connection)
            raise OSError("over")
    connection.settimeout(30)
    reader = connection.makefile("rb")
    at("greeting")
    connection.sendall(b"220 mx ESMTP\r\n")
    while line := reader.readline():
        verb = line[:4].upper().decode("latin-1")
        if verb in ("EHLO", "MAIL", "RCPT", "DATA"):
            at(verb)
        if verb == "DATA":
            connection.sendall(b"354 go on\r\n")
            while reader.readline() not in (b".\r\n", b""):
                pass
            at("dot")
        connection.sendall(b"250 2.0.0 ok\r\n")


def drop(connection):
    connection.shutdown(socket.SHUT_RDWR)


def silence(connection):
    connection.recv(1)
    time.sleep(20)


def drip(connection):
    """A byte of one reply now and then: never silent, never at an end."""
    connection.sendall(b"250-")
    for _ in range(60):
        connection.sendall(b"x")
        time.sleep(0.3)


def drip_lines(connection):
    for _ in range(60):
        connection.sendall(b"250-more\r\n")
        time.sleep(0.3)


def endless_line(connection):
    connection.sendall(b"250-")
    for _ in range(100):
        connection.sendall(b"x" * 1_000_000)


def endless_lines(connection):
    for _ in range(200):
        connection.sendall(b"250-more\r\n" * 1000)


def says(reply):
    return lambda connection: (connection.sendall(reply), connection.recv(100_000))


def resident(program):
    return max((int(re.search(rb"VmRSS:\s+(\d+)", read(f"/proc/{pid}/status"))[1])
                for pid in daemons(program)), default=0)


def run_peers(cases, seconds):
    """Mail to every peer at once and to a good one meanwhile."""
    zone = {}
    for number, name in enumerate(cases):
        zone[f"{name}.test MX"] = [f"10 mx.{name}.test"]
        zone[f"mx.{name}.test A"] = [f"198.51.100.{50 + number}"]
    with Mta(SHORT, zone=zone) as mta:
        good = mta.sink()
        for number, (stage, odd) in enumerate(cases.values()):
            mta.sink(f"198.51.100.{50 + number}",
                     talk=lambda c, stage=stage, odd=odd: converse(c, stage, odd))
        begun = time.monotonic()
        with Client() as client:
            for name in cases:
                check_equal(client.send("u3@box.test", [f"r@{name}.test"], HELLO), 250, client)
            times = []
            for number in range(40):
                sent = time.monotonic()
                check_equal(client.send("u3@box.test", ["r@away.test"], HELLO), 250, client)
                good.wait(number + 1)
                times.append(time.monotonic() - sent)
        missing = set(cases)
        highest = 0

        def all_deferred():
            nonlocal highest
            log = mta.log()
            highest = max(highest, resident("smtp"))
            missing.difference_update([name for name in missing if re.search(
                rf"to=<r@{name}\.test>.*status=deferred", log)])
            return not missing or time.monotonic() > begun + seconds
        wait_for("the end of all attempts", all_deferred, seconds + 5)
        took = time.monotonic() - begun
        check(not missing, f"no end after {took:.0f} s:", *sorted(missing))
        check("status=bounced" not in mta.log(), "bounced:",
              *[line for line in mta.log().splitlines() if "status=bounced" in line][:5])
        check_equal(maildir("u3"), [], "bounces")
        times.sort()
        check(times[-3] < (1.0 if is_quiet() else 3.0), "a good destination waited", times[-3])
        if not os.environ.get("POSTERN_TEST_SANITIZE"):
            check(highest < 40_000, "memory of smtp:", highest)
        print(f"     {len(cases)} bad peers, all deferred after {took:.1f} s; smtp {highest} KB; "
              f"a good one meanwhile: p95 {times[-3] * 1000:.0f} ms")
        mta.tool("postsuper", "-d", "ALL")


def connections_drop_at_each_stage():
    run_peers({f"drop{n}": (stage, drop) for n, stage in enumerate(STAGES)}, 20)


def answers_of_the_wrong_kind():
    # 250 where 354 is due, and 354 at the end.
    run_peers({"early": ("DATA", says(b"250 2.0.0 ok\r\n")), "late": ("dot", says(b"354 go on\r\n")),
               "ehlo354": ("EHLO", says(b"354 go on\r\n")), "mail354": ("MAIL", says(b"354 x\r\n")),
               "rcpt354": ("RCPT", says(b"354 x\r\n")), "data220": ("DATA", says(b"220 x\r\n")),
               "zero": ("MAIL", says(b"000 x\r\n")), "nul": ("RCPT", says(b"\0\0\0\0\r\n")),
               "greeting250": ("greeting", says(b"250 x\r\n"))}, 20)


def replies_without_end():
    cases = {}
    for n, stage in enumerate(STAGES):
        cases[f"silent{n}"] = (stage, silence)
        cases[f"drip{n}"] = (stage, drip)
        cases[f"dripline{n}"] = (stage, drip_lines)
    for n, stage in enumerate(("greeting", "EHLO", "dot")):
        cases[f"line{n}"] = (stage, endless_line)
        cases[f"lines{n}"] = (stage, endless_lines)
    run_peers(cases, 15)


def replies_are_filtered():
    """smtp_reply_filter: each line is replaced before it is read; mail waits where its table does not
    answer."""
    rules = r"regexp:{{/^garbage/ 250-filler}, {/^250 2\.0\.0 ok/ 250 2.0.0 changed}}"

    def garbled(connection):
        connection.settimeout(10)
        reader = connection.makefile("rb")
        connection.sendall(b"220 mx ESMTP\r\n")
        while line := reader.readline():
            if line.startswith(b"DATA"):
                connection.sendall(b"354 go on\r\n")
                while reader.readline() not in (b".\r\n", b""):
                    pass
            connection.sendall(b"garbage\r\n250-1\r\n250 2.0.0 ok\r\n")
    zone = {"away.test MX": ["10 mx.away.test"], "mx.away.test A": ["198.51.100.50"]}
    with Mta(SHORT | {"smtp_reply_filter": rules}, zone=zone) as mta:
        mta.sink("198.51.100.50", talk=garbled)
        with Client() as client:
            check_equal(client.send("u3@box.test", ["r@away.test"], HELLO), 250, client)
        mta.wait_log(r"to=<r@away\.test>.*status=sent \(250-filler 250-1 250 2\.0\.0 changed\)")
        mta.write_main_cf(smtp_reply_filter="tcp:127.0.0.1:9")
        mta.restart()
        with Client() as client:
            check_equal(client.send("u3@box.test", ["r2@away.test"], HELLO), 250, client)
        mta.wait_log(r"to=<r2@away\.test>.*dsn=4\.3\.0, status=deferred \(local data error while "
                     r"talking to mx\.away\.test\[198\.51\.100\.50\]\)")
        mta.tool("postsuper", "-d", "ALL")


def servers_that_do_not_understand():
    """The postmaster hears of a server that takes our commands for nonsense (notify_classes); a firewall
    that masks a greeting is spoken to as in 1982; a server that does not say hello is none of the
    sessions of smtp_mx_session_limit."""
    zone = {"away.test MX": ["10 one.away.test", "20 two.away.test", "30 three.away.test"],
            "one.away.test A": ["198.51.100.51"], "two.away.test A": ["198.51.100.52"],
            "three.away.test A": ["198.51.100.53"], "odd.test A": ["198.51.100.54"],
            "old.test A": ["198.51.100.55"]}
    said = []

    def old(connection):
        reader = connection.makefile("rb")
        connection.sendall(b"220 ****************0*******\r\n")
        while line := reader.readline():
            said.append(line)
            connection.sendall(b"500 what\r\n" if line.startswith(b"EHLO") else b"250 ok\r\n")
    parameters = SHORT | {"smtp_mx_session_limit": "2", "notify_classes": "protocol",
                          "error_notice_recipient": "u0@box.test"}
    with Mta(parameters, zone=zone) as mta:
        mta.sink("198.51.100.51", banner=b"421 4.3.2 not now\r\n")
        mta.sink("198.51.100.52", replies={"RCPT": b"450 4.2.0 grey\r\n"})
        third = mta.sink("198.51.100.53")
        mta.sink("198.51.100.54", replies={"MAIL": b"500 5.5.2 what\r\n"})
        mta.sink("198.51.100.55", talk=old)
        with Client() as client:
            for domain in ("away", "odd", "old"):
                check_equal(client.send("u3@box.test", [f"r@{domain}.test"], HELLO), 250, client)
        third.wait(1)
        notice = wait_for("the notice", lambda: maildir("u0"))[0].decode()
        check("SMTP client: errors from odd.test[198.51.100.54]:25" in notice, notice)
        check(" In:  500 5.5.2 what\n" in notice and " Out: MAIL FROM:<u3@box.test>" in notice, notice)
        check("Hello." not in notice, notice)
        wait_for("the old server's end", lambda: any(line.startswith(b"RCPT") for line in said))
        check(said[0].startswith(b"HELO "), said)
        mta.wait_log("enabling PIX workarounds: disable_esmtp for old.test")
        mta.tool("postsuper", "-d", "ALL")


main([servers_that_do_not_understand, replies_are_filtered, connections_drop_at_each_stage, answers_of_the_wrong_kind, replies_without_end])
