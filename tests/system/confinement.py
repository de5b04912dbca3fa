"""confinement.py - what the running daemons may do, as the kernel sees it."""
import os
import pwd
import re
import socket
import struct

from harness import *

SANITIZED = os.environ.get("POSTERN_TEST_SANITIZE")
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
            is_as_declared(mta, running)


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


class Asker:
    """Questions to a service of the suite over its socket, as a daemon with mail_owner's rights."""
    REQUEST, REPLY, ERROR, NOTICE = 1, 2, 3, 4

    def __init__(self, path):
        os.setegid(GROUPS["postfix"])
        os.seteuid(OWNER)
        try:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(10)
            self.socket.connect(path)
        finally:
            os.seteuid(0)
            os.setegid(0)

    @staticmethod
    def sized(data):
        check(len(data) < 128)
        return bytes([len(data)]) + data

    def send(self, kind, number, payload):
        self.socket.sendall(struct.pack("<IHBBI", len(payload), number, kind, 0, 7) + payload)

    def look_up(self, table, key, introduced_as=None):
        """(kind, payload) of the answer."""
        if introduced_as:
            program, token = introduced_as
            self.send(self.NOTICE, 0x0207,
                      b"\1" + self.sized(program) + b"\2" + self.sized(token))
        self.send(self.REQUEST, 0x0201, b"\1" + self.sized(self.sized(table.encode())) +
                  b"\2" + self.sized(self.sized(b"\1" + self.sized(key.encode()))))
        stream = self.socket.makefile("rb")
        while True:
            size, _, kind, _, _ = struct.unpack("<IHBBI", stream.read(12))
            payload = stream.read(size)
            if kind in (self.REPLY, self.ERROR):
                return kind, payload


def secrets_are_for_those_who_need_them():
    """A daemon that was taken over has a socket to the tables, and mail_owner's rights."""
    secret, common = "texthash:/mnt/conf/passwords", "texthash:/mnt/conf/routes"
    with Mta({"smtp_sasl_auth_enable": "yes", "smtp_sasl_password_maps": secret,
              "transport_maps": common, "proxy_read_maps": "proxy:" + secret}, start=False) as mta:
        write(CONF + "/passwords", "away.test user:hunter2\n", 0o600)
        write(CONF + "/routes", "x.test discard:\n")
        mta.start()
        mta.sink()
        for path in ("rewrite", "proxymap"):
            with Client() as client:
                check_equal(client.send("s@away.test", ["r@away.test"], b"Subject: x\n\nx\n"), 250)
            mta.wait_drained()
            for name in (secret, "proxy:" + secret):
                for proof in (None, (b"smtp", b"0" * 32), (b"tables", b"0" * 32)):
                    begin = len(mta.log())
                    kind, payload = Asker(f"{VAR}/spool/postern/private/{path}").look_up(
                        name, "away.test", proof)
                    check_equal(kind, Asker.ERROR, (path, name, payload))
                    check(b"hunter2" not in payload, payload)
                    if path == "rewrite":
                        mta.wait_log(rf"trivial-rewrite\[\d+\]: warning: process {os.getpid()} was "
                                     rf"refused {name}: the table is for smtp only", begin)
        kind, payload = Asker(f"{VAR}/spool/postern/private/rewrite").look_up(common, "x.test")
        check(kind == Asker.REPLY and b"discard:" in payload, kind, payload)
        for pid, program in daemons().items():
            check(not re.search(rb"=[0-9a-f]{32}", read(f"/proc/{pid}/environ")),
                  f"{program} shows its token")


# Who reaches the outside, and who runs what others wrote.
HAS_NETWORK = {"master", "broker", "resolver", "smtp", "lmtp", "local", "pipe", "sts", "auth",
               "proxymap"}
IS_UNFILTERED = {"master", "auth", "spawn"}


def is_as_declared(mta, running):
    """By the kernel's own files, and as `postern check -v` tells it."""
    told = mta.tool("postern", "check", "-v", "-c", CONF).stdout.decode()
    rows = {row.split()[2]: row for row in told.splitlines() if re.match(r"\w+ +\S+ +\d+ ", row)}
    host = os.readlink("/proc/self/ns/net")
    for pid, program in running.items():
        facts = status(pid)
        is_root = "0" in facts["Uid"].split()
        is_confined = program not in IS_UNFILTERED and not is_root
        if program in ("local", "virtual") and not is_root:
            # One is the agent; the others act for a user, who may do what he may.
            is_confined = facts["Uid"].split()[0] == str(OWNER)
        has_network = os.readlink(f"/proc/{pid}/ns/net") == host
        check_equal(has_network, program in HAS_NETWORK, f"network of {program}")
        if SANITIZED:
            continue
        if is_confined:
            check_equal(facts["Seccomp"].strip(), "2", f"system calls of {program}")
        row = rows.get(str(pid))
        check(row is not None, program, pid, "is not in", told)
        uid = int(facts["Uid"].split()[0])
        users = [entry.pw_name for entry in pwd.getpwall() if entry.pw_uid == uid] or [str(uid)]
        check(row.split()[3] in users, row, users)
        check_equal("filtered" in row, facts["Seccomp"].strip() == "2", row)
        check_equal(" empty " in row, not has_network, row)
        if program == "smtpd":
            check(row.rstrip().endswith("none"), row)


ATTEMPTS = ["open-queue", "open-passwd", "connect", "signal", "memory", "execute", "code"]


def attempts(mta):
    """What a taken smtpd could do: {attempt: whether it was done}"""
    found = {}
    for name in ATTEMPTS:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{QUEUE}/private/try-{name}")
            # A debug build ends whoever calls what is not his.
            told = mta.wait_log(rf"try-{name}: (.*)|smtpd pid \d+ killed by signal 31")
            found[name] = told.group(1) == "done"
        time.sleep(0.1)
        os.truncate(LOG, 0)
    return found


def hostile_code_gets_nowhere():
    """The same program with the confinement of smtpd and, to see that it is no fake, without."""
    lines = [f"try-{name} unix - - n - - smtpd" for name in ATTEMPTS]
    target = f"{PREFIX}/libexec/postern/smtpd"
    run("mount", "--bind", f"{SUPPORT}/hostile", target)
    try:
        with Mta({"process_confinement": "none"}, lines, may_log=r".*") as mta:
            found = attempts(mta)
            for name in ATTEMPTS:
                check(found[name], "nothing forbids it:", name, found)
        if SANITIZED:
            return
        with Mta({"process_confinement": "best_effort"}, lines, may_log=r".*") as mta:
            found = attempts(mta)
            check_equal([name for name in ATTEMPTS if found[name]], [], "done by a confined smtpd")
    finally:
        run("umount", target)


def a_container_gives_less():
    """Without the right to make namespaces the rest is in force, and the log says what is missing."""
    with Mta(start=False) as mta:
        words = ["setpriv", "--bounding-set=-sys_admin", f"{PREFIX}/sbin/postern"]
        check_equal(subprocess.run(words + ["start"], check=False).returncode, 0)
        with Client() as client:
            check_equal(client.send("s@away.test", ["u1@box.test"], b"Subject: x\n\nx\n"), 250)
        mta.wait_log(r"daemons keep the host's network: network namespace: Operation not permitted")
        wait_for("delivery", lambda: len(maildir("u1")) == 1)
        for pid, program in daemons("smtpd").items():
            check_equal(os.readlink(f"/proc/{pid}/ns/net"), os.readlink("/proc/self/ns/net"))
            if not SANITIZED:
                check_equal(status(pid)["Seccomp"].strip(), "2", program)


def a_strict_system_does_not_start_with_less():
    with Mta({"process_confinement": "strict"}, start=False, may_log=r"strict") as mta:
        words = ["setpriv", "--bounding-set=-sys_admin", f"{PREFIX}/sbin/postern", "start"]
        done = subprocess.run(words, check=False, capture_output=True)
        check(done.returncode != 0, done)
        mta.wait_log(r"process_confinement = strict: daemons keep the host's network")
        wait_for("the end of master", lambda: not daemons())
        mta.start()
        with Client() as client:
            check_equal(client.send("s@away.test", ["u1@box.test"], b"Subject: x\n\nx\n"), 250)


def set_gid_tools_only():
    """Nothing is set-uid; set-gid are the two that local users need."""
    found = {}
    for folder, _, names in os.walk(PREFIX):
        for name in names:
            mode = os.lstat(os.path.join(folder, name)).st_mode
            if mode & 0o6000:
                found[name] = mode & 0o7777
    check_equal(found, {"postdrop": 0o2755, "postqueue": 0o2755}, "set-id programs")


main([rights, hostile_code_gets_nowhere, secrets_are_for_those_who_need_them,
      a_container_gives_less, a_strict_system_does_not_start_with_less, set_gid_tools_only])
