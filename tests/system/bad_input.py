"""bad_input.py - what hostile or broken clients, tables, name servers and next hops get.

After each of them the mail system serves as before, and no daemon has ended.
"""
import os
import re
import socket

from harness import *

HELLO = b"Subject: hello\n\nHello.\n"


def stranger(**options):
    return Client(source=CLIENT, **options)


def check_serves():
    with stranger() as client:
        check_equal(client.send("s@away.test", ["u9@box.test"], HELLO), 250, client)


def resident(program):
    """Kilobytes of the largest process; nothing is known of them in a build with sanitizers."""
    if os.environ.get("POSTERN_TEST_SANITIZE"):
        return 0
    return max(int(re.search(rb"VmRSS:\s+(\d+)", read(f"/proc/{pid}/status"))[1])
               for pid in daemons(program))


def raw_session(data, seconds=30.0):
    """Everything the server says to these bytes, until it closes or QUIT is answered."""
    with socket.create_connection((HOST, 25), seconds, (CLIENT, 0)) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(data)
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while more := connection.recv(65536):
                said += more
        return said


def commands():
    with Mta() as mta:
        with stranger() as client:
            limit = 2048  # line_length_limit
            check_equal(client.command("NOOP " + "x" * (limit - 5))[0], 250, "at the limit")
            check(500 <= client.command("NOOP " + "x" * (limit - 4))[0] < 600, "over the limit")
            client.raw(b"NOOP " + b"x" * 10_000_000 + b"\r\n")
            check(500 <= client.reply()[0] < 600, "10 MB line")
            check_equal(client.command("NOOP")[0], 250, "afterwards")
            check(resident("smtpd") < 60_000, "memory of smtpd:", resident("smtpd"))
            check_equal(client.send("s@away.test", ["u1@box.test"], HELLO), 250, client)
        wrong = []
        for line in (b"MAIL FROM:<a\0b@away.test>", b"MAIL FROM:<a\rb@away.test>",
                     b"MA\0IL FROM:<a@away.test>", b"MAIL FROM:<a@away.test> \xff\xfe=1",
                     b"MAIL FROM:<a@away.test", b"RCPT TO:<u1@box.test>",
                     b"DATA", b"BDAT", b"BDAT -1", b"BDAT 99999999999999999999999", b"", b"\0",
                     b"MAIL FROM:<a@away.test> SIZE=99999999999999999999999",
                     b"VRFY \r", b"EHLO", b"AUTH PLAIN AAAA", b"STARTTLS now", b"X\xc3\x28"):
            with stranger() as client:
                client.raw(line + b"\r\n")
                code, text = client.reply()
                if code != 221 and not 500 <= code < 600:
                    wrong.append((line, code, text))
                # 521 is the end: after a bad BDAT nobody knows what are commands. 221 is said to
                # what is not SMTP.
                check_equal(client.command("NOOP")[0], 0 if code in (221, 521) else 250, line)
        check_equal(wrong, [], "not refused")
        mta.wait_drained()
        check_equal(len(maildir("u1")), 1)


def too_many_errors():
    with Mta({"smtpd_hard_error_limit": "2"}):
        # Told at once, not at the next command.
        with Client(source=CLIENT) as client:
            for _ in range(2):
                check_equal(client.command("FOO")[0], 500)
            check_equal(client.reply()[1], "421 4.7.0 mx.home.test Error: too many errors")
    with Mta({"smtpd_hard_error_limit": "20"}):
        said = raw_session(b"EHLO a\r\n" + b"nonsense\r\n" * 1000)
        check(b"\r\n421 4.7.0 " in said, said[-200:])
        check_equal(said.count(b"\r\n50"), 20, "errors before the end")
        said = raw_session(b"EHLO a\r\n" + os.urandom(200_000))
        check(len(said) < 20_000, len(said))
        check_serves()


def other_protocols():
    with Mta() as mta:
        for data in (b"GET / HTTP/1.1\r\nHost: mx.home.test\r\n\r\n",
                     b"POST / HTTP/1.1\r\nContent-Length: 60\r\n\r\nMAIL FROM:<a@b.test>\r\n",
                     b"CONNECT mx:25 HTTP/1.0\r\n\r\n"):
            said = raw_session(data)
            check(b"250" not in said and b"\r\n221 2.7.0 " in said, said)
        # A TLS greeting, and a NUL flood.
        for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(508) + b"\r\n",
                     bytes(100_000) + b"\r\nQUIT\r\n"):
            check(b"\r\n250 " not in raw_session(data), data[:20])
        mta.wait_log("non-SMTP command from unknown")
        check_serves()


def too_many_recipients():
    with Mta({"smtpd_recipient_limit": "1000", "smtpd_recipient_overshoot_limit": "1000",
              "smtpd_hard_error_limit": "100000"}) as mta:
        with stranger() as client:
            client.command("MAIL FROM:<s@away.test>")
            codes = []
            for _ in range(11):
                client.raw(b"RCPT TO:<u1@box.test>\r\n" * 1000)
                codes += [client.reply()[0] for _ in range(1000)]
            check_equal(codes[:1000], [250] * 1000, "within the limit")
            check(set(codes[1000:]) == {452}, "over the limit", set(codes[1000:]))
            check_equal(client.command("DATA")[0], 354)
            client.raw(b"Subject: many\r\n\r\nx\r\n.\r\n")
            check_equal(client.reply()[0], 250)
        mta.wait_drained()
        check_equal(len(maildir("u1")), 1, "copies for one mailbox")


def smuggling():
    """Only CR LF dot CR LF ends a message; and what we pass on has no bare CR or LF."""
    with Mta({"mynetworks": CLIENT, "smtpd_forbid_bare_newline_exclusions": ""}) as mta:
        sink = mta.sink()
        hidden = (b"MAIL FROM:<evil@away.test>\r\nRCPT TO:<u2@box.test>\r\nDATA\r\n"
                  b"Subject: smuggled\r\n\r\nx")
        ends = (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r",
                b"\r\n.\0\r\n", b"\r\n\0.\r\n", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n")
        for end in ends:
            with stranger() as client:
                for line in ("MAIL FROM:<s@away.test>", "RCPT TO:<u1@box.test>",
                             "RCPT TO:<r@away.test>", "DATA"):
                    client.command(line)
                client.raw(b"Subject: outer\r\n\r\nfirst" + end + hidden + b"\r\n.\r\nQUIT\r\n")
                codes = []
                while (reply := client.reply())[0]:
                    codes.append(reply[0])
                # Taken as one message, or refused; never as two.
                check(len(codes) <= 2 and 354 not in codes, end, codes)
        mta.wait_drained()
        check_equal(maildir("u2"), [], "smuggled")
        check_equal(len(maildir("u1")), len(sink.messages), "copies")
        check(len(sink.messages) > 0, "all refused")
        for message in sink.messages:
            check_equal(message.sender, "s@away.test")
            check(not re.search(rb"(?<!\r)\n|\r(?!\n)", message.content), "bare CR or LF:",
                  message.content)
            check(not re.search(rb"\r\n\.\r\n", message.content), message.content)


def endless_header():
    with Mta({"message_size_limit": "0"}) as mta:
        check_serves()
        # Fields without end are refused; one without end is cut at header_size_limit.
        for field, wanted in ((b"X-Many: " + b"x" * 60 + b"\r\n", 552),
                              (b"\t" + b"y" * 60 + b"\r\n", 250)):
            with stranger() as client:
                client.command("MAIL FROM:<s@away.test>")
                client.command("RCPT TO:<u1@box.test>")
                check_equal(client.command("DATA")[0], 354)
                before = resident("cleanup")
                client.raw(b"Subject: endless\r\n" + field * (20_000_000 // len(field)) + b".\r\n")
                code, text = client.reply()
                check_equal(code, wanted, text)
                check(resident("cleanup") - before < 30_000, "memory of cleanup grew by",
                      resident("cleanup") - before)
        mta.wait_drained()
        check_equal([len(message) // 1024 for message in maildir("u1")], [100], "cut at 102400 bytes")
        check_serves()


def too_large():
    with Mta({"message_size_limit": "100000"}) as mta:
        with stranger() as client:
            check_equal(client.command("MAIL FROM:<s@away.test> SIZE=100001")[0], 552)
            check_equal(client.send("s@away.test", ["u1@box.test"], b"\n" + b"x\n" * 100_000), 552)
            check_equal(client.send("s@away.test", ["u1@box.test"], b"\n" + b"x\n" * 40_000), 250)
            for size in ("18446744073709551615", "9223372036854775807", "4294967296", "100001"):
                client.command("RSET")
                client.command("MAIL FROM:<s@away.test>")
                client.command("RCPT TO:<u1@box.test>")
                client.raw(f"BDAT {size}\r\n".encode())
                with contextlib.suppress(TimeoutError):
                    client.socket.settimeout(0.5)
                    code = client.reply()[0]
                    check(code == 0 or 500 <= code < 600 or code == 421, size, code)
                client.close()
                client = stranger()
                client.socket.settimeout(15)
            client.close()
        # A chunk that never comes to its end leaves nothing behind.
        with stranger() as client:
            client.command("MAIL FROM:<s@away.test>")
            client.command("RCPT TO:<u1@box.test>")
            client.raw(b"BDAT 90000 LAST\r\nonly this")
        mta.wait_drained()
        check_equal(len(maildir("u1")), 1)


def tables():
    """A table that is missing or broken is a temporary error, never "not found"."""
    with Mta({"virtual_mailbox_maps": "lmdb:/mnt/conf/nothere, texthash:/mnt/conf/boxes"},
             may_log="nothere") as mta:
        with stranger() as client:
            code, text = client.command("MAIL FROM:<s@away.test>")
            if code == 250:
                code, text = client.command("RCPT TO:<unknown@box.test>")
            check_equal((code, "4.3.0" in text), (451, True), text)
    with Mta({"virtual_mailbox_maps": "lmdb:/mnt/conf/broken"}, start=False,
             may_log="broken") as mta:
        write(CONF + "/broken.lmdb", "this is no database\n" * 1000)
        mta.start()
        with stranger() as client:
            code, text = client.command("MAIL FROM:<s@away.test>")
            if code == 250:
                code, text = client.command("RCPT TO:<u1@box.test>")
            check_equal((code, "4.3.0" in text), (451, True), text)
    # It breaks while mail is queued: deferred, not bounced.
    with Mta({"defer_transports": "virtual"}, may_log="boxes|queue_run") as mta:
        with stranger() as client:
            check_equal(client.send("u2@box.test", ["u1@box.test"], HELLO), 250)
        wait_for("deferred", lambda: any("deferred" in f for f in queue_files()))
        mta.stop()
        os.rename(CONF + "/boxes", CONF + "/boxes.away")
        mta.write_main_cf(defer_transports="")
        mark = len(mta.log())
        mta.start()
        mta.wait_log("status=deferred", mark)
        check("status=bounced" not in mta.log(), "bounced")
        os.rename(CONF + "/boxes.away", CONF + "/boxes")
        check_equal(mta.tool("postern", "reload").returncode, 0)
        mta.wait_drained()
        check_equal((len(maildir("u1")), maildir("u2")), (1, []))


def name_servers():
    """SERVFAIL and silence defer; only "no such domain" bounces."""
    zone = {"servfail.test MX": "SERVFAIL", "servfail.test A": "SERVFAIL",
            "silence.test MX": "SILENCE", "silence.test A": "SILENCE",
            "halfway.test MX": ["10 mx.halfway.test"], "mx.halfway.test A": "SERVFAIL",
            "mx.halfway.test AAAA": "SERVFAIL"}
    with Mta(zone=zone) as mta:
        domains = ("servfail.test", "silence.test", "halfway.test")
        with Client() as client:
            for domain in domains:
                check_equal(client.send("u3@box.test", [f"r@{domain}"], HELLO), 250, client)
        for domain in domains:
            mta.wait_log(rf"to=<r@{domain}>.*status=deferred", seconds=30)
        check("status=bounced" not in mta.log(), "bounced")
        check_equal(maildir("u3"), [], "bounces")
        mta.tool("postsuper", "-d", "ALL")
        with Client() as client:
            check_equal(client.send("u3@box.test", ["r@nowhere.test"], HELLO), 250, client)
        wait_for("a bounce", lambda: len(maildir("u3")) == 1)


def next_hops():
    """Garbage, an endless reply, silence in the middle: deferred, and others go on."""
    def endless(connection):
        connection.sendall(b"220-")
        while True:
            connection.sendall(b"x" * 65536)

    def endless_lines(connection):
        while True:
            connection.sendall(b"220-more\r\n" * 1000)

    def garbage(connection):
        connection.sendall(os.urandom(5000).replace(b"\n", b"") + b"\r\n")
        connection.recv(1000)

    def end(connection):
        connection.sendall(b"220 hi\r\n")
        connection.recv(1000)
    bad = {"endless": endless, "lines": endless_lines, "garbage": garbage, "end": end}
    zone = {}
    for number, name in enumerate(bad):
        zone[f"{name}.test MX"] = [f"10 mx.{name}.test"]
        zone[f"mx.{name}.test A"] = [f"198.51.100.{30 + number}"]
    with Mta(zone=zone) as mta:
        sink = mta.sink()
        for number, talk in enumerate(bad.values()):
            mta.sink(f"198.51.100.{30 + number}", talk=talk)
        with Client() as client:
            for name in bad:
                check_equal(client.send("u3@box.test", [f"r@{name}.test"], HELLO), 250)
            check_equal(client.send("u3@box.test", ["r@away.test"], HELLO), 250)
        sink.wait(1)
        for name in bad:
            mta.wait_log(rf"to=<r@{name}.test>.*status=deferred")
        check("status=bounced" not in mta.log(), "bounced")
        check(resident("smtp") < 60_000, "memory of smtp:", resident("smtp"))
        check_equal(maildir("u3"), [], "bounces")
        check(all(ord(c) >= 32 or c == "\n" for c in mta.log()), "raw bytes in the log")
        mta.tool("postsuper", "-d", "ALL")


def next_hops_that_are_ourselves():
    """By whatever address: the mail is returned or waits, and does not come in again."""
    addresses = {"zero": "0.0.0.0", "loopback": "127.0.0.1", "other": "127.9.9.9", "own": HOST,
                 "broadcast": "255.255.255.255", "multicast": "224.0.0.1"}
    zone = {}
    for name, address in addresses.items():
        zone[f"{name}.test MX"] = [f"10 mx.{name}.test"]
        zone[f"mx.{name}.test A"] = [address]
    zone["many.test MX"] = [f"{n} mx{n}.many.test" for n in range(1000)]
    zone |= {f"mx{n}.many.test A": ["0.0.0.0"] * 3 for n in range(1000)}
    with Mta({"inet_interfaces": "all", "mynetworks": "0.0.0.0/0"}, zone=zone) as mta:
        names = [*addresses, "many"]
        with Client() as client:
            for name in names:
                check_equal(client.send("u3@box.test", [f"r@{name}.test"], HELLO), 250)
        outcomes = {name: mta.wait_log(rf"to=<r@{name}\.test>.*status=(\w+)")[1] for name in names}
        check("sent" not in outcomes.values(), outcomes)
        mta.tool("postsuper", "-d", "ALL", "deferred")
        mta.wait_drained()
        # Notices come from bounce, not by SMTP.
        check_equal(len(re.findall(r"smtpd\[\d+\]: \w+: client=", mta.log())), len(names), "messages by SMTP")
        print("     " + ", ".join(f"{name} {outcome}" for name, outcome in outcomes.items()))


main([commands, too_many_errors, other_protocols, too_many_recipients, smuggling, endless_header,
      too_large, tables, name_servers, next_hops,
      next_hops_that_are_ourselves])
