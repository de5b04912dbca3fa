"""confinement.py - what the running daemons may do, as the kernel sees it."""
import os
import re

from harness import *

OWNER = USERS["postfix"]
# Who may be root: master, and the brokers of local and virtual.
MAY_BE_ROOT = {"master", "local", "virtual"}
CONFINED = {"smtpd", "cleanup", "qmgr", "tables", "resolver", "smtp", "bounce", "pickup", "showq"}


def status(pid):
    return dict(line.split(":\t", 1) for line in read(f"/proc/{pid}/status").decode().splitlines()
                if ":\t" in line)


def open_files(pid):
    """{descriptor: what it is}"""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return found


def rights():
    with Mta() as mta:
        mta.sink()
        with Client() as held:
            # One message by every daemon, so that all of them run.
            with Client() as client:
                check_equal(client.send("u1@box.test", ["u1@box.test", "r@away.test",
                                                        "alice@home.test"],
                                        b"Subject: x\n\nx\n"), 250)
            mta.tool("sendmail", "-f", "u1@box.test", "unknown@home.test", data=b"Subject: y\n\ny\n")
            mta.tool("postqueue", "-p")
            mta.wait_drained()
            # In the middle of a message smtpd and cleanup hold what they ever hold.
            held.command("MAIL FROM:<s@away.test>")
            held.command("RCPT TO:<u1@box.test>")
            held.command("DATA")
            held.raw((b"z" * 70 + b"\r\n") * 10_000)
            wait_for("a queue file", lambda: [f for f in queue_files() if "/incoming/" in f])
            running = daemons()
            missing = CONFINED - set(running.values())
            check(not missing, "not running:", *missing)
            roots = []
            for pid, program in running.items():
                facts = status(pid)
                uids = {int(uid) for uid in facts["Uid"].split()}
                if program in CONFINED:
                    check_equal(uids, {OWNER}, f"uids of {program}")
                    check_equal({int(g) for g in facts["Gid"].split()}, {GROUPS["postfix"]},
                                f"gids of {program}")
                    check_equal(facts["NoNewPrivs"].strip(), "1", f"NoNewPrivs of {program}")
                    check_equal(int(facts["CapEff"], 16), 0, f"capabilities of {program}")
                    groups = facts["Groups"].split()
                    check("0" not in groups, f"groups of {program}: {groups}")
                elif 0 in uids:
                    roots.append(program)
            check(set(roots) <= MAY_BE_ROOT, "run as root:", *roots)
            for program in ("local", "virtual"):
                check(roots.count(program) <= 1, "more than one broker of", program, *roots)
            smtpd_opens_no_file(running)
            only_cleanup_writes(running)


def smtpd_opens_no_file(running):
    for pid, program in running.items():
        if program != "smtpd":
            continue
        for fd, what in open_files(pid).items():
            check(re.match(r"(socket:|pipe:|anon_inode:|/dev/null$|/memfd:)", what),
                  f"smtpd has descriptor {fd} open: {what}")


def only_cleanup_writes(running):
    """Of the message that is coming in; the next hop's agent reads, if anything."""
    for pid, program in running.items():
        for fd, what in open_files(pid).items():
            if "/incoming/" not in what and "/active/" not in what or os.path.isdir(what):
                continue
            flags = int(re.search(rb"^flags:\s+(\d+)", read(f"/proc/{pid}/fdinfo/{fd}"), re.M)[1], 8)
            is_writing = flags & os.O_ACCMODE != os.O_RDONLY
            check(not is_writing or program == "cleanup", f"{program} may write {what}")


def set_gid_tools_only():
    """Nothing is set-uid; set-gid are the two that local users need."""
    found = {}
    for folder, _, names in os.walk(PREFIX):
        for name in names:
            mode = os.lstat(os.path.join(folder, name)).st_mode
            if mode & 0o6000:
                found[name] = mode & 0o7777
    check_equal(found, {"postdrop": 0o2755, "postqueue": 0o2755}, "set-id programs")


main([rights, set_gid_tools_only])
