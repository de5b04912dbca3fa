"""faults.py - what is broken on this machine: queue files, disks, logs, clocks, processes.

Nothing acknowledged is lost, nothing is delivered in part, everything else flows meanwhile, and
when the fault is over nobody has to help. Each scenario prints its figures.
"""
import errno

from harness import *

OWNER = USERS["postfix"]
TEXT = b"Subject: test\n\nHello.\n"
STOCK = "killed by signal 9|broker of this process"


def send(count, recipient="u1@box.test", text=None):
    """That many messages with X-Load, all acknowledged; gives their names."""
    names = []
    with Client() as client:
        for number in range(count):
            names.append(f"m{number}")
            content = text or f"Subject: x\nX-Load: m{number}\n\nbody\nend m{number}\n".encode()
            check_equal(client.send("s@away.test", [recipient], content), 250, client.last)
    return names


def delivers(mta, recipient="u9@box.test", seconds=30.0):
    """One more message through the whole system; the seconds it took."""
    mailbox = recipient.partition("@")[0]
    before, begun = len(maildir(mailbox)), time.monotonic()
    with Client() as client:
        check_equal(client.send("s@away.test", [recipient], TEXT), 250, client.last)
    wait_for("delivery of a good message", lambda: len(maildir(mailbox)) > before, seconds)
    return time.monotonic() - begun


# -- queue files --------------------------------------------------------------------------------

def files_by_name():
    """{X-Load name: path} of the messages in deferred/."""
    found = {}
    for path in queue_files():
        name = re.search(rb"X-Load: (\w+)", read(path)) if "/deferred/" in path else None
        if name:
            found[name[1].decode()] = path
    return found


def strange_queue_files():
    """What is no sound message of ours is set aside or left, told once, never followed or
    delivered; qmgr stays and everything else flows."""
    with Mta({"defer_transports": "virtual", "hash_queue_names": ""}) as mta:
        names = send(16)
        wait_for("all deferred", lambda: len(files_by_name()) == len(names))
        mta.stop()
        path = files_by_name()
        ids = {name: os.path.basename(file) for name, file in path.items()}
        os.chown(path["m0"], 12345, 12345)
        os.chmod(path["m1"], 0o644)
        flipped = bytearray(read(path["m2"]))
        flipped[flipped.index(b"body")] ^= 1

        def put(name, content):
            with open(path[name], "wb") as file:
                file.write(content)
        put("m2", flipped)
        put("m3", read(path["m3"])[:-40])
        put("m4", b"")
        # The size reached the disk and the bytes did not: a cut in the middle of a flush.
        put("m14", b"\0" * 150_000)
        put("m15", b"\0" * 2_000)
        os.utime(path["m15"], (time.time() - 2 * 86400,) * 2)
        put("m5", os.urandom(5000))
        put("m6", b"\xff" * 8 + read(path["m6"])[8:])
        folder = os.path.dirname(path["m7"])
        outside = VAR + "/outside"
        os.rename(path["m7"], outside)
        os.symlink(outside, path["m7"])
        os.unlink(path["m8"])
        os.mkfifo(path["m8"], 0o700)
        os.unlink(path["m9"])
        os.mkdir(path["m9"], 0o700)
        os.rename(path["m10"], path["m10"] + "\nnew line")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(folder + "/4cV2Lk3pJdz1LbKxQ")
        # The same message in two queues, whole both times.
        shutil.copy2(path["m11"], f"{QUEUE}/incoming/{ids['m11']}")
        os.chown(f"{QUEUE}/incoming/{ids['m11']}", OWNER, OWNER)

        mta.write_main_cf(defer_transports="")
        mark = len(mta.log())
        mta.start()
        wait_for("the sound ones", lambda: len(maildir("u1")) >= 3)
        [manager] = daemons("qmgr")
        for _ in range(3):
            mta.tool("postqueue", "-f")
            delivers(mta)
        check_equal(list(daemons("qmgr")), [manager], "qmgr")
        copies = delivered_names()
        check_equal(copies, {name: 1 for name in ("m11", "m12", "m13")}, "delivered")
        mta.wait_log(rf"/{ids['m15']}: removed: nothing is in it", mark)
        wanted = ["m0", "m1", "m11", "m2", "m3", "m5", "m6"]

        def set_aside():
            return sorted(name for name in ids if os.path.exists(f"{QUEUE}/corrupt/{ids[name]}"))
        with contextlib.suppress(AssertionError):
            wait_for("all that is damaged", lambda: set_aside() == wanted)
        aside = set_aside()
        check_equal(aside, wanted, "in corrupt/")
        said = mta.log()[mark:]
        # m4 is what a power cut leaves of a message before it is acknowledged.
        for name in [f"m{n}" for n in range(12) if n != 4]:
            lines = [line for line in said.splitlines() if "warning" in line and ids[name] in line]
            check_equal(len(lines), 1, f"warnings about {name}: {lines}")
        check("warning" not in "".join(l for l in said.splitlines()
                                       if ids["m14"] in l or ids["m15"] in l), said)
        check_equal((os.path.exists(path["m14"]), os.path.exists(path["m15"])), (True, False),
                    "left-overs of today and of two days ago")
        check(os.path.exists(outside), "a link was followed")
        check(os.path.islink(path["m7"]) and os.path.isdir(path["m9"]), "strangers were moved")
        print(f"     {len(aside)} files set aside, 6 left alone, each told once; 3 sound ones delivered")
        listener.close()
        os.unlink(outside)


# -- disks --------------------------------------------------------------------------------------

def mailbox_of_a_user_fails():
    """local's Maildir and mbox: EIO and no room defer, leave nothing half-made, and the mail comes
    once when the disk is well again."""
    for parameters, folder in (({"home_mailbox": "Maildir/"}, f"{ROOT}/home/alice/Maildir"),
                               ({"mail_spool_directory": MAIL + "/"}, f"{MAIL}/alice"),
                               ({}, f"{MAIL}/alice")):
        shutil.rmtree(f"{ROOT}/home/alice/Maildir", ignore_errors=True)
        faults = Faults("local")
        is_mbox = parameters == {}

        def stored():
            if is_mbox:
                return read(folder).count(b"X-Load: ") if os.path.exists(folder) else 0
            return len(glob.glob(folder + "/new/*"))
        # Tried again when told to, and not while it is looked at.
        with Mta(parameters | {"minimal_backoff_time": "300s", "maximal_backoff_time": "300s"},
                 may_log="error: ") as mta, Client() as client:
            count = 0
            for call in ("open", "write", "fsync", "close"):
                if is_mbox and call in ("open", "close"):
                    continue  # a mailbox that is there is not created
                for error in (errno.EIO, errno.ENOSPC):
                    faults.plan([call], Faults.FAIL, error)
                    mark = len(mta.log())
                    text = f"Subject: x\nX-Load: {count}\n\nbody\n".encode()
                    check_equal(client.send("s@away.test", ["alice@home.test"], text), 250, client)
                    mta.wait_log("to=<alice@home.test>.*status=", mark)
                    check("status=deferred" in mta.log()[mark:], call, errno.errorcode[error],
                          mta.log()[mark:])
                    check(faults.hits() > 0, "the fault did not happen:", call)
                    size = stored()
                    check_equal((size, glob.glob(folder + "/tmp/*")), (count, []),
                                f"left behind after {call} {errno.errorcode[error]}")
                    faults.off()
                    mta.wait_drained()
                    count += 1
                    check_equal(stored(), count, f"when {call} works again")
        faults.close()
        print(f"     {folder}: {count} faults, {count} messages once each")


def what_was_delivered_is_not_delivered_again():
    """The queue file cannot be removed, or its marks cannot be written."""
    faults = Faults("qmgr")
    with Mta() as mta:
        for calls, error in ((["unlink"], errno.EIO), (["unlink"], errno.EROFS)):
            before = len(maildir("u1"))
            faults.plan(calls, Faults.FAIL, error)
            mark = len(mta.log())
            names = send(5)
            wait_for("deliveries", lambda: len(maildir("u1")) >= before + len(names))
            for _ in range(3):
                mta.tool("postqueue", "-f")
                mta.wait_log("remove: ", mark)
                mark = len(mta.log())
            check(len(queue_files()) >= len(names), "removed all the same")
            faults.off()
            mta.wait_drained()
            check_equal(len(maildir("u1")), before + len(names), "copies")
        # One recipient has it, the next hop of the other does not answer.
        for error in (errno.ENOSPC, errno.EIO):
            before = len(maildir("u1"))
            faults.plan(["pwrite"], Faults.FAIL, error)
            mark = len(mta.log())
            with Client() as client:
                check_equal(client.send("s@away.test", ["u1@box.test", "r@away.test"],
                                        b"Subject: x\nX-Load: two\n\nend two\n"), 250)
            for _ in range(3):
                mta.wait_log("to=<r@away.test>.*status=deferred", mark)
                mark = len(mta.log())
                mta.tool("postqueue", "-f")
            mta.wait_log("to=<r@away.test>.*status=deferred", mark)
            check(faults.hits() > 0, "no mark was written")
            check_equal(len(maildir("u1")), before + 1, "copies, with marks failing")
            faults.off()
        sink = mta.sink()
        mta.wait_drained()
        check_equal(len(sink.messages), 2, "at the next hop")
        print(f"     {len(maildir('u1'))} messages once each, with unlink, or marking, failing three "
              "rounds long")
    faults.close()


def random_failures_of_calls():
    """A fifth of all calls of a commit fails: prompt 4xx, and what has its 250 is there."""
    with Mta(may_log="error: ") as mta:
        pass
    figures = []
    for program, calls in (("cleanup", ["open", "write", "fchmod", "fsync", "close"]),
                           ("qmgr", ["rename", "unlink", "pwrite"])):
        faults = Faults(program)
        with Mta(may_log="error: ") as mta:
            sink = mta.sink()
            faults.plan(calls, Faults.FAIL, errno.EIO, chance=200)
            load = Load(threads=4, seed=3)
            wait_for("mail under faults", lambda: len(load.acknowledged) > 60, 30)
            load.end()
            hits = faults.hits()
            faults.off()
            check_equal(load.drops, 0, "dropped sessions")
            odd = [r for r in load.refusals if r[0] not in (451, 452)]
            check(not odd, "refused with something else:", *odd[:3])
            mta.wait_drained()
            check(load.slowest < (5 if is_quiet() else 15), "a client waited", load.slowest)
            check_nothing_lost(load, sink)
            copies = delivered_names(sink=sink)
            check_equal(set(copies) - load.acknowledged, set(), "delivered without 250")
            figures.append(f"{program}: {hits} calls, {len(load.refusals)} refused, "
                           f"{len(load.acknowledged)} acknowledged, 0 lost, "
                           f"{sum(copies.values()) - len(copies)} twice, "
                           f"slowest {load.slowest:.2f} s")
        faults.close()
    print("     " + "; ".join(figures))


# -- the log ------------------------------------------------------------------------------------

def the_log_writer_hangs_or_is_killed():
    """Mail flows; the lines that are lost are counted, and the count is told."""
    with Mta({"smtpd_hard_error_limit": "1000000"}, may_log=STOCK) as mta:
        sink = mta.sink()
        load = Load(threads=4, seed=1)
        wait_for("first mail", lambda: len(load.acknowledged) > 10)
        # Hangs, as on a dead disk, until the pipe to it is full.
        [writer] = daemons("postlog")
        os.kill(writer, signal.SIGSTOP)
        begun = len(load.acknowledged)
        with Client(source=CLIENT) as talker:
            talker.command("MAIL FROM:<s@away.test>")
            for _ in range(20):
                talker.raw(b"RCPT TO:<nobody@elsewhere.test>\r\n" * 500)
                codes = {talker.reply()[0] for _ in range(500)}
                check_equal(codes, {454}, "of refused recipients")
        wait_for("mail without a log", lambda: len(load.acknowledged) > begun + 100, 40)
        os.kill(writer, signal.SIGCONT)
        told = mta.wait_log(r"(\d+) log lines were dropped")
        for _ in range(3):
            [writer] = wait_for("a log writer", lambda: list(daemons("postlog")))
            os.kill(writer, signal.SIGKILL)
            before = len(load.acknowledged)
            wait_for("mail after its death", lambda: len(load.acknowledged) > before + 50)
        load.end()
        check_equal((load.drops, load.refusals), (0, []), "sessions dropped, mail refused")
        mta.wait_drained()
        check(load.slowest < (3 if is_quiet() else 10), "a client waited", load.slowest)
        check_nothing_lost(load, sink)
        mark = len(mta.log())
        delivers(mta)
        mta.wait_log("status=sent", mark)
        print(f"     {len(load.acknowledged)} messages, slowest {load.slowest:.2f} s; "
              f"{told[1]} lines dropped and told by the first that had room")


def the_disk_of_the_log_is_full():
    small = ROOT + "/logdisk"
    os.makedirs(small, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small)
    with Mta({"maillog_file": small + "/log"}) as mta:
        log = lambda: read(small + "/log").decode("utf-8", "replace")
        load = Load(threads=4, recipients=("u1@box.test",), seed=2)
        wait_for("a full disk", lambda: os.statvfs(small).f_bavail == 0, 30)
        before = len(load.acknowledged)
        wait_for("mail without a log", lambda: len(load.acknowledged) > before + 200, 30)
        run("mount", "-o", "remount,size=64m", small)
        # A few lines that did not fit may have been told before it was really full.
        dropped = lambda: sum(map(int, re.findall(r"(\d+) log lines were dropped", log())))
        said = wait_for("the count of what is missing", lambda: dropped() > 100 and dropped())
        load.end()
        check_equal((load.drops, load.refusals), (0, []), "sessions dropped, mail refused")
        mta.wait_drained()
        check_nothing_lost(load)
        print(f"     {len(load.acknowledged)} messages, slowest {load.slowest:.2f} s; {said} lines dropped")
    run("umount", "-l", small)


# -- configuration ------------------------------------------------------------------------------

def check_names_each_fault():
    """What is wrong in main.cf, in master.cf, or with what they name: `postern check` fails and
    says what it is."""
    main_cf = (
        ("a misspelt parameter", "smtpd_recipient_restrictoins = reject\n", "smtpd_recipient_restrictoins"),
        ("a bad yes or no", "smtpd_helo_required = perhaps\n", "perhaps"),
        ("a bad number", "message_size_limit = 10 apples\n", "10 apples"),
        ("a bad time", "maximal_queue_lifetime = 5 parsecs\n", "5 parsecs"),
        ("a bad restriction", "smtpd_recipient_restrictions = permit_mynetwroks, reject\n",
         "permit_mynetwroks"),
        ("a table that is missing", "virtual_alias_maps = lmdb:/mnt/conf/nothere\n", "/mnt/conf/nothere"),
        ("a type of table that nobody knows", "virtual_alias_maps = hsah:/mnt/conf/x\n", "hsah"),
        ("a missing certificate", "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = /mnt/conf/no.pem\n",
         "/mnt/conf/no.pem"),
        ("a bad network", "mynetworks = 10.0.0.0/33\n", "10.0.0.0/33"),
        ("a line that is no setting", "this is no setting\n", "this is no setting"),
        ("an open relay", "smtpd_relay_restrictions = permit\n", "smtpd_relay_restrictions"),
    )
    master_cf = (
        ("two services on one port", "25 inet n - n - - smtpd\n", "25"),
        ("a program that nobody knows", "new unix - - n - - smptd\n", "smptd"),
        ("a line with a column missing", "new unix - - n - smtp\n", "new"),
        ("a parameter misspelt behind -o", "587 inet n - n - - smtpd -o smtpd_tls_wrapermode=yes\n",
         "smtpd_tls_wrapermode"),
    )
    with Mta(may_log=".") as mta:
        quiet = []

        def judge(name, wanted):
            done = mta.tool("postern", "check")
            said = (done.stdout + done.stderr).decode()
            if wanted not in said:
                quiet.append((name, done.returncode, said[-300:]))
        for file, faults in (("/main.cf", main_cf), ("/master.cf", master_cf)):
            good = read(CONF + file).decode()
            for name, text, wanted in faults:
                write(CONF + file, good + text)
                judge(name, wanted)
            write(CONF + file, good)
        os.chown(QUEUE + "/incoming", 0, 0)
        judge("a queue directory of somebody else's", "incoming")
        os.chown(QUEUE + "/incoming", OWNER, OWNER)
        os.chmod(QUEUE + "/maildrop", 0o777)
        judge("a queue directory for everybody", "maildrop")
        os.chmod(QUEUE + "/maildrop", 0o1730)
        done = mta.tool("postern", "check")
        check_equal(done.returncode, 0, f"afterwards: {(done.stdout + done.stderr).decode()}")
        check_equal(quiet, [], "faults that check is silent on")
        print(f"     {len(main_cf) + len(master_cf) + 2} faults, each named")


def a_table_is_away_for_a_while():
    """451 while it is missing and not longer, without a reload."""
    with Mta({"smtpd_recipient_restrictions":
              f"check_recipient_access texthash:{CONF}/access, reject_unauth_destination"},
             start=False, may_log=".") as mta:
        write(CONF + "/access", "u2@box.test REJECT\n")
        mta.start()

        def answers():
            with Client(source=CLIENT) as client:
                client.command("MAIL FROM:<s@away.test>")
                return tuple(client.command(f"RCPT TO:<u{n}@box.test>")[0] for n in (1, 2))
        check_equal(answers(), (250, 554))
        os.rename(CONF + "/access", CONF + "/access.away")
        # A table in use may go on as it was; a process that opens it anew has to say 451.
        for pid in list(daemons("tables")) + list(daemons("smtpd")):
            os.kill(pid, signal.SIGTERM)
        seen = wait_for("451", lambda: 451 in answers())
        begun = time.monotonic()
        os.rename(CONF + "/access.away", CONF + "/access")
        wait_for("answers as before", lambda: answers() == (250, 554))
        print(f"     as before {time.monotonic() - begun:.1f} s after the table was back; {seen}")


# -- the machine --------------------------------------------------------------------------------

def the_clock_jumps():
    """qmgr starts a day or a year earlier or later: nothing is bounced or parked."""
    day, year = 86400, 365 * 86400
    for jump in (day, -day, -year):
        clock = LaterClock("qmgr", jump)
        with Mta({"defer_transports": "virtual"}, start=False) as mta:
            sink = mta.sink()
            clock.close()
            mta.start()
            names = send(5)
            wait_for("all deferred", lambda: len(files_by_name()) == len(names))
            mta.stop()
            mta.write_main_cf(defer_transports="")
            clock = LaterClock("qmgr", jump)
            mta.start()
            wait_for("the deferred ones", lambda: len(maildir("u1")) == len(names))
            took = delivers(mta)
            check("status=bounced" not in mta.log() and "expired" not in mta.log(), "bounced")
            mta.wait_drained()
            print(f"     {jump / day:+.0f} days: {len(names)} deferred messages came, a new one took "
                  f"{took:.2f} s")
        clock.close()
        del sink


def the_clock_jumps_while_mail_waits():
    """A year ahead under qmgr's feet, and back: what waits is tried on, neither returned nor parked."""
    clock = LaterClock("qmgr", 0)
    year = 365 * 86400
    try:
        with Mta() as mta:
            names = send(5, "r@away.test")
            tried = lambda: mta.log().count("status=deferred")
            wait_for("a first attempt of each", lambda: tried() >= len(names))
            figures = []
            for what, shift in (("a year ahead", year), ("back", 0), ("a year ahead again", year)):
                before = tried()
                clock.set(shift)
                begun = time.monotonic()
                wait_for(f"more attempts, {what}", lambda: tried() >= before + 2 * len(names), 30)
                figures.append(f"{what}: two more attempts of each after "
                               f"{time.monotonic() - begun:.1f} s, a new message took "
                               f"{delivers(mta):.2f} s")
            check("status=bounced" not in mta.log() and "expired" not in mta.log(), "returned")
            sink = mta.sink()
            sink.wait(len(names))
            mta.wait_drained()
            print(f"     {len(names)} deferred messages; " + "; ".join(figures) + "; all delivered")
    finally:
        clock.close()


def a_slow_fsync_is_shared():
    """The disk below cleanup takes 300 ms for a flush: many clients wait for one or two of them, not
    one after the other."""
    clients, each, slow = 24, 3, 0.3
    faults = Faults("cleanup")
    try:
        with Mta() as mta:
            delivers(mta)  # all processes are there
            faults.plan(["fsync"], Faults.DELAY, int(slow * 1000))
            times = []

            def work():
                with Client(timeout=60) as client:
                    for _ in range(each):
                        begun = time.monotonic()
                        check_equal(client.send("s@away.test", ["u1@box.test"], TEXT), 250, client.last)
                        times.append(time.monotonic() - begun)
            threads = [threading.Thread(target=work) for _ in range(clients)]
            begun = time.monotonic()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            took = time.monotonic() - begun
            faults.off()
            check_equal(len(times), clients * each, "messages taken")
            times.sort()
            p95 = times[int(len(times) * 0.95)]
            print(f"     {clients} clients, {clients * each} messages in {took:.1f} s, {slow * 1000:.0f} ms a "
                  f"flush: p50 {times[len(times) // 2] * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms; one after "
                  f"the other it would be {clients * each * slow:.0f} s")
            check(took < clients * each * slow / 3, "one after another", took)
            check(p95 < (5 if is_quiet() else 10) * slow, "p95", p95)
            mta.wait_drained()
    finally:
        faults.close()


def limit(pid, files):
    """The soft limit, as the process itself could set it: a container's root may not."""
    status = read(f"/proc/{pid}/status").decode()
    uid, gid = (int(re.search(rf"^{word}:\t(\d+)", status, re.M)[1]) for word in ("Uid", "Gid"))
    run("prlimit", f"--pid={pid}", f"--nofile={files}:", user=uid, group=gid, extra_groups=[])


def descriptors_run_out():
    """smtpd and qmgr at their limit of open files: clients wait, nothing is lost."""
    with Mta(may_log="Too many open files") as mta:
        sink = mta.sink()
        load = Load(threads=3, seed=5)
        wait_for("first mail", lambda: len(load.acknowledged) > 5)
        for program in ("smtpd", "qmgr"):
            for pid in daemons(program):
                used = len(os.listdir(f"/proc/{pid}/fd"))
                limit(pid, used + 4)
        held = [Client(greet=False) for _ in range(30)]
        mta.wait_log("Too many open files; connections wait")
        # They wait until those before them have gone.
        for client in held:
            client.close()
        before = len(load.acknowledged)
        wait_for("mail under the limit", lambda: len(load.acknowledged) > before + 10, 30)
        for program in ("smtpd", "qmgr"):
            for pid in daemons(program):
                limit(pid, 1024)
        before = len(load.acknowledged)
        wait_for("mail as before", lambda: len(load.acknowledged) > before + 50, 30)
        load.end()
        mta.wait_drained()
        check_nothing_lost(load, sink)
        print(f"     {len(load.acknowledged)} acknowledged, 0 lost, {load.drops} dropped, slowest "
              f"{load.slowest:.2f} s")


def no_process_can_be_made():
    """fork fails in master: those that live serve; when it works again the dead are replaced."""
    faults = Faults("discard")  # for its page only
    with Mta(may_log=STOCK + "|fork|Resource temporarily", start=False) as mta:
        done = subprocess.run([PREFIX + "/sbin/postern", "start"], check=False, cwd="/", timeout=30,
                              capture_output=True,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                                   "LD_PRELOAD": SUPPORT + "/libfaults.so",
                                   "POSTERN_TEST_FAULTS": Faults.PATH})
        check_equal(done.returncode, 0, done.stderr)
        load = Load(threads=3, recipients=("u1@box.test",), seed=6)
        wait_for("first mail", lambda: len(load.acknowledged) > 5)
        faults.plan(["fork"], Faults.FAIL, errno.EAGAIN)
        before = len(load.acknowledged)
        wait_for("mail meanwhile", lambda: len(load.acknowledged) > before + 50)
        for pid in daemons("cleanup"):
            os.kill(pid, signal.SIGKILL)
        wait_for("an attempt to replace it", lambda: faults.hits() > 0)
        faults.off()
        begun = time.monotonic()
        before = len(load.acknowledged)
        wait_for("mail as before", lambda: len(load.acknowledged) > before + 20, 30)
        load.end()
        mta.wait_drained(may_be_unfinished=True)
        check_nothing_lost(load)
        print(f"     {len(load.acknowledged)} acknowledged, 0 lost; served again "
              f"{time.monotonic() - begun:.1f} s after fork worked")
    faults.close()


def daemons_stand_still():
    """Each stops for a while as it is, as on a machine that swaps, and goes on: whoever waits for it
    gets what he wants then, nothing is lost, and nothing is done again."""
    with Mta() as mta:
        sink = mta.sink()
        load = Load(threads=4, recipients=("u1@box.test", "u2@box.test", "r@away.test"), seed=7)
        wait_for("first mail", lambda: len(load.acknowledged) > 5)
        slowest = 0.0
        for program in ("smtpd", "cleanup", "qmgr", "tables", "smtp", "virtual", "resolver", "master"):
            stopped = sorted(daemons(program))
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(1.5)
            before = len(load.acknowledged)
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
            begun = time.monotonic()
            wait_for(f"mail after {program} goes on", lambda: len(load.acknowledged) > before + 10)
            slowest = max(slowest, time.monotonic() - begun)
        load.end()
        check_equal((load.refusals, load.drops), ([], 0), "refused or dropped")
        mta.wait_drained()
        check_nothing_lost(load, sink)
        copies = delivered_names(sink=sink)
        check_equal(max(copies.values()), 1, "copies")
        print(f"     {len(load.acknowledged)} acknowledged, 0 lost, 0 twice; mail flows {slowest:.1f} s "
              "after each")


def unmount(path):
    """Whole, so that nothing is written behind our back; those that died may still be ending."""
    wait_for("unmounting " + path, lambda: subprocess.run(
        ["umount", path], check=False, stderr=subprocess.DEVNULL).returncode == 0)


def is_stopped(pid):
    """Each of its threads, also those that a call has held up."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return all(read(f"/proc/{pid}/task/{task}/stat").rpartition(b")")[2].split()[0] == b"T"
                   for task in os.listdir(f"/proc/{pid}/task"))
    return True


def power_cuts():
    """A copy of the disk without what was not synced: every acknowledged message is in it.
    POSTERN_TEST_CUTS is their number."""
    run("mount", "-o", "remount,size=80%", ROOT)
    figures = []
    for cut in range(int(os.environ.get("POSTERN_TEST_CUTS", "2"))):
        image, copy = f"{ROOT}/disk{cut}", f"{ROOT}/disk{cut}.cut"
        with Mta(start=False, may_log=".") as mta:
            with open(image, "wb") as file:
                file.truncate(96 << 20)
            run("mkfs.ext4", "-q", image)
            # Nothing is written but by fsync: the journal's own clock stands still.
            if subprocess.run(["mount", "-o", "loop,commit=1000", image, VAR], check=False,
                              stderr=subprocess.DEVNULL).returncode:
                print("     this system gives no loop devices: left out")
                return
            os.makedirs(VAR + "/mail")
            for number in range(10):
                os.mkdir(f"{VAR}/mail/u{number}")
                os.chown(f"{VAR}/mail/u{number}", USERS["vmail"], USERS["vmail"])
            mta.write_main_cf(virtual_mailbox_base=VAR + "/mail")
            mta.start()
            run("sync")
            load = Load(threads=4, recipients=("u1@box.test", "u2@box.test"), seed=10 + cut)
            # At different times, and not so late that the disk is full.
            wanted = 100 + 150 * (cut % 5)
            wait_for("mail", lambda: len(load.acknowledged) > wanted, 30)
            for pid in daemons():
                os.kill(pid, signal.SIGSTOP)
            # Flushes that are under way end, or the copy would be of a disk that is being written.
            wait_for("stillness", lambda: all(is_stopped(pid) for pid in daemons()))
            acknowledged = set(load.acknowledged)
            write(VAR + "/unsynced", "x" * 5000)
            shutil.copyfile(image, copy)
            load.is_over = True
            for pid in daemons():
                os.kill(pid, signal.SIGKILL)
            wait_for("end of all daemons", lambda: not daemons())
            unmount(VAR)
            run("mount", "-o", "loop", copy, VAR)
            kept = queue_files()
            check(not os.path.exists(VAR + "/unsynced") or read(VAR + "/unsynced") != b"x" * 5000,
                  "this cut loses nothing, so that it shows nothing")
            begun = time.monotonic()
            mta.start()
            # Empty is what was not flushed, and not acknowledged. Of a flush that was under way
            # there may be the size without the bytes (zeros, if they are read now), or a part of
            # them, which is in corrupt/. What was acknowledged is looked for below.
            def left_over():
                found = []
                for path in queue_files():
                    with contextlib.suppress(FileNotFoundError):
                        if not is_unfinished(path) and "/corrupt/" not in path and read(path).strip(b"\0"):
                            found.append(path)
                return found
            try:
                wait_for("an empty queue", lambda: not left_over(), 30)
            except AssertionError:
                for path in left_over():
                    print(f"     {path}: {oct(os.stat(path).st_mode)}", read(path)[:300])
                raise
            found = {}
            for path in glob.glob(VAR + "/mail/u*/new/*"):
                text = read(path)
                name = re.search(rb"^X-Load: (\S+)$", text, re.M)
                check(name and text.endswith(b"end " + name[1] + b"\n"), "a partial message", path)
                found[name[1].decode()] = found.get(name[1].decode(), 0) + 1
            lost = acknowledged - set(found)
            check(not lost, f"{len(lost)} of {len(acknowledged)} acknowledged messages are lost",
                  *sorted(lost)[:5], *kept)
            figures.append(f"{len(acknowledged)} acknowledged, 0 lost, "
                           f"{sum(found.values()) - len(found)} twice, empty queue after "
                           f"{time.monotonic() - begun:.1f} s")
            mta.stop()
            unmount(VAR)
            os.unlink(image)
            os.unlink(copy)
    print("     " + "; ".join(figures))


main([check_names_each_fault, a_table_is_away_for_a_while, the_clock_jumps,
      the_clock_jumps_while_mail_waits, a_slow_fsync_is_shared, descriptors_run_out,
      no_process_can_be_made, daemons_stand_still, power_cuts, strange_queue_files, mailbox_of_a_user_fails, what_was_delivered_is_not_delivered_again,
      random_failures_of_calls, the_log_writer_hangs_or_is_killed, the_disk_of_the_log_is_full])
