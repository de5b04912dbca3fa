"""commit_crash.py - cleanup and the deliverer die before and after each call of a commit.

Never acknowledged without being there, never delivered in part. The mail system is started anew
for each death: master gives a service that keeps dying longer and longer pauses.
"""
from harness import *

SMALL = 500
LARGE = 700_000  # several writes


def text(name, size):
    filler = b"x" * 70 + b"\n"
    return (f"Subject: load\nX-Load: {name}\n\n".encode() + filler * (size // len(filler)) +
            f"end {name}\n".encode())


def die_at_each_call(faults, calls, sizes, send):
    """One send(name, size) for each call and side of it; stops at a number that is not reached.
    Gives {name: what send gave}."""
    outcomes = {}
    for size in sizes:
        for action in (Faults.KILL_BEFORE, Faults.KILL_AFTER):
            for at in range(1, 40):
                name = f"{size}-{action}-{at}"
                faults.plan(calls, action, at=at)
                outcomes[name] = send(name, size)
                if faults.hits() < at:
                    break
            check(len(calls) < at < 39, "not each call was met, or no end was:", at)
    faults.off()
    return outcomes


def cleanup_dies():
    faults = Faults("cleanup")
    # Notices to the postmaster would be further commits.
    with Mta({"notify_classes": ""}, start=False, may_log="killed by signal 9") as mta:
        def send(name, size):
            mta.start()
            with Client() as client:
                code = client.send("s@away.test", ["u1@box.test"], text(name, size))
            check(code in (250, 451, 421), name, client.last)
            mta.stop()
            return code
        outcomes = die_at_each_call(faults, ["open", "write", "fchmod", "fsync", "close"],
                                    [SMALL, LARGE], send)
        check_equal(sum(code == 250 for code in outcomes.values()), 4, f"acknowledged: {outcomes}")
        mta.start()
        # They stay there for a day.
        unfinished = [f for f in queue_files() if is_unfinished(f)]
        check(len(unfinished) > 8, "unfinished files:", *unfinished)
        wait_for("end of all deliveries", lambda: set(queue_files()) == set(unfinished))
        delivered = delivered_names()
        lost = [name for name, code in outcomes.items() if code == 250 and name not in delivered]
        check(not lost, "acknowledged and lost:", *lost)
        check_equal(set(delivered.values()), {1}, "copies")
        # Nor does qmgr ever take them for damaged ones.
        check_equal([f for f in queue_files() if "/corrupt/" in f], [])
    faults.close()


def deliverer_dies():
    faults = Faults("virtual")
    with Mta(start=False, may_log="killed by signal 9|broker") as mta:
        def send(name, size):
            mta.start()
            with Client() as client:
                check_equal(client.send("s@away.test", ["u1@box.test"], text(name, size)), 250)
            # The plan kills once: the next attempt goes through.
            mta.wait_drained()
            mta.stop()
        outcomes = die_at_each_call(faults, ["open", "write", "fsync", "close"], [SMALL], send)
        delivered = delivered_names()
        lost = set(outcomes) - set(delivered)
        check(not lost, "lost:", *lost)
        # A death after the rename, and only that one, gives a second copy.
        check(max(delivered.values()) <= 2, delivered)
        check(len([n for n in delivered.values() if n == 2]) <= 3, delivered)
    faults.close()


main([cleanup_dies, deliverer_dies])
