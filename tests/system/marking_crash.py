"""marking_crash.py - qmgr, bounce and the delivery agents die before and after each call of delivering,
marking what is done, deferring what is not, returning what cannot be delivered and removing what is
finished.

Each recipient gets its mail, and nobody gets it twice where qmgr or bounce dies: the agent that
delivered keeps its report until a queue manager has taken it, and what is marked is not tried again.
A sender is told at least once, and twice only by a death between the notice and the end of its record.
Where an agent dies, mail comes twice only by a death between the delivery and the report of it, and
then to nobody whose delivery by another agent was marked before.
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


def die_at_each_call(mta, program, calls, deliver, warm_up=None):
    """deliver(name) once for each call and side of it, each with the system started anew, and with
    warm_up() behind it; a number that is not reached is the end. Gives the names."""
    faults = Faults(program)
    names = []
    for action in (Faults.KILL_BEFORE, Faults.KILL_AFTER):
        for at in range(1, 120):
            mta.start()
            if warm_up:
                warm_up()
            faults.plan(calls, action, at=at)
            names.append(f"{program}-{action}-{at}")
            deliver(names[-1])
            reached = faults.hits() >= at
            faults.off()
            mta.stop()
            if not reached:
                break
        check(2 < at < 119, f"no call of {program} was met, or no end was:", at)
    faults.close()
    return names


def check_once(names, found, where):
    lost = [name for name in names if name not in found]
    check(not lost, where, "lost:", *lost)
    again = [name for name in names if found[name] > 1]
    print(f"     {where}: {len(again)} of {len(names)} twice")
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
            wait_for(f"{name}: the third recipient alone waits", is_settled)
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
            wait_for(f"{name}: an empty queue", lambda: not queue_files())
        check_boxes(die_at_each_call(mta, "qmgr", MARKING, deliver))


def bounce_dies():
    """The third recipient is refused: its record, the notice to u3, the end of the record."""
    with Mta(start=False, may_log="killed by signal 9") as mta:
        mta.sink(AWAY, replies={"RCPT": b"550 5.1.1 no such user\r\n"})

        def deliver(name):
            send(name, ["u1@box.test", "u2@box.test", "r@away.test"], "u3@box.test")
            mta.wait_drained()
        names = die_at_each_call(mta, "bounce", ["open", "write", "fsync", "close", "unlink"],
                                 deliver)
        check_boxes(names)
        told = names_in(maildir("u3"))
        lost = [name for name in names if name not in told]
        check(not lost, "not told:", *lost)
        twice = [name for name in names if told[name] > 1]
        check(len(twice) <= 3 and max(told.values()) <= 2, "told twice:", *twice)


CONVERSATION = ["connect", "send", "receive"]
# So many deaths fall between what the recipient has and what qmgr knows: while an mbox is flushed,
# closed and unlocked, or a server's answer is read, and while the report is made and sent: five
# calls, before and after each. How many of them there are at once depends on the machine's load.
MOST_TWICE = 10


def check_delivered(names, found, where):
    """None is lost, few are there twice, and not those of the last calls: by then it was reported."""
    lost = [name for name in names if name not in found]
    check(not lost, where, "lost:", *lost)
    again = [name for name in names if found[name] > 1]
    print(f"     {where}: {len(again)} of {len(names)} twice")
    check(len(again) <= MOST_TWICE and max(found.values()) <= 2, where, "twice:", *again)
    for action in (Faults.KILL_BEFORE, Faults.KILL_AFTER):
        last = [name for name in names if f"-{action}-" in name][-1]
        check(found[last] == 1, where, "twice, though nobody died:", last)


def ended_in(content):
    """{name: how many whole messages}: a death in the middle may leave a part in an mbox."""
    found = {}
    for name in re.findall(rb"^end (\S+?)\r?$", content, re.M):
        found[name.decode()] = found.get(name.decode(), 0) + 1
    return found


def client_dies(program, parameters):
    """The agent that talks to a server dies at each call; what another agent has delivered of the same
    message is marked by then, and stays so."""
    with Mta(parameters | {"transport_retry_time": "1s"}, start=False,
             may_log="killed by signal 9") as mta:
        sink = mta.sink(AWAY)

        def warm_up():
            # The process is there, so that what is counted is a delivery.
            send("warm", ["w@away.test"])
            mta.wait_drained()

        def deliver(name):
            send(name, ["u1@box.test", "r@away.test", "q@away.test"])
            mta.wait_drained()
        names = die_at_each_call(mta, program, CONVERSATION, deliver, warm_up)
        check_once(names, names_in(maildir("u1")), "u1")
        for recipient in ("r@away.test", "q@away.test"):
            check_delivered(names, names_in(m.content for m in sink.messages
                                            if recipient in m.recipients), recipient)


def smtp_dies():
    client_dies("smtp", {})


def lmtp_dies():
    client_dies("lmtp", {"transport_maps": f"inline:{{ away.test=lmtp:inet:[{AWAY}]:25 }}"})


def local_dies(calls, parameters, mailbox):
    """One of the three parts of local dies: who decides, the broker, the user's deliverer."""
    with Mta(parameters | {"stale_lock_time": "1s", "deliver_lock_delay": "1s"}, start=False,
             may_log="killed by signal 9|broker of this process has ended|"
                     r"/local pid \d+ exit status 1") as mta:
        shutil.rmtree(f"{ROOT}/home/alice/Maildir", ignore_errors=True)

        def deliver(name):
            send(name, ["u1@box.test", "alice@home.test"])
            mta.wait_drained()
        names = die_at_each_call(mta, "local", calls, deliver)
        check_once(names, names_in(maildir("u1")), "u1")
        check_delivered(names, ended_in(mailbox()), "alice")


def local_dies_at_an_mbox():
    local_dies(["open", "write", "fsync", "close", "unlink"], {}, lambda: read(MAIL + "/alice"))


def local_dies_at_a_maildir():
    local_dies(["open", "write", "fsync", "close", "rename"], {"home_mailbox": "Maildir/"},
               lambda: b"".join(read(path) for path in
                                glob.glob(f"{ROOT}/home/alice/Maildir/new/*")))


def local_dies_between_its_parts():
    local_dies(["connect", "send", "receive", "fork"], {}, lambda: read(MAIL + "/alice"))


main([qmgr_dies_while_mail_waits, qmgr_dies_at_the_end, bounce_dies, smtp_dies, lmtp_dies,
      local_dies_at_an_mbox, local_dies_at_a_maildir, local_dies_between_its_parts])
