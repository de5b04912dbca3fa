"""marking_crash.py - qmgr and bounce die before and after each call of marking what is done, deferring
what is not, returning what cannot be delivered and removing what is finished.

Each recipient gets its mail, and nobody gets it twice: the agent that delivered keeps its report
until a queue manager has taken it, and what is marked is not tried again. A sender is told at least
once, and twice only by a death between the notice and the end of its record.
"""
from harness import *

AWAY = "198.51.100.25"
MARKING = ["open", "pwrite", "rename", "unlink", "utimens"]


def send(name, recipients, sender="s@home.test"):
    content = f"Subject: load\nX-Load: {name}\n\nend {name}\n".encode()
    with Client("127.0.0.1", source="127.0.0.1") as client:
        check_equal(client.send(sender, recipients, content), 250, name)


def names_in(messages):
    """{name: how many of the messages are about it}"""
    found = {}
    for content in messages:
        for name in set(re.findall(rb"^X-Load: (\S+?)\r?$", content, re.M)):
            found[name.decode()] = found.get(name.decode(), 0) + 1
    return found


def die_at_each_call(mta, program, calls, deliver):
    """deliver(name) once for each call and side of it, each with the system started anew; a number
    that is not reached is the end. Gives the names."""
    faults = Faults(program)
    names = []
    for action in (Faults.KILL_BEFORE, Faults.KILL_AFTER):
        for at in range(1, 60):
            mta.start()
            faults.plan(calls, action, at=at)
            names.append(f"{program}-{action}-{at}")
            deliver(names[-1])
            reached = faults.hits() >= at
            faults.off()
            mta.stop()
            if not reached:
                break
        check(2 < at < 59, f"no call of {program} was met, or no end was:", at)
    faults.close()
    return names


def check_once(names, found, where):
    lost = [name for name in names if name not in found]
    check(not lost, where, "lost:", *lost)
    again = [name for name in names if found[name] > 1]
    check(not again, where, "twice:", *again)


def check_boxes(names):
    for box in ("u1", "u2"):
        check_once(names, names_in(maildir(box)), box)


def qmgr_dies_while_mail_waits():
    """u1 and u2 are done and marked, the third recipient waits."""
    with Mta(start=False, may_log="killed by signal 9") as mta:
        counts = {"waiting": 0}

        def deliver(name):
            counts["waiting"] += 1
            send(name, ["u1@box.test", "u2@box.test", "r@away.test"])

            def is_settled():
                queued = mta.queue()
                return len(queued) == counts["waiting"] and all(
                    m["queue_name"] == "deferred" and
                    [r["address"] for r in m["recipients"]] == ["r@away.test"] for m in queued)
            wait_for(f"{name}: the third recipient alone waits", is_settled, 20)
        mta.write_main_cf(minimal_backoff_time="1h", maximal_backoff_time="1h",
                          queue_run_delay="1h")
        names = die_at_each_call(mta, "qmgr", MARKING, deliver)
        check_boxes(names)
        sink = mta.sink(AWAY)
        mta.start()
        mta.wait_drained()
        check_boxes(names)
        check_once(names, names_in(m.content for m in sink.messages), "the third recipient")


def qmgr_dies_at_the_end():
    """All is delivered, and the message is removed."""
    with Mta(start=False, may_log="killed by signal 9") as mta:
        def deliver(name):
            send(name, ["u1@box.test", "u2@box.test"])
            wait_for(f"{name}: an empty queue", lambda: not queue_files(), 20)
        check_boxes(die_at_each_call(mta, "qmgr", MARKING, deliver))


def bounce_dies():
    """The third recipient is refused: its record, the notice to u3, the end of the record."""
    with Mta(start=False, may_log="killed by signal 9") as mta:
        mta.sink(AWAY, replies={"RCPT": b"550 5.1.1 no such user\r\n"})

        def deliver(name):
            send(name, ["u1@box.test", "u2@box.test", "r@away.test"], "u3@box.test")
            mta.wait_drained(30)
        names = die_at_each_call(mta, "bounce", ["open", "write", "fsync", "close", "unlink"],
                                 deliver)
        check_boxes(names)
        told = names_in(maildir("u3"))
        lost = [name for name in names if name not in told]
        check(not lost, "not told:", *lost)
        twice = [name for name in names if told[name] > 1]
        check(len(twice) <= 3 and max(told.values()) <= 2, "told twice:", *twice)


main([qmgr_dies_while_mail_waits, qmgr_dies_at_the_end, bounce_dies])
