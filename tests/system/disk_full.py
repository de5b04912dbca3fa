"""disk_full.py - no room or no inode: 4xx at once, nothing lost, recovery without help."""
import os
import time

from harness import *

SMALL = {"message_size_limit": "1000000", "queue_minfree": "0"}


def fill(path, leave=0):
    """Takes all space but `leave` bytes, beside what it had before."""
    with open(path, "ab", buffering=0) as file:
        space = os.statvfs(VAR)
        with contextlib.suppress(OSError):
            size = space.f_bavail * space.f_frsize - leave
            while size > 0:
                size -= file.write(b"\0" * min(size, 1 << 20))


def check_refusal(client, message):
    """The message is refused with a 4xx that says why, soon."""
    begun = time.monotonic()
    code = client.send("s@away.test", ["u1@box.test"], message)
    check(code in (451, 452), "not 451 or 452 but", client.last)
    took = time.monotonic() - begun
    check(took < 2 or took < 10 and not is_quiet(), "slow:", took, client.last)
    if client.last[0] == 452:
        check("4.3.1" in client.last[1], client.last)
    client.command("RSET")
    return client.last


def refused_before_it_is_full():
    """queue_minfree, or one and a half of the largest message: 452 before content is sent."""
    with Mta(SMALL, var_options="size=16m") as mta, Client() as client:
        check_equal(client.send("s@away.test", ["u1@box.test"], b"Subject: 1\n\nx\n"), 250)
        fill(QUEUE + "/filler", leave=1_000_000)
        wait_for("452", lambda: client.command("RSET")[0] == 250 and
                 client.send("s@away.test", ["u1@box.test"], b"Subject: 2\n\nx\n") == 452)
        check("4.3.1" in client.last[1], client.last)
        mta.wait_log("not enough room")
        os.unlink(QUEUE + "/filler")
        wait_for("250 again", lambda: client.command("RSET")[0] == 250 and
                 client.send("s@away.test", ["u1@box.test"], b"Subject: 3\n\nx\n") == 250)
        mta.wait_log("has room again")
        mta.wait_drained()


def filled_under_load():
    """The file system fills up to its last block in the middle of messages."""
    with Mta({"message_size_limit": "400000"}, var_options="size=16m") as mta:
        sink = mta.sink()
        load = Load(threads=4, size=20_000, seed=1)
        for _ in range(3):
            before = len(load.refusals)
            # Again and again: what is delivered meanwhile makes room.
            wait_for("a refusal", lambda: fill(QUEUE + "/filler") or len(load.refusals) > before)
            acknowledged = len(load.acknowledged)
            os.unlink(QUEUE + "/filler")
            wait_for("mail again", lambda: len(load.acknowledged) > acknowledged + 5)
        load.end()
        odd = [r for r in load.refusals if r[0] not in (451, 452)]
        check(not odd, "refused with something else:", *odd[:3])
        check_equal(load.drops, 0, "dropped sessions")
        mta.wait_drained()
        check_nothing_lost(load, sink)
        check_equal(set(delivered_names(sink=sink)) - load.acknowledged, set(),
                    "delivered though never acknowledged")


def large_message_into_the_last_block():
    """What does not fit is refused at its end, and its file is gone."""
    with Mta({"message_size_limit": "1000000"}, var_options="size=16m") as mta, Client() as client:
        text = b"Subject: large\n\n" + (b"y" * 70 + b"\n") * 12_000  # 850 KB
        check_equal(client.send("s@away.test", ["u1@box.test"], text), 250, client)
        mta.wait_drained()
        # The look at the disk is a second old at most: DATA is still allowed.
        client.command("MAIL FROM:<s@away.test>")
        client.command("RCPT TO:<u1@box.test>")
        check_equal(client.command("DATA")[0], 354)
        fill(QUEUE + "/filler", leave=200_000)
        client.raw(wire(text) + b".\r\n")
        client.last = client.reply()
        check_equal(client.last[0], 452, client.last)
        check_equal(queue_files(), [], "left behind")
        os.unlink(QUEUE + "/filler")
        wait_for("250 again", lambda: client.command("RSET")[0] == 250 and
                 client.send("s@away.test", ["u1@box.test"], text) == 250)
        mta.wait_drained()
        check_equal(len(maildir("u1")), 2, "in the Maildir")


def deliveries_go_on():
    """What is in the queue is delivered while nothing new fits."""
    with Mta(SMALL | {"defer_transports": "virtual"}, var_options="size=16m") as mta:
        with Client() as client:
            for number in range(10):
                check_equal(client.send("s@away.test", ["u1@box.test"],
                                        f"Subject: {number}\n\nx\n".encode()), 250)
            wait_for("all deferred", lambda: sum("deferred" in f for f in queue_files()) == 10)
            fill(QUEUE + "/filler")
            wait_for("452", lambda: client.command("RSET")[0] == 250 and
                     client.send("s@away.test", ["u1@box.test"], b"Subject: no\n\nx\n") >= 451)
            check_refusal(client, b"Subject: no\n\nx\n")
            # -f tries them all the same.
            mta.tool("postqueue", "-f")
            mta.wait_drained()
            check_equal(len(maildir("u1")), 10, "in the Maildir")


def no_inode():
    with Mta(SMALL, var_options="size=64m,nr_inodes=200") as mta, Client() as client:
        check_equal(client.send("s@away.test", ["u1@box.test"], b"Subject: 1\n\nx\n"), 250)
        mta.wait_drained()
        # They count again and again those that daemons make meanwhile.
        def fill_inodes():
            count = 0
            with contextlib.suppress(OSError):
                while True:
                    os.close(os.open(f"{QUEUE}/filler{count}", os.O_CREAT | os.O_EXCL))
                    count += 1
            return count
        check(fill_inodes() > 10)
        for _ in range(3):
            fill_inodes()
            check_refusal(client, b"Subject: 2\n\nx\n")
        for name in os.listdir(QUEUE):
            if name.startswith("filler"):
                os.unlink(f"{QUEUE}/{name}")
        wait_for("250 again", lambda: client.command("RSET")[0] == 250 and
                 client.send("s@away.test", ["u1@box.test"], b"Subject: 3\n\nx\n") == 250)
        mta.wait_drained()
        check_equal(len(maildir("u1")), 2, "in the Maildir")


main([refused_before_it_is_full, filled_under_load, large_message_into_the_last_block,
      deliveries_go_on, no_inode])
