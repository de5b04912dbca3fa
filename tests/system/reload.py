"""reload.py - reload under load and with held sessions; a configuration that is wrong."""
import os
import time

from harness import *

RELOADS = 20
REPLACEMENTS = int(os.environ.get("POSTERN_TEST_REPLACEMENTS", "8"))


class SlowSink(Sink):
    """Answers the end of the content after a while, when it has it."""

    def serve(self, connection):
        super().serve(SlowConnection(connection))


class SlowConnection:
    PAUSE = 2.0

    def __init__(self, connection):
        self.connection, self.has_content = connection, False

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def sendall(self, data):
        if self.has_content:
            time.sleep(self.PAUSE)
        self.has_content = data.startswith(b"354")
        self.connection.sendall(data)


def no_session_is_dropped():
    was_quiet = is_quiet()
    with Mta() as mta:
        sink = mta.sink()
        held = [Client() for _ in range(20)]
        # One in the middle of a transaction, one in the middle of its content.
        held[0].command("MAIL FROM:<s@away.test>")
        held[0].command("RCPT TO:<u4@box.test>")
        held[1].command("MAIL FROM:<s@away.test>")
        held[1].command("RCPT TO:<u4@box.test>")
        check_equal(held[1].command("DATA")[0], 354)
        held[1].raw(b"Subject: held\r\nX-Load: held1\r\n\r\nfirst half\r\n")
        load = Load(threads=4, seed=1)
        slowest = 0.0
        for number in range(RELOADS):
            mta.write_main_cf(smtpd_banner=f"$myhostname ESMTP number {number}")
            done = mta.tool("postern", "reload")
            check_equal(done.returncode, 0, done.stderr)
            # The new configuration counts for new sessions soon.
            def has_new_banner():
                with Client() as client:
                    return f"number {number}" in client.banner[1]
            wait_for("the new banner", has_new_banner)
            for client in held[2:]:
                begun = time.monotonic()
                check_equal(client.command("NOOP")[0], 250, "held session")
                slowest = max(slowest, time.monotonic() - begun)
        load.end()
        check_equal(load.drops, 0, "dropped sessions")
        check_equal(load.refusals, [], "refused")
        check(len(load.acknowledged) > 20, "hardly any mail:", len(load.acknowledged))
        print(f"     {RELOADS} reloads, {len(load.acknowledged)} messages; slowest command of a held "
              f"session {slowest * 1000:.0f} ms, slowest message {load.slowest * 1000:.0f} ms")
        check_equal(held[0].command("DATA")[0], 354)
        held[0].raw(b"Subject: held\r\nX-Load: held0\r\n\r\nend held0\r\n.\r\n")
        check_equal(held[0].reply()[0], 250)
        held[1].raw(b"end held1\r\n.\r\n")
        check_equal(held[1].reply()[0], 250)
        load.acknowledged |= {"held0", "held1"}
        for client in held:
            client.close()
        mta.wait_drained()
        check_nothing_lost(load, sink)
        check_equal(max(delivered_names(sink=sink).values()), 1, "copies")
        # A machine with other work gives us our turn later.
        is_ours = was_quiet and is_quiet()
        check(slowest < (0.2 if is_ours else 1.0), "a command waited", slowest)
        check(load.slowest < (0.5 if is_ours else 3.0), "a message waited", load.slowest)


def a_new_binary_takes_over_under_load():
    """Each daemon's program is replaced, one after the other, while mail flows: no session ends, and
    who has nothing left to do is soon gone."""
    programs = ("smtpd", "cleanup", "qmgr", "tables", "virtual", "smtp", "bounce")
    mounted = []
    try:
        with Mta() as mta:
            sink = mta.sink()
            held = Client()
            load = Load(threads=3, seed=3)
            wait_for("first mail", lambda: len(load.acknowledged) > 10)
            figures = []
            for program in programs:
                target, new = f"{PREFIX}/libexec/postern/{program}", f"{ROOT}/new-{program}"
                shutil.copy2(f"{REAL}/libexec/postern/{program}", new)
                run("mount", "--bind", new, target)
                mounted.append(target)
                begun, before = time.monotonic(), len(load.acknowledged)
                check_equal(mta.tool("postern", "reload").returncode, 0)
                node = os.stat(new).st_ino

                def is_new(pid):
                    with contextlib.suppress(OSError):
                        return os.stat(f"/proc/{pid}/exe").st_ino == node
                    return False
                if program != "bounce":
                    wait_for(f"the new {program}", lambda: any(is_new(pid) for pid in daemons(program)))
                wait_for("mail goes on", lambda: len(load.acknowledged) > before + 20)
                figures.append(f"{program} {time.monotonic() - begun:.1f} s")
            load.end()
            check_equal(load.drops, 0, f"dropped sessions: {load.reasons}")
            check_equal(load.refusals, [], "refused")
            # Its own smtpd, of three reloads ago or more, still serves it.
            check_equal(held.send("s@away.test", ["u4@box.test"],
                                  b"Subject: held\nX-Load: held\n\nend held\n"), 250, held.last)
            held.close()
            load.acknowledged.add("held")
            mta.wait_drained()
            check_nothing_lost(load, sink)
            check_equal(max(delivered_names(sink=sink).values()), 1, "copies")
            print(f"     {len(load.acknowledged)} messages, 0 lost, 0 twice, 0 dropped, slowest "
                  f"{load.slowest * 1000:.0f} ms; " + ", ".join(figures))
    finally:
        for target in mounted:
            run("umount", "-l", target)


def nothing_is_delivered_twice():
    """qmgr, alone and together with the agents it speaks with, is replaced again and again, while
    mail flows to mailboxes, to a next hop, and to one that takes longer than qmgr waits for it."""
    programs = ("qmgr", "virtual", "smtp")
    copies = {}
    try:
        with Mta({"reload_drain_time": "60s"},
                 zone={"slow.test MX": ["10 mx.slow.test"], "mx.slow.test A": ["198.51.100.27"]}) as mta:
            for program in programs:
                target, copies[target] = f"{PREFIX}/libexec/postern/{program}", f"{ROOT}/new-{program}"
                shutil.copy2(f"{REAL}/libexec/postern/{program}", copies[target])
                run("mount", "--bind", copies[target], target)
            slow = SlowSink("198.51.100.27")
            mta.closers.append(slow)
            sink = mta.sink()
            load = Load(threads=3, seed=4)
            wait_for("first mail", lambda: len(load.acknowledged) > 10)
            replaced = set()
            for number in range(REPLACEMENTS):
                is_all = number % 2 == 0
                if is_all:
                    # Only one generation has time to end; agents of the last one have nothing left.
                    wait_for("the end of the old agents", lambda: not replaced & set(daemons()))
                    replaced = {pid for program in programs for pid in daemons(program)}
                # A new time makes it a new program.
                for copy in list(copies.values())[:None if is_all else 1]:
                    os.utime(copy, (number, number))
                with Client() as client:
                    for count in range(3):
                        name = f"slow-{number}-{count}"
                        check_equal(client.send(
                            "s@away.test", ["r@slow.test"],
                            f"Subject: slow\nX-Load: {name}\n\nend {name}\n".encode()), 250, client.last)
                        load.acknowledged.add(name)
                [old] = daemons("qmgr")
                before = len(load.acknowledged)
                check_equal(mta.tool("postern", "reload").returncode, 0)
                wait_for("the end of the old qmgr", lambda: old not in daemons("qmgr"))
                wait_for("the new one", lambda: daemons("qmgr"))
                wait_for("mail goes on", lambda: len(load.acknowledged) > before + 20)
            load.end()
            check_equal(load.refusals, [], "refused")
            mta.wait_drained()
            found = delivered_names(sink=sink)
            for message in slow.messages:
                name = re.search(rb"^X-Load: (\S+)\r$", message.content, re.M)[1].decode()
                found[name] = found.get(name, 0) + 1
            lost = load.acknowledged - set(found)
            check(not lost, "lost:", *sorted(lost)[:5])
            twice = [name for name, count in found.items() if count > 1]
            print(f"     {REPLACEMENTS} replacements, {len(load.acknowledged)} messages, "
                  f"{len(slow.messages)} of them slow, 0 lost, {len(twice)} twice, slowest "
                  f"{load.slowest * 1000:.0f} ms")
            check(not twice, "twice:", *twice)
    finally:
        for target in copies:
            run("umount", "-l", target)


def stopped_and_started_under_load():
    """What is under way at a stop ends and is noted: nothing is lost, nothing comes twice."""
    with Mta() as mta:
        sink = mta.sink()
        load = Load(threads=4, seed=9)
        slowest = 0.0
        for _ in range(REPLACEMENTS):
            before = len(load.acknowledged)
            wait_for("mail", lambda: len(load.acknowledged) > before + 50)
            begun = time.monotonic()
            mta.stop()
            slowest = max(slowest, time.monotonic() - begun)
            mta.start()
        load.end()
        mta.wait_drained()
        check_nothing_lost(load, sink)
        check_equal(max(delivered_names(sink=sink).values()), 1, "copies")
        check("they are repeated" not in mta.log(), "deliveries were broken off")
        check_equal([reply for reply in load.refusals if reply[0] != 421], [], "refused")
        print(f"     {REPLACEMENTS} stops, {len(load.acknowledged)} messages, 0 lost, 0 twice; slowest stop "
              f"{slowest:.2f} s")


def wrong_configuration_is_refused():
    with Mta(may_log="postfix-script|main.cf|master.cf") as mta:
        before = sorted(daemons().values())
        for text, where in (("smtpd_helo_required = perhaps\n", "smtpd_helo_required"),
                            ("message_size_limit = 10 apples\n", "message_size_limit"),
                            ("no equals sign here\n", "main.cf"),
                            ("smtpd_recipient_restrictions = check_recipient_access hash:/nowhere\n",
                             "nowhere")):
            with open(CONF + "/main.cf", encoding="utf-8") as file:
                good = file.read()
            line = good.count("\n") + 1
            write(CONF + "/main.cf", good + text)
            done = mta.tool("postern", "reload")
            check(done.returncode != 0, "reload took:", text)
            said = done.stderr.decode() + mta.log()
            check(where in said, where, "is not named in:", done.stderr.decode())
            check(f"main.cf:{line}" in said or f"main.cf, line {line}" in said,
                  f"line {line} is not named in:", done.stderr.decode())
            with Client() as client:
                check_equal(client.send("s@away.test", ["u1@box.test"], b"Subject: x\n\nx\n"), 250,
                            client)
            write(CONF + "/main.cf", good)
        check_equal(mta.tool("postern", "reload").returncode, 0)
        mta.wait_drained()
        check_equal(len(maildir("u1")), 4, "in the Maildir")
        # The log writer is replaced at a reload, and comes with the next line.
        wait_for("all daemons again", lambda: set(before) <= set(daemons().values()))


def tables_are_made_anew():
    """auto_rebuild_maps: at start, at reload and meanwhile, and only what has changed."""
    def answer(recipient):
        with Client(source=CLIENT) as client:
            client.command("MAIL FROM:<s@away.test>")
            return client.command(f"RCPT TO:<{recipient}>")[0]
    with Mta({"auto_rebuild_maps": "yes", "smtpd_recipient_restrictions":
              f"check_recipient_access lmdb:{CONF}/access, reject_unauth_destination"},
             start=False) as mta:
        write(CONF + "/access", "u1@box.test REJECT\n")
        mta.start()
        check_equal((answer("u1@box.test"), answer("u2@box.test")), (554, 250))
        first = os.stat(CONF + "/access.lmdb").st_mtime_ns
        check_equal(mta.tool("postern", "reload").returncode, 0)
        check_equal(os.stat(CONF + "/access.lmdb").st_mtime_ns, first, "made for nothing")
        write(CONF + "/access", "u2@box.test REJECT\n")
        check_equal(mta.tool("postern", "reload").returncode, 0)
        wait_for("the new table",
                 lambda: (answer("u1@box.test"), answer("u2@box.test")) == (250, 554))
        write(CONF + "/access", "u3@box.test REJECT\n")
        wait_for("a table that nobody asked for",
                 lambda: (answer("u2@box.test"), answer("u3@box.test")) == (250, 554), 30)


main([no_session_is_dropped, a_new_binary_takes_over_under_load, nothing_is_delivered_twice,
      stopped_and_started_under_load, wrong_configuration_is_refused, tables_are_made_anew])
