"""milters.py - our side of the milter protocol against filters on Sendmail's library, and against
peers that keep to no protocol at all."""
import re
import struct
import time

from harness import *

PROGRAM = SUPPORT + "/test_milter"
MESSAGE = b"From: a@away.test\nTo: u1@box.test\nSubject: old\nX-Gone: 1\nX-Gone: 2\n\nfirst line\nlast line\n"


class Milter:
    """A filter that does what the script says; lines() is what it has seen."""

    def __init__(self, script, port=9001):
        self.port, self.path = port, f"{CONF}/milter{port}"
        write(self.path, script)
        write(self.path + ".log", "")
        self.process = subprocess.Popen([PROGRAM, f"inet:{port}@127.0.0.1", self.path, self.path + ".log"])
        wait_for("the filter", self.is_listening)
        write(self.path + ".log", "")

    def is_listening(self):
        check_equal(self.process.poll(), None, "the filter has ended")
        with open("/proc/net/tcp", encoding="ascii") as file:
            return f"0100007F:{self.port:04X} 00000000:0000 0A" in file.read()

    def lines(self):
        return read(self.path + ".log").decode().splitlines()

    def has(self, line):
        return [seen for seen in self.lines() if seen == line]

    def __str__(self):
        return f"inet:127.0.0.1:{self.port}"

    def close(self):
        self.process.kill()
        self.process.wait()


def with_filters(scripts, parameters=None, master=(), zone=None, may_log=r"(?!)"):
    """A mail system that is not started yet, and its filters."""
    mta = Mta(parameters, master=master, zone=zone, start=False, may_log=may_log)
    mta.__enter__()
    filters = [Milter(script, 9001 + n) for n, script in enumerate(scripts)]
    mta.closers += filters
    if filters and "smtpd_milters" not in mta.parameters:
        mta.write_main_cf(smtpd_milters=", ".join(map(str, filters)))
    mta.start()
    return mta, filters


class System:
    """`with System([script, ...]) as (mta, filter, ...)`."""

    def __init__(self, scripts, parameters=None, **options):
        self.mta, self.filters = with_filters(scripts, parameters, **options)

    def __enter__(self):
        return self.mta, *self.filters

    def __exit__(self, *what):
        return self.mta.__exit__(*what)


def send(message=MESSAGE, recipients=("u1@box.test",), sender="a@away.test"):
    """(code, text) of the answer that decided."""
    with Client(source=CLIENT) as client:
        client.send(sender, list(recipients), message)
        return client.last


def delivered(box, count=1):
    wait_for(f"mail in {box}", lambda: len(maildir(box)) >= count)
    return maildir(box)[-1].replace(b"\r\n", b"\n").decode()


def every_change_of_a_message():
    script = """\
eom addheader X-Last at the end
eom insheader 0 X-First on top
eom chgheader 1 Subject new
eom chgheader 1 X-New made by a change
eom delheader 1 X-Gone
eom replacebody replaced\\nbody\\n
eom addrcpt <u2@box.test>
eom delrcpt <u3@box.test>
eom chgfrom <changed@away.test>
"""
    with System([script]) as (mta, _):
        check_equal(send(recipients=("u1@box.test", "u3@box.test"))[0], 250)
        text = delivered("u1")
        delivered("u2")
        head, _, body = text.partition("\n\n")
        lines = head.split("\n")
        check_equal(body, "replaced\nbody\n")
        check("X-First: on top" in lines[:6], text)
        check("Subject: new" in lines and "Subject: old" not in text, text)
        check_equal(lines[-2:], ["X-Last: at the end", "X-New: made by a change"], text)
        check_equal([line for line in lines if line.startswith("X-Gone")], ["X-Gone: 2"])
        check("Return-Path: <changed@away.test>" in lines, text)
        mta.wait_drained()
        check_equal(maildir("u3"), [])
        mta.wait_log("from=<changed@away.test>")


def what_a_filter_sees():
    script = """\
read i j _ {daemon_name} {client_addr} {client_name} {mail_addr} {rcpt_addr} {rcpt_mailer}
options rejected
"""
    with System([script], {"smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
                           "milter_macro_daemon_name": "door"}) as (mta, milter):
        with Client(source=CLIENT) as client:
            client.command("FROBNICATE now")
            client.command("MAIL FROM:<a@away.test> SIZE=99")
            check_equal(client.command("RCPT TO:<nobody@elsewhere.test>")[0], 554)
            check_equal(client.command("RCPT TO:<u1@box.test> NOTIFY=NEVER")[0], 250)
            check_equal(client.command("DATA")[0], 354)
            client.raw(wire(MESSAGE) + b".\r\n")
            check_equal(client.reply()[0], 250)
            client.command("MAIL FROM:<again@away.test>")
            client.command("RSET")
            client.command("QUIT")
        wait_for("the end", lambda: any(line.startswith("close") for line in milter.lines()))
        events = [line.split(" | ")[0] for line in milter.lines()]
        check_equal([event for event in events if not event.startswith("header")], [
            "connect [198.51.100.200]", "helo client.away.test", "unknown FROBNICATE",
            "mail <a@away.test> SIZE=99", "rcpt <nobody@elsewhere.test>", "rcpt <u1@box.test> NOTIFY=NEVER",
            "data", "eoh", "body 23", "eom", "mail <again@away.test>", "abort", "close"])
        check_equal([event for event in events if event.startswith("header")], [
            "header From: a@away.test", "header To: u1@box.test", "header Subject: old",
            "header X-Gone: 1", "header X-Gone: 2"])
        lines = dict(line.partition(" | ")[::2] for line in milter.lines())
        for event, wanted in (("connect [198.51.100.200]", "j=mx.home.test"), ("connect [198.51.100.200]", "{daemon_name}=door"),
                              ("mail <a@away.test> SIZE=99", "{mail_addr}=a@away.test"),
                              ("rcpt <nobody@elsewhere.test>", "{rcpt_mailer}=error"),
                              ("rcpt <u1@box.test> NOTIFY=NEVER", "{rcpt_addr}=u1@box.test"),
                              ("connect [198.51.100.200]", "_=unknown [198.51.100.200]")):
            check(wanted in lines[event], event, lines[event], "has no", wanted)
        check(re.search(r"i=[0-9A-F]{6,}", lines["eom"]), lines["eom"])


def a_filter_asks_for_its_macros():
    script = "macros helo j {client_addr}\nmacros mail {mail_host} {ours} {more}\nread j {client_addr} {mail_addr} {ours} {more}\n"
    with System([script], {"milter_macro_defaults": "{ours}=1, { {more} = two words }"}) as (_, milter):
        check_equal(send()[0], 250)
        helo = next(line for line in milter.lines() if line.startswith("helo"))
        check("{client_addr}=198.51.100.200" in helo and "j=mx.home.test" in helo, helo)
        mail = next(line for line in milter.lines() if line.startswith("mail"))
        check("{mail_addr}" not in mail, mail)
        check("{ours}=1" in mail and "{more}=two words" in mail, mail)


def what_a_filter_does_not_want_is_not_shown():
    script = "options noconnect nohelo noeoh nobody nr_mail nr_header\nmail noreply\nheader noreply\n"
    with System([script]) as (_, milter):
        check_equal(send()[0], 250)
        wait_for("the end of the message", lambda: milter.has("eom"))
        check_equal([line.split()[0] for line in milter.lines() if line.split()[0] not in ("header", "abort", "close")],
                    ["mail", "rcpt", "data", "eom"])


def answers_at_each_step():
    steps = ("connect", "helo", "mail", "rcpt", "data", "header", "eoh", "body", "eom")
    for step in steps:
        for action, wanted in (("reject", "5"), ("tempfail", "4"), ("reply 554 5.7.9 not here", "554 5.7.9 not here"),
                               ("reply 421 4.7.9 go away", "421 4.7.9 go away" if step != "connect" else "4"),
                               ("accept", "250"), ("discard", "250")):
            if action == "discard" and step in ("connect", "helo"):
                continue
            with System([f"{step} {action}\n"], may_log=".") as (mta, milter):
                with Client(source=CLIENT, greet=False) as client:
                    said = [client.reply()]
                    # RFC 5321 3.1; the filter's own words are for MAIL.
                    if step == "connect" and wanted.startswith("5"):
                        check_equal(said, [(554, "554 mx.home.test ESMTP not accepting connections")])
                        said = [(220, "")]
                    for line in ("EHLO h.away.test", "MAIL FROM:<a@away.test>", "RCPT TO:<u1@box.test>", "DATA"):
                        if said[-1][0] in (220, 250):
                            said.append(client.command(line))
                    if said[-1][0] == 354:
                        client.raw(wire(MESSAGE) + b".\r\n")
                        said.append(client.reply())
                last = said[-1][1].split("\n")[0].replace("-", " ", 1)
                check(last.startswith(wanted), step, action, said)
                if action == "accept":
                    delivered("u1")
                    later = steps[steps.index(step) + 1:]
                    check(not any(line.split()[0] in later for line in milter.lines()
                                  if step not in ("rcpt",)), step, milter.lines())
                elif action == "discard":
                    mta.wait_drained()
                    check_equal(maildir("u1"), [], step)
                else:
                    mta.wait_log("milter-reject: ")
                    check_equal(maildir("u1"), [], (step, action))


def large_bodies_are_skipped_and_waits_are_prolonged():
    with System(["options skip\nbody skip\neom progress 4\n"], {"milter_content_timeout": "2s"}) as (mta, milter):
        check_equal(send(b"Subject: large\n\n" + b"x" * 70 + b"\n" + b"y" * 300_000 + b"\n")[0], 250)
        check_equal(len([line for line in milter.lines() if line.startswith("body")]), 1)
        check_equal(len(milter.has("eom")), 1)
        check("timed out" not in mta.log(), "progress does not count")


def quarantined_mail_is_held():
    with System(["eom quarantine looks odd\neom addheader X-Held yes\n"]) as (mta, _):
        check_equal(send()[0], 250)
        held = wait_for("the held message", lambda: [m for m in mta.queue() if m["queue_name"] == "hold"])
        check(b"X-Held: yes" in mta.tool("postcat", "-q", held[0]["queue_id"]).stdout)
        mta.wait_log(r"milter-hold: END-OF-MESSAGE from ")
        mta.tool("postsuper", "-d", "ALL")


def filters_work_side_by_side_and_in_order():
    slow = "connect sleep 1\nhelo sleep 1\nmail sleep 1\ndata sleep 1\n"
    with System([slow + "eom addheader X-One 1\n", slow + "eom addheader X-Two 2\n",
                 slow + "read {client_addr}\n"]) as (_, _, second, third):
        begun = time.monotonic()
        check_equal(send()[0], 250)
        taken = time.monotonic() - begun
        # One after the other it would be twelve.
        check(4 <= taken < (7 if is_quiet() else 10), "three filters, one second at each of four steps:", taken)
        check(any(line.startswith("header X-One: 1") for line in second.lines()), second.lines())
        check(any(line.startswith("header X-Two: 2") for line in third.lines()), third.lines())
    # The first that refuses decides; the next ones do not hear of a recipient that is refused.
    with System(["rcpt reply 550 5.1.9 first\n", "rcpt reply 450 4.1.9 second\nmail sleep 1\n"]) as (_, _, second):
        check_equal(send()[1], "550 5.1.9 first")
        check(not any(line.startswith("rcpt") for line in second.lines()), second.lines())
    with System(["mail sleep 1\nmail reply 550 5.1.9 first\n", "mail reply 450 4.1.9 second\n"]) as (_, _, second):
        check_equal(send()[1], "550 5.1.9 first")


def each_filter_sees_what_the_one_before_has_left():
    """Body, header and envelope; whatever the first makes of a message is what the second gets."""
    first = """\
eom addheader X-One added
eom insheader 0 X-Top inserted
eom chgheader 1 Subject new
eom chgheader 1 Received nobody's
eom delheader 1 X-Gone
eom replacebody replaced by the first of them\\n
eom addrcpt <u2@box.test>
"""
    parameters = {"smtpd_milters": "inet:127.0.0.1:9001, inet:127.0.0.1:9002"}
    for is_local in (False, True):
        if is_local:
            parameters = {"smtpd_milters": "", "non_smtpd_milters": parameters["smtpd_milters"]}
        with System([first, "eom addheader X-Two too\n"], parameters) as (mta, one, two):
            if is_local:
                mta.tool("sendmail", "-f", "alice", "u1@box.test", data=MESSAGE, user="alice")
            else:
                check_equal(send()[0], 250)
            text = delivered("u1")
            delivered("u2")
            check_equal(text.partition("\n\n")[2], "replaced by the first of them\n")
            # Our own trace field is not theirs to see, nor to change, wherever it stands.
            check("\nX-One: added\nReceived: nobody's\nX-Two: too\n" in text, text)
            check_equal(len(re.findall(r"\nReceived: (?:from|by) ", text)), 1, text)
            seen = [line for line in two.lines() if line.startswith(("header", "body"))]
            for line in ("header X-Top: inserted", "header X-One: added", "header Subject: new",
                         "header X-Gone: 2", f"body {len('replaced by the first of them') + 2}"):
                check(line in seen, line, "is not in", seen)
            check("header Subject: old" not in seen and "header X-Gone: 1" not in seen, seen)
            check_equal([line for line in seen if line.startswith("header Received")],
                        ["header Received: nobody's"], seen)
            check_equal([line for line in one.lines() if line.startswith("body")], ["body 23"])


def what_is_discarded_is_shown_no_more():
    for step, line in (("mail", r"NOQUEUE: milter-discard: MAIL from unknown\[198\.51\.100\.200\]: milter "
                                r"triggers DISCARD action; from=<a@away\.test> proto=ESMTP helo="),
                       ("rcpt", r"NOQUEUE: milter-discard: RCPT from .*; from=<a@away\.test> to=<u1@box\.test>")):
        with System([f"{step} discard\n"], {}) as (mta, milter):
            check_equal(send()[0], 250)
            mta.wait_log(line)
            check_equal(send(sender="b@away.test")[0], 250)
            check(not any(seen.startswith(("header", "eom")) for seen in milter.lines()), milter.lines())
            check_equal(maildir("u1"), [])


def no_more_connections_than_a_filter_may_have():
    """milter_connection_limit: who is beyond it waits for a place, as long as for an answer."""
    with System(["helo continue\n"], {"milter_connection_limit": "1", "milter_command_timeout": "15s"}) as (mta, milter):
        first = Client(source=CLIENT)
        second = Client(source=CLIENT, greet=False, timeout=0.7)
        try:
            second.reply()
        except TimeoutError:
            pass
        else:
            raise AssertionError("greeted without a place at the filter")
        check_equal(len([line for line in milter.lines() if line.startswith("connect")]), 1)
        first.command("QUIT")
        first.close()
        second.socket.settimeout(15)
        check_equal(second.reply()[0], 220)
        second.close()
    with System(["helo continue\n"], {"milter_connection_limit": "1", "milter_command_timeout": "1s"}) as (mta, milter):
        with Client(source=CLIENT):
            second = Client(source=CLIENT)
            check_equal(second.send("a@away.test", ["u1@box.test"], MESSAGE), 451)
            mta.wait_log("milter_connection_limit: too many sessions use it")
            second.close()
    # 0 is no limit.
    with System(["helo continue\n"], {"milter_connection_limit": "0"}):
        with Client(source=CLIENT), Client(source=CLIENT) as second:
            check_equal(second.send("a@away.test", ["u1@box.test"], MESSAGE), 250)


class Silent(Server):
    """Says what it is told for whatever comes, or nothing."""

    def __init__(self, port, answer=b""):
        self.answer = answer
        super().__init__("127.0.0.1", port)

    def serve(self, connection):
        while connection.recv(65536):
            if self.answer:
                connection.sendall(self.answer)


def packet(command, payload=b""):
    return struct.pack(">I", len(payload) + 1) + command + payload


def misbehaviour_harms_its_own_session_only():
    hang = "helo sleep 30\n"
    for name, script, peer in (
            ("a filter that stalls", hang, None), ("one that dies", "mail die\n", None),
            ("one that dies with the content", "eom die\n", None),
            ("one that is not there", None, None), ("one that never answers", None, Silent(9050)),
            ("garbage", None, Silent(9051, b"HTTP/1.1 400 Bad Request\r\n\r\n")),
            ("a packet without end", None, Silent(9052, b"\xff\xff\xff\xffO")),
            ("a wrong answer", None, Silent(9053, packet(b"c")))):
        port = 9001 if script else peer.listener.getsockname()[1] if peer else 9049
        for action, wanted in (("accept", 250), ("tempfail", 451), ("reject", 550)):
            spec = f"{{ inet:127.0.0.1:{port}, command_timeout=2s, content_timeout=2s, " \
                   f"connect_timeout=2s, default_action={action} }}"
            with System([script] if script else [], {"smtpd_milters": spec,
                                                     "smtpd_milter_maps": "inline:{192.0.2.1=DISABLE}"}) as (mta, *_):
                with Client(source=HOST) as other:  # the daemons are there
                    check_equal(other.send("a@away.test", ["u2@box.test"], b"Subject: x\n\nx\n"), 250)
                begun = time.monotonic()
                with Client(source=CLIENT, greet=False) as client:
                    said = [client.reply()]
                    if said[0][0] == 554:  # RFC 5321 3.1; the reason comes at MAIL
                        said = [(220, "")]
                    # Whoever has another filter, or none, does not wait for this one.
                    quick = time.monotonic()
                    with Client(source=HOST) as other:
                        check_equal(other.send("a@away.test", ["u2@box.test"], b"Subject: x\n\nx\n"), 250)
                    check(time.monotonic() - quick < 1.8, name, "delays others")
                    for line in ("EHLO h.away.test", "MAIL FROM:<a@away.test>", "RCPT TO:<u1@box.test>", "DATA"):
                        if said[-1][0] in (220, 250):
                            said.append(client.command(line))
                    if said[-1][0] == 354:
                        client.raw(wire(MESSAGE) + b".\r\n")
                        said.append(client.reply())
                check_equal(said[-1][0], wanted, f"{name}, {action}: {said}")
                check(time.monotonic() - begun < 12, name, action, "takes long")
                mta.wait_log(r"warning: (milter|connect to Milter service) inet:127\.0\.0\.1:\d+: ")
        if peer:
            peer.close()


def mail_of_the_system_itself():
    with System(["eom addheader X-Filtered yes\nread {daemon_name}\n"],
                {"smtpd_milters": "", "non_smtpd_milters": "inet:127.0.0.1:9001",
                 "milter_header_checks": "regexp:{{/^X-Filtered: yes/ REPLACE X-Filtered: indeed}}"}) as (mta, milter):
        mta.tool("sendmail", "-f", "alice", "u1@box.test", data=b"Subject: local\n\nx\n", user="alice")
        check("X-Filtered: indeed" in delivered("u1"), "no milter_header_checks")
        check(any(line.startswith("mail alice@") for line in milter.lines()), milter.lines())


def filters_of_commands_only_before_a_proxy():
    """Behind smtpd_proxy_filter the content is the proxy's."""
    with System(["helo continue\n"], {"smtpd_proxy_filter": "198.51.100.25:25"}) as (mta, milter):
        sink = mta.sink()
        check_equal(send()[0], 250)
        check_equal(len(sink.messages), 1)
        check(any(line.startswith("rcpt") for line in milter.lines()) and
              not any(line.startswith("header") for line in milter.lines()), milter.lines())


if not os.environ.get("POSTERN_TEST_WORLD") and not os.path.exists(
        os.path.join(os.environ.get("POSTERN_TEST_SUPPORT", "/"), "test_milter")):
    print("skipped: apt-get install libmilter-dev")
    sys.exit(SKIPPED)
main([every_change_of_a_message, what_a_filter_sees, a_filter_asks_for_its_macros,
      what_a_filter_does_not_want_is_not_shown, answers_at_each_step,
      large_bodies_are_skipped_and_waits_are_prolonged, quarantined_mail_is_held,
      filters_work_side_by_side_and_in_order, each_filter_sees_what_the_one_before_has_left,
      what_is_discarded_is_shown_no_more,
      no_more_connections_than_a_filter_may_have, misbehaviour_harms_its_own_session_only,
      mail_of_the_system_itself, filters_of_commands_only_before_a_proxy])
