"""server_tables.py - tables on servers, tcp: and socketmap:, asked by proxymap for everybody."""
import re
import time

from harness import *


class TcpTable(Server):
    """tcp_table(5); a value of None is a server that does not answer."""

    def __init__(self, port, entries, status=None):
        self.entries, self.status, self.asked = entries, status, []
        super().__init__("127.0.0.1", port)

    def serve(self, connection):
        for line in connection.makefile("rb"):
            key = re.sub(rb"%([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]),
                         line.rstrip(b"\n").partition(b" ")[2]).decode()
            self.asked.append(key)
            value = self.entries.get(key, "")
            if value is None:
                time.sleep(60)
            answer = f"200 {value.replace(' ', '%20')}" if value else "500 none"
            connection.sendall((self.status or answer).encode() + b"\n")


class Socketmap(Server):
    def __init__(self, port, maps):
        self.maps, self.asked = maps, []
        super().__init__("127.0.0.1", port)

    def serve(self, connection):
        stream = connection.makefile("rb")
        while True:
            digits = b""
            while (byte := stream.read(1)) not in (b":", b""):
                digits += byte
            if not digits:
                return
            name, _, key = stream.read(int(digits) + 1)[:-1].decode().partition(" ")
            self.asked.append((name, key))
            value = self.maps.get(name, {}).get(key)
            reply = f"OK {value}" if value else "NOTFOUND "
            connection.sendall(f"{len(reply)}:{reply},".encode())


def answer_to(recipient, sender="s@away.test"):
    with Client(source=CLIENT) as client:
        client.command(f"MAIL FROM:<{sender}>")
        return client.command(f"RCPT TO:<{recipient}>")[1]


def addresses_come_from_servers():
    with Mta({"sender_canonical_maps": "tcp:127.0.0.1:10001", "virtual_alias_maps":
              "socketmap:inet:127.0.0.1:10002:aliases", "smtpd_sender_restrictions":
              "check_sender_access socketmap:inet:127.0.0.1:10002:access"}) as mta:
        tcp = TcpTable(10001, {"s@away.test": "other@away.test"})
        socketmap = Socketmap(10002, {"aliases": {"team@box.test": "u1@box.test, u2@box.test"},
                                      "access": {"bad@away.test": "REJECT go away"}})
        mta.closers += [tcp, socketmap]
        with Client(source=CLIENT) as client:
            check_equal(client.send("s@away.test", ["team@box.test"], b"Subject: x\n\nx\n"), 250)
        for box in ("u1", "u2"):
            wait_for(f"mail for {box}", lambda: maildir(box))
        check(b"Return-Path: <other@away.test>" in maildir("u1")[0], maildir("u1")[0])
        check_equal(answer_to("u1@box.test", "bad@away.test"),
                    "554 5.7.1 <bad@away.test>: Sender address rejected: go away")
        # Whole keys only.
        check("@away.test" not in tcp.asked and "away.test" not in tcp.asked, tcp.asked)
        check(("access", "away.test") not in socketmap.asked, socketmap.asked)
        # The tools ask by themselves.
        done = mta.tool("postmap", "-q", "s@away.test", "tcp:127.0.0.1:10001")
        check_equal((done.returncode, done.stdout), (0, b"other@away.test\n"), done.stderr)
        done = mta.tool("postmap", "-q", "none", "socketmap:inet:127.0.0.1:10002:aliases")
        check_equal((done.returncode, done.stdout), (1, b""), done.stderr)
        for table in ("socketmap:unix:/nowhere:aliases", "tcp:127.0.0.1:1"):
            done = mta.tool("postmap", "-q", "key", table, timeout=30)
            check(done.returncode == 1 and b"fatal: " in done.stderr, table, done.stderr)
        said = mta.tool("postconf", "-m").stdout.decode().split()
        check("tcp" in said and "socketmap" in said, said)


def servers_are_parts_of_other_tables():
    """unionmap: and pipemap: with tcp: and socketmap: in them, nested, and beside tables of files."""
    union = "unionmap:{ tcp:127.0.0.1:10001, inline:{ team@box.test=u3@box.test } }"
    pipe = "pipemap:{ inline:{ s@away.test=one }, socketmap:inet:127.0.0.1:10002:names, " \
           "unionmap:{ tcp:127.0.0.1:10001 } }"
    with Mta({"virtual_alias_maps": union, "sender_canonical_maps": pipe,
              "smtpd_sender_restrictions": "check_sender_access pipemap:{ tcp:127.0.0.1:10003, "
              "inline:{ x=REJECT } }, check_sender_access unionmap:{ tcp:127.0.0.1:10004 }"}) as mta:
        tcp = TcpTable(10001, {"team@box.test": "u1@box.test, u2@box.test", "two": "three@away.test"})
        socketmap = Socketmap(10002, {"names": {"one": "two"}})
        failing = TcpTable(10003, {"fails@away.test": "x"}, "400 not now")
        other = TcpTable(10004, {})
        mta.closers += [tcp, socketmap, failing, other]
        check_equal(answer_to("u1@box.test", "fails@away.test")[:9], "451 4.3.5")
        mta.wait_log(r"warning: .*tcp:127\.0\.0\.1:10003: server says: not now")
        failing.status = None
        check_equal(answer_to("u1@box.test", "fails@away.test")[:9], "554 5.7.1")
        # Whole keys only, as by themselves.
        check("away.test" not in other.asked, other.asked)
        with Client(source=CLIENT) as client:
            check_equal(client.send("s@away.test", ["team@box.test"], b"Subject: x\n\nx\n"), 250)
        for box in ("u1", "u2", "u3"):
            wait_for(f"mail for {box}", lambda: maildir(box))
        check(b"Return-Path: <three@away.test>" in maildir("u1")[0], maildir("u1")[0])
        for table, key, value in ((union, "team@box.test", "u1@box.test, u2@box.test,u3@box.test"),
                                  (pipe, "s@away.test", "three@away.test")):
            done = mta.tool("postmap", "-q", key, table)
            check_equal((done.returncode, done.stdout.decode()), (0, value + "\n"), done.stderr)
        check_equal(mta.tool("postern", "check").returncode, 0)
        mta.write_main_cf(virtual_alias_maps="unionmap:{ tcp:nonsense }",
                          transport_maps="pipemap:{ hash:/nowhere }")
        done = mta.tool("postern", "check")
        said = (done.stdout + done.stderr).decode()
        check(done.returncode == 1 and "/nowhere.db is missing" in said and "tcp:" in said, said)


def a_server_that_fails_defers_its_own_mail_only():
    with Mta({"smtpd_sender_restrictions": "check_sender_access inline:{slow@away.test=slow, "
              "later@away.test=later, gone@away.test=gone}",
              "smtpd_restriction_classes": "slow, later, gone",
              "slow": "check_sender_access tcp:127.0.0.1:10001",
              "later": "check_sender_access tcp:127.0.0.1:10002",
              "gone": "check_sender_access tcp:127.0.0.1:10003"}) as mta:
        slow = TcpTable(10001, {"slow@away.test": None})
        later = TcpTable(10002, {}, "400 not now")
        mta.closers += [slow, later]
        waiting = Client(source=CLIENT)
        waiting.command("MAIL FROM:<slow@away.test>")
        waiting.raw(b"RCPT TO:<u1@box.test>\r\n")
        wait_for("the question", lambda: slow.asked)
        begun = time.monotonic()
        check_equal(answer_to("u1@box.test", "s@away.test"), "250 2.1.5 Ok")
        check_equal(answer_to("u1@box.test", "later@away.test")[:9], "451 4.3.5")
        check_equal(answer_to("u1@box.test", "gone@away.test")[:9], "451 4.3.5")
        check(time.monotonic() - begun < 20, "others wait for the slow one")
        mta.wait_log(r"warning: .*tcp:127\.0\.0\.1:10002: server says: not now")
        mta.wait_log(r"warning: .*tcp:127\.0\.0\.1:10003: ")
        waiting.close()
        mta.write_main_cf(virtual_alias_maps="socketmap:nonsense")
        done = mta.tool("postern", "check")
        said = (done.stdout + done.stderr).decode()
        check(done.returncode != 0 and "socketmap:inet:host:port:name" in said, said)


main([addresses_come_from_servers, servers_are_parts_of_other_tables, a_server_that_fails_defers_its_own_mail_only])
