"""streams.py - what large messages cost: memory that does not grow with them, work that grows no
faster than they do."""
import re
import time

from harness import *

SANITIZED = os.environ.get("POSTERN_TEST_SANITIZE") not in (None, "", "OFF")
IS_RELEASE = os.environ.get("POSTERN_TEST_BUILD") == "Release"


def status_of(program, field):
    """KiB, the largest of all processes of the program."""
    values = [int(re.search(rf"^{field}:\s+(\d+) kB", read(f"/proc/{pid}/status").decode(), re.M)[1])
              for pid in daemons(program)]
    check(values, program, "does not run")
    return max(values)


def cpu_of(program):
    """Seconds of user time so far."""
    ticks = sum(int(read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[11]) for pid in daemons(program))
    return ticks / os.sysconf("SC_CLK_TCK")


def a_large_message_takes_no_more_memory():
    size = 50_000_000
    with Mta({"message_size_limit": "100000000", "virtual_mailbox_limit": "0", "mailbox_size_limit": "0"}) as mta:
        line = b"x" * 78 + b"\n"
        with Client(source=CLIENT, timeout=120) as client:
            check_equal(client.send("a@away.test", ["u1@box.test"], b"Subject: small\n\nx\n"), 250)
            before = status_of("cleanup", "VmRSS")
            check_equal(client.send("a@away.test", ["u1@box.test"],
                                    b"Subject: large\n\n" + line * (size // len(line))), 250)
        peak = status_of("cleanup", "VmHWM")
        mta.wait_drained(60)
        wait_for("the mail", lambda: len(maildir("u1")) == 2)
        check(max(map(len, maildir("u1"))) > size, "not all of it came")
        if not SANITIZED:
            check(peak < 16 * 1024, f"cleanup had {peak} KiB, {before} before")


def header_work_is_linear():
    with Mta({"header_size_limit": "2000000", "message_size_limit": "50000000"}) as mta:
        def cost(kilobytes, count=10):
            field = b"X-Field-%04d: " + b"y" * 80 + b"\n"
            header = b"".join(field % (n % 10000) for n in range(kilobytes * 1024 // 95))
            begun = cpu_of("cleanup")
            with Client(source=CLIENT, timeout=60) as client:
                for _ in range(count):
                    check_equal(client.send("a@away.test", ["u1@box.test"], header + b"\nx\n"), 250, client.last)
            return (cpu_of("cleanup") - begun) / count
        cost(1, 1)
        small, large = cost(250), cost(1000)
        mta.wait_drained(60)
        print(f"     header of 1 MB: {large * 1000:.1f} ms of cleanup, of 250 KB: {small * 1000:.1f} ms")
        # Ticks of 10 ms over ten messages: a millisecond each.
        check(large < 8 * max(small, 0.002), "more than linear", small, large)
        if IS_RELEASE:
            check(large < 0.020, f"{large} s for a header of 1 MB")


def thousands_of_patterns():
    """What header_checks with 5,000 patterns cost, none of which fits."""
    for kind in ("pcre", "regexp"):
        with Mta({"header_checks": f"{kind}:{CONF}/patterns"}, start=False) as mta:
            write(CONF + "/patterns", "".join(
                f"/^Subject: .*(buy|sell) number{n} .*[0-9]+%/ REJECT\n" for n in range(5000)))
            mta.start()
            header = b"".join(b"X-Field-%d: some words of a header\n" % n for n in range(9))
            with Client(source=CLIENT) as client:
                client.send("a@away.test", ["u1@box.test"], b"Subject: warm\n\nx\n")
                begun, count = cpu_of("tables"), 20
                for _ in range(count):
                    check_equal(client.send("a@away.test", ["u1@box.test"],
                                            header + b"Subject: we sell and buy things\n\nx\n"), 250)
                cost = (cpu_of("tables") - begun) / count
                check_equal(client.send("a@away.test", ["u1@box.test"],
                                        b"Subject: buy number4999 at 50%\n\nx\n"), 550)
            print(f"     5,000 {kind} patterns, 10 fields: {cost * 1000:.1f} ms a message")
            check(SANITIZED or cost < 0.25, kind, cost)


main([a_large_message_takes_no_more_memory, header_work_is_linear, thousands_of_patterns])
