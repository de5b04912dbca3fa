"""end_to_end.py - a message in by every way, out by every way, unchanged."""
import random
import re

from harness import *

ALIASES = """\
team: alice, bob@home.test, u3@box.test
away: someone@away.test
loop: loop
"""


def big_message():
    """5 MB with what a mail system could trip over: dots, 8 bit, lines as long as allowed."""
    chance = random.Random(5)
    lines = [b".", b"..", b".a", b"", b" ", b"From here", b"\t.", b"x" * 998, b"." * 998,
             bytes(range(0x80, 0x100)), "Grüße".encode() * 10, b"end with space "]
    text, size = [], 0
    while size < 5_000_000:
        line = chance.choice(lines) if chance.random() < 0.3 else bytes(
            chance.choices(b"abcdefghijklmnop .", k=chance.randint(1, 200)))
        text.append(line)
        size += len(line) + 1
    return b"\n".join(text) + b"\n"


def every_way_out():
    with Mta({"alias_maps": "texthash:/mnt/conf/aliases"}, start=False) as mta:
        write(CONF + "/aliases", ALIASES.replace(":", ""))
        mta.start()
        sink = mta.sink()
        with Client() as client:
            check_equal(client.banner[0], 220)
            check_equal(client.send("s@away.test", ["u1@box.test", "alice@home.test",
                                                    "r@away.test"],
                                    b"Subject: three ways\n\nHello.\n"), 250, client)
            check_equal(client.send("s@away.test", ["team@home.test"], b"Subject: team\n\nHi.\n"),
                        250)
            check_equal(client.command("QUIT")[0], 221)
        mta.wait_drained()
        [box] = maildir("u1")
        check(b"\nSubject: three ways\n" in box and box.endswith(b"\n\nHello.\n"), box)
        check(box.startswith(b"Return-Path: <s@away.test>\n"), box)
        check(b"\nReceived: from client.away.test (" in box, box)
        check_equal(len(maildir("u3")), 1, "messages by alias in u3")
        alice = read(MAIL + "/alice")
        check_equal(len(re.findall(rb"^From s@away.test ", alice, re.M)), 2, "messages of alice")
        check_equal(len(re.findall(rb"^From ", read(MAIL + "/bob"), re.M)), 1, "messages of bob")
        [message] = sink.messages
        check_equal((message.sender, message.recipients), ("s@away.test", ["r@away.test"]))
        # The log writer may be a moment behind.
        wait_for("7 recipients sent", lambda: len(re.findall("status=sent", mta.log())) == 7)
        wait_for("3 messages removed",
                 lambda: len(re.findall(r"qmgr\[\d+\]: \w+: removed$", mta.log(), re.M)) == 3)


def sendmail_and_bounce():
    with Mta() as mta:
        sink = mta.sink(replies={"RCPT": b"550 5.1.1 no such user\r\n"})
        text = b"To: u2@box.test\nBcc: alice@home.test\nSubject: typed\n\nlocal\n.\nnot the end\n"
        done = mta.tool("sendmail", "-t", "-i", "-f", "u4@box.test", data=text, user="alice")
        check_equal(done.returncode, 0, done.stderr)
        mta.wait_drained()
        [box] = maildir("u2")
        check(box.endswith(b"\n\nlocal\n.\nnot the end\n"), box)
        check(b"Bcc:" not in box, "Bcc is shown:", box)
        check(re.search(rb"^Message-Id: <", box, re.M | re.I), box)
        check(b"Subject: typed" in read(MAIL + "/alice"))

        done = mta.tool("sendmail", "-f", "u4@box.test", "nobody@away.test",
                        data=b"Subject: refused\n\nx\n")
        check_equal(done.returncode, 0, done.stderr)
        mta.wait_drained()
        check_equal(sink.messages, [], "sink")
        [bounce] = maildir("u4")
        for part in (b"Return-Path: <>\n", b"multipart/report", b"Final-Recipient: rfc822; nobody@away.test",
                     b"Action: failed", b"Status: 5.1.1", b"550 5.1.1 no such user",
                     b"Subject: refused"):
            check(part in bounce, part, "is missing in", bounce)
        # A bounce that cannot be delivered ends; it does not make another.
        done = mta.tool("sendmail", "-f", "gone@away.test", "nobody@away.test", data=b"\nx\n")
        check_equal(done.returncode, 0, done.stderr)
        mta.wait_drained()


def five_megabytes_unchanged():
    body = big_message()
    message = b"Subject: big\nMIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n\n" + body
    with Mta() as mta:
        sink = mta.sink()
        with Client() as client:
            check_equal(client.send("s@away.test", ["u1@box.test", "r@away.test"], message), 250,
                        "5 MB")
        mta.wait_drained(60)
        check_equal(digest(body_of(maildir("u1")[0])), digest(body), "in the Maildir")
        check_equal(digest(body_of(sink.messages[0].content)), digest(body), "at the sink")


def chunks():
    body = big_message()[:300_000].rpartition(b"\n")[0] + b"\n"
    content = (b"Subject: chunks\n\n" + body).replace(b"\n", b"\r\n")
    with Mta() as mta, Client() as client:
        check("CHUNKING" in client.ehlo[1], client.ehlo)
        check_equal(client.command("MAIL FROM:<s@away.test> BODY=8BITMIME")[0], 250)
        check_equal(client.command("RCPT TO:<u1@box.test>")[0], 250)
        # Cut anywhere, also between CR and LF.
        chance, at = random.Random(1), 0
        while at < len(content):
            size = min(chance.choice([1, 2, 3, 100, 4096, 65536, 100_000]), len(content) - at)
            client.raw(f"BDAT {size}\r\n".encode() + content[at:at + size])
            at += size
            check_equal(client.reply()[0], 250, "BDAT")
        check_equal(client.command("BDAT 0 LAST")[0], 250, "BDAT LAST")
        mta.wait_drained()
        check_equal(digest(body_of(maildir("u1")[0])), digest(body), "by BDAT")


def everything_in_one_packet():
    with Mta() as mta:
        sink = mta.sink()
        with Client() as client:
            one = (b"MAIL FROM:<s@away.test>\r\nRCPT TO:<u1@box.test>\r\nRCPT TO:<r@away.test>\r\n"
                   b"RCPT TO:<nobody@box.test>\r\nDATA\r\n")
            for number in range(15):
                client.raw(one)
                check_equal([client.reply()[0] for _ in range(5)], [250, 250, 250, 550, 354])
                client.raw(f"Subject: {number}\r\n\r\ntext\r\n.\r\nNOOP\r\nRSET\r\n".encode())
                check_equal([client.reply()[0] for _ in range(3)], [250, 250, 250])
        mta.wait_drained()
        check_equal(len(maildir("u1")), 15, "in the Maildir")
        subjects = sorted(int(re.search(rb"^Subject: (\d+)", m.content, re.M)[1])
                          for m in sink.messages)
        check_equal(subjects, list(range(15)), "at the sink")


def first_messages_of_a_mailbox():
    """The Maildir is made by the first of several deliveries at once."""
    with Mta() as mta:
        clients = [Client() for _ in range(8)]
        for box in range(10):
            for client in clients:
                for line in ("MAIL FROM:<s@away.test>", f"RCPT TO:<u{box}@box.test>", "DATA"):
                    client.command(line)
            for client in clients:
                client.raw(b"Subject: first\r\n\r\nx\r\n.\r\n")
            check_equal([client.reply()[0] for client in clients], [250] * 8)
        mta.wait_drained()
        check_equal([len(maildir(f"u{box}")) for box in range(10)], [8] * 10, "in the Maildirs")


def lines_of_old_master_files():
    """Before Postfix 2.11, pickup and qmgr were woken through FIFOs."""
    with Mta(master=["pickup fifo n - n 60 1 pickup", "qmgr fifo n - n 300 1 qmgr"]) as mta:
        check_equal(mta.tool("postern", "check").returncode, 0, "postern check")
        with Client() as client:
            check_equal(client.send("s@away.test", ["u1@box.test"], b"Subject: x\n\nHi.\n"), 250)
        mta.wait_log("to=<u1@box.test>.*status=sent")
        check_equal(mta.tool("sendmail", "u2@box.test", data=b"Subject: y\n\nHi\n").returncode, 0)
        mta.wait_log("to=<u2@box.test>.*status=sent")


def why_a_message_waits():
    """Nothing listens at the next hop: the queue tells why, also with the system stopped."""
    # No attempts but those that are asked for.
    with Mta({"minimal_backoff_time": "300s", "maximal_backoff_time": "400s"}) as mta:
        def is_deferred(attempts):
            seen = re.findall(r"to=<r@away.test>.*status=deferred", mta.log())
            return len(seen) >= attempts and all("/deferred/" in path for path in queue_files())

        with Client() as client:
            check_equal(client.send("s@home.test", ["r@away.test", "q@away.test"],
                                    b"Subject: w\n\nHi.\n"), 250)
        wait_for("the first attempt", lambda: is_deferred(1))
        check_equal(mta.tool("postqueue", "-f").returncode, 0)
        wait_for("the second attempt", lambda: is_deferred(2))
        mta.stop()
        [message] = json.loads(mta.tool("postern", "queue", "list", "--json").stdout)
        queue_id = message["queue_id"]
        for wanted in (queue_id, "r@away.test", "away.test"):
            done = mta.tool("postern", "why", wanted)
            text = done.stdout.decode()
            check_equal(done.returncode, 0, done.stderr)
            check(text.startswith(queue_id + "  s@home.test -> "), wanted, text)
            check_equal("q@away.test" in text, wanted != "r@away.test", text)
            for part in (r"received from \S+ \[\S+\], helo \S+, ESMTP, not authenticated\n",
                         r"attempt 1 .*connect to mx\.away\.test\[198\.51\.100\.25\]:25: "
                         r"Connection refused\n", r"attempts? [2-9].* same\n",
                         r"next try .*gives up .*\(maximal_queue_lifetime 5 d\)\n",
                         r"\nCause   The host answers, but nothing listens",
                         r"\nTry     postern tls test '\[mx\.away\.test\]' +"
                         r"postern queue retry --domain away\.test\n"):
                check(re.search(part, text), part, "is missing in", text)
        [story] = json.loads(mta.tool("postern", "why", "--json", queue_id).stdout)
        check_equal([c["cause"] for c in story["causes"]], ["refused"])
        check_equal(len(story["recipients"]), 2)
        check(len(story["recipients"][0]["attempts"]) >= 2, story)
        check_equal(mta.tool("postern", "why", "else.test").returncode, 1)
        check_equal(mta.tool("postern", "why", queue_id, user="alice").returncode, 1)
        check_equal(mta.tool("postern", "why", queue_id, user="postfix").returncode, 0)

        done = mta.tool("postern", "queue", "--group", "reason")
        check_equal(done.returncode, 0, done.stderr)
        lines = done.stdout.decode().splitlines()
        check_equal(len(lines), 2, lines)
        check(lines[0].startswith("1 message, "), lines)
        check(re.match(r" +1  connect to mx\.away\.test:25: Connection refused +oldest \d+ s  next ",
                       lines[1]), lines)
        groups = json.loads(mta.tool("postern", "queue", "list", "--group", "domain", "--json",
                                     "--sender", "s@home.test").stdout)
        check_equal([(g["name"], g["messages"]) for g in groups["groups"]], [("away.test", 1)])
        done = mta.tool("postern", "queue", "--group", "sender", "--domain", "else.test")
        check_equal(done.stdout, b"0 messages\n")
        check_equal(mta.tool("postern", "queue", "delete", "--group", "sender", "--all").returncode, 1)

        check_equal(mta.tool("postsuper", "-h", queue_id).returncode, 0, "hold")
        text = mta.tool("postern", "why", queue_id).stdout.decode()
        check(f"\nTry     postern queue release {queue_id}\n" in text, text)


def local_mail_that_is_refused_comes_back():
    """sendmail has ended by then: what a content check refuses is told with its header, not dropped."""
    with Mta({"header_checks": "regexp:{{/^Subject: bad/ REJECT not this} {/^Subject: gone/ DISCARD}}"}) as mta:
        for subject in ("bad", "gone"):
            check_equal(mta.tool("sendmail", "-f", "alice", "u1@box.test", user="alice",
                                 data=f"Subject: {subject}\n\nmy words\n".encode()).returncode, 0)
        mta.wait_log(r"reject: header Subject: bad from local; from=<alice@home\.test> to=<u1@box\.test>: "
                     r"5\.7\.1 not this")
        mta.wait_log(r"discard: header Subject: gone from local")
        mta.wait_log(r"to=<u1@box\.test>, .*dsn=5\.7\.1, status=bounced \(not this\)")
        report = wait_for("the notice", lambda: os.path.exists(MAIL + "/alice") and read(MAIL + "/alice"))
        check(b"<u1@box.test>: not this" in report and b"\nSubject: bad\n" in report, report.decode())
        check(b"text/rfc822-headers" in report and b"my words" not in report, report.decode())
        mta.wait_drained()
        check_equal(maildir("u1"), [])


main([every_way_out, first_messages_of_a_mailbox, sendmail_and_bounce, five_megabytes_unchanged, chunks,
      everything_in_one_packet, lines_of_old_master_files, why_a_message_waits, local_mail_that_is_refused_comes_back])
