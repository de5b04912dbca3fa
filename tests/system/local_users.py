"""local_users.py - users of this machine who want to harm others' mail by the tools they have, and by
what the tools' group could do.

Each scenario prints its figures.
"""
from harness import *

TEXT = b"Subject: hello\n\nHello.\n"


def took_through(mta, how, mailbox):
    """Seconds until a message that `how()` sends is in the mailbox."""
    before, begun = len(maildir(mailbox)), time.monotonic()
    how()
    wait_for(f"mail for {mailbox}", lambda: len(maildir(mailbox)) > before, 30)
    return time.monotonic() - begun


def submit(mta, user, recipient, text=TEXT):
    done = mta.tool("sendmail", "-f", f"{user}@home.test", recipient, data=text, user=user)
    check_equal(done.returncode, 0, done.stderr)


def over_smtp(recipient):
    with Client() as client:
        check_equal(client.send("s@away.test", [recipient], TEXT), 250, client.last)


def maildrop_is_filled():
    """With rubbish, by the tools' group; then with mail, by one user. Others' mail flows."""
    count = 20_000
    with Mta() as mta:
        calm = took_through(mta, lambda: submit(mta, "bob", "u1@box.test"), "u1")
        maildrop = QUEUE + "/maildrop"
        begun = time.monotonic()
        child = os.fork()
        if child == 0:
            try:
                os.umask(0)
                os.setgroups([])
                os.setgid(GROUPS["postdrop"])
                os.setuid(USERS["alice"])
                for number in range(count):
                    name = f"{maildrop}/{number:X}"
                    kind = number % 8
                    if kind == 0:
                        os.symlink("/etc/passwd", name)
                    elif kind == 1:
                        os.mkfifo(name)
                    elif kind == 2:
                        os.mkdir(name, 0o777)
                    else:
                        mode = 0o644 if kind == 3 else 0o744 if kind < 6 else 0o600
                        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
                        os.write(fd, os.urandom(32) if kind == 4 else b"")
                        os.close(fd)
                os._exit(0)
            except OSError as error:
                print(error, file=sys.stderr)
                os._exit(1)
        _, status = os.waitpid(child, 0)
        check_equal(status, 0, "filling maildrop")
        filled = time.monotonic() - begun
        local = took_through(mta, lambda: submit(mta, "bob", "u1@box.test"), "u1")
        remote = took_through(mta, lambda: over_smtp("u2@box.test"), "u2")
        lines = len(mta.log().splitlines())
        check(not any(b"root:" in message for n in range(3) for message in maildir(f"u{n}")), "a link was followed")
        check(lines < count * 2, "log lines:", lines)
        print(f"     {count} objects in maildrop after {filled:.1f} s; mail of another user "
              f"{local:.1f} s ({calm:.2f} s before), over SMTP {remote:.2f} s; {lines} log lines")
        check(remote < 5, "mail over SMTP waits", remote)
        # The rest of a machine's life goes on.
        for name in os.listdir(maildrop):
            path = f"{maildrop}/{name}"
            os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
        # Mail: one user's flood, and the mail of another in the midst of it.
        begun = time.monotonic()
        flood = [threading.Thread(target=lambda: [submit(mta, "alice", "u3@box.test") for _ in range(40)])
                 for _ in range(4)]
        for thread in flood:
            thread.start()
        times = [took_through(mta, lambda: submit(mta, "bob", "u1@box.test"), "u1") for _ in range(5)]
        times.append(took_through(mta, lambda: over_smtp("u2@box.test"), "u2"))
        for thread in flood:
            thread.join()
        wait_for("the flood", lambda: len(maildir("u3")) == 160, 60)
        print(f"     160 messages of one user in {time.monotonic() - begun:.1f} s; others' took "
              f"{max(times):.1f} s at most")
        check(max(times) < 10, "others wait", times)
        mta.wait_drained()


def signals_in_the_middle():
    """Of the set-gid tools, at any moment and of any kind that their caller may send: a message is
    taken whole or not at all, and nothing is left for others to trip over."""
    kinds = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE,
             signal.SIGALRM, signal.SIGUSR1, signal.SIGTSTP, signal.SIGXFSZ, signal.SIGKILL]
    rounds = int(os.environ.get("POSTERN_TEST_SIGNALS", "120"))
    chance = random.Random(1)
    with Mta({"hash_queue_names": ""}) as mta:
        maildrop = QUEUE + "/maildrop"
        said, killed = set(), set()
        for number in range(rounds):
            kind = kinds[number % len(kinds)]
            text = (f"Subject: s\nX-Load: {number}\n\n".encode() + b"y" * 70 * chance.choice((1, 3000)) +
                    f"\nend {number}\n".encode())
            process = subprocess.Popen(
                [f"{PREFIX}/sbin/sendmail", "-f", "alice@home.test", "u1@box.test"], cwd="/",
                stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
                user=USERS["alice"], group=USERS["alice"], extra_groups=[],
                env={"PATH": "/usr/bin:/bin"})

            def feed():
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write(text[:len(text) // 2])
                    process.stdin.flush()
                    process.stdin.write(text[len(text) // 2:])
                    process.stdin.close()
            feeder = threading.Thread(target=feed)
            feeder.start()
            time.sleep(chance.random() * 0.02)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, kind)
                time.sleep(0.002)
                os.killpg(process.pid, signal.SIGCONT)
            feeder.join(30)
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            status = process.wait(30)
            (said if status == 0 else killed).add(str(number))
        # Every one that was taken comes, whole.
        wait_for("what was taken", lambda: said <= set(delivered_names()), 30)
        found = delivered_names()
        check(max(found.values()) == 1, "twice")
        # Who was told of a failure may send it again, so that it may come; never in part. sendmail may have ended
        # before its postdrop has.
        def unfinished():
            names = []
            for entry in os.scandir(maildrop):
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat().st_mode & 0o777 == 0o600:
                        names.append(entry.name)
            return names
        wait_for("only the killed leave files", lambda: len(unfinished()) <= rounds / len(kinds) + 1)
        parts = unfinished()
        print(f"     {rounds} signals: {len(said)} taken, {len(killed)} ended, {len(set(found) - said)} of "
              f"these came all the same; {len(parts)} unfinished files left in maildrop")
        wait_for("nothing else is left", lambda: len(unfinished()) == len(os.listdir(maildrop)))
        # The other set-gid tool, which asks and writes nothing.
        for kind in kinds[:4]:
            process = subprocess.Popen([f"{PREFIX}/sbin/postqueue", "-p"], cwd="/", user=USERS["alice"],
                                       group=USERS["alice"], extra_groups=[], stdout=subprocess.DEVNULL,
                                       start_new_session=True)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, kind)
            process.wait(30)
        check_equal(mta.tool("postqueue", "-p", user="bob").returncode, 0)
        for name in os.listdir(maildrop):
            os.unlink(f"{maildrop}/{name}")


def interrupted_submissions_leave_nothing():
    """Each signal in the middle of a message, to all who handle it and to the set-gid tool alone: its file
    goes with it, unless nobody could help it."""
    kinds = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGALRM, signal.SIGUSR1,
             signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTSTP, signal.SIGKILL]
    maildrop = QUEUE + "/maildrop"
    with Mta({"hash_queue_names": ""}) as mta:
        taken = 0
        for kind in kinds:
            for is_alone in (False, True):
                process = subprocess.Popen(
                    [f"{PREFIX}/sbin/sendmail", "-f", "alice@home.test", "u1@box.test"], cwd="/",
                    stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
                    user=USERS["alice"], group=USERS["alice"], extra_groups=[], env={"PATH": "/usr/bin:/bin"})
                process.stdin.write(b"Subject: s\n\n" + b"y" * 70 * 3000)
                process.stdin.flush()
                [name] = wait_for("a file", lambda: os.listdir(maildrop))
                tools = [int(pid) for pid in filter(str.isdigit, os.listdir("/proc"))
                         if command_of(pid) == "postdrop"]
                check_equal(len(tools), 1, "processes of postdrop")
                os.kill(tools[0], kind) if is_alone else os.killpg(process.pid, kind)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGCONT)
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
                if process.wait(30) == 0:
                    taken += 1
                if kind == signal.SIGKILL:
                    wait_for("the end of postdrop", lambda: command_of(tools[0]) != "postdrop")
                    check_equal(os.listdir(maildrop), [name], kind)
                    os.unlink(f"{maildrop}/{name}")
                wait_for(f"an empty maildrop after {kind.name}", lambda: not os.listdir(maildrop))
        mta.wait_drained()
        check_equal(len(maildir("u1")), taken, "what was taken")
        check(taken >= 2, "SIGTSTP ends nobody", taken)
        print(f"     {2 * len(kinds)} signals, {taken} messages taken")


def odd_callers_get_all_or_nothing():
    """Limits, missing descriptors and odd variables that the caller of a set-gid tool chooses: a message is
    taken whole, or its sender is told and nothing is left."""
    maildrop = QUEUE + "/maildrop"
    sendmail = f"{PREFIX}/sbin/sendmail -f alice@home.test u1@box.test"
    victim = f"{ROOT}/home/alice/victim"
    write(victim, "old\n")
    os.chown(victim, USERS["alice"], USERS["alice"])
    ways = {
        "file size": (f"ulimit -f 1; exec {sendmail}", False),
        "open files": (f"ulimit -n 4; exec {sendmail}", None),
        "memory": (f"ulimit -v 1000; exec {sendmail}", False),
        "no output": (f"exec {sendmail} >&- 2>&-", True),
        "no input": (f"exec {sendmail} <&-", None),
        "no descriptor at all": (f"exec {sendmail} <&- >&- 2>&-", None),
        "errors into a file": (f"exec {sendmail} 1>>{victim} 2>&1", True),
        "preloaded": (f"LD_PRELOAD={SUPPORT}/libfaults.so LD_LIBRARY_PATH=/nowhere exec {sendmail}", None),
        "another configuration": (f"MAIL_CONFIG={ROOT}/home/alice exec {sendmail}", False),
        "another prefix": (f"POSTERN_PREFIX={ROOT}/home/alice exec {sendmail}", None),
        "very many words": (f"exec {sendmail} $(seq -s '@box.test ' 1 20000)", None),
    }
    with Mta({"hash_queue_names": ""}) as mta:
        # More than one block of `ulimit -f`.
        text = b"Subject: odd\n\n" + b"y" * 70 * 100 + b"\nend of it\n"
        told = []
        for what, (command, wanted) in ways.items():
            before = len(maildir("u1"))
            done = subprocess.run(["sh", "-c", command], input=text, capture_output=True, cwd="/", check=False,
                                  timeout=60, user=USERS["alice"], group=USERS["alice"], extra_groups=[],
                                  env={"PATH": "/usr/bin:/bin"})
            is_taken = done.returncode == 0
            # Without memory it is the system that ends it.
            check(done.returncode >= 0 or what == "memory", what, done)
            check(wanted is None or is_taken == wanted, what, done)
            if is_taken and what not in ("no input", "no descriptor at all"):
                wait_for(what, lambda: len(maildir("u1")) > before)
                check(maildir("u1")[-1].endswith(b"\nend of it\n"), what, "came in part")
            wait_for(f"an empty maildrop: {what}", lambda: not os.listdir(maildrop))
            told.append(f"{what} {'taken' if is_taken else done.returncode}")
        check_equal(read(victim), b"old\n", "what was written into a descriptor of the caller")
        mta.tool("postsuper", "-d", "ALL")
        print("     " + ", ".join(told))
    os.unlink(victim)


def command_of(pid):
    with contextlib.suppress(OSError):
        return read(f"/proc/{pid}/comm").decode().strip()


def forward(text):
    path = f"{ROOT}/home/alice/.forward"
    write(path, text)
    os.chown(path, USERS["alice"], USERS["alice"])


def commands_of(user):
    """What a user's commands have left, by name."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{pid}").st_uid == USERS[user]:
                name = read(f"/proc/{pid}/comm").decode().strip()
                found += [name] if name in ("sh", "sleep", "yes") else []
    return found


def commands_without_end():
    """Of a .forward, that talk for ever, never end, do not listen, or leave others behind: over with all
    that they have started when the time is, and no other mail waits. What they get is the user's."""
    commands = {"talks": "yes", "sleeps": "sleep 1000",
                "multiplies": "for n in 1 2 3 4 5; do sleep 1000 & done; wait",
                "leaves": "sleep 1000 & exit 0",
                "is deaf": "trap '' HUP INT TERM; while :; do sleep 1; done"}
    limit = 3
    with Mta({"command_time_limit": f"{limit}s"}) as mta:
        mta.sink()  # for what goes back
        took_through(mta, lambda: over_smtp("u2@box.test"), "u2")
        figures = []
        for what, command in commands.items():
            forward(f'"|{command}"\n')
            mark, begun = len(mta.log()), time.monotonic()
            over_smtp("alice@home.test")
            wait_for(what, lambda: commands_of("alice"))
            others = max(took_through(mta, lambda: over_smtp("u2@box.test"), "u2"),
                         local_mail_for_bob(mta))
            mta.wait_log(r"to=<alice@home\.test>, .*dsn=5\.3\.0, status=bounced "
                         r"\(Command time limit exceeded: ", mark)
            took = time.monotonic() - begun
            check(limit * 0.9 < took, what, "ended after", took)
            wait_for(f"the end of what {what}", lambda: not commands_of("alice"))
            figures.append(f"{what} {took:.1f} s (others {others:.2f} s)")
            check(others < (limit / 2 if is_quiet() else limit), "others waited", others)
        told = f"{ROOT}/home/alice/told"
        forward(f'"|ls /proc/self/fd > {told}; id -u >> {told}; id -G >> {told}; umask >> {told}; tty >> {told}; true"\n')
        over_smtp("alice@home.test")
        mta.wait_log(r"to=<alice@home\.test>.*status=sent \(delivered to command")
        lines = read(told).decode().split("\n")
        # The last one is the directory itself.
        check_equal(lines[:-1], ["0", "1", "2", "3", str(USERS["alice"]), str(GROUPS["alice"]), "0077", "not a tty"])
        print("     " + ", ".join(figures))
        os.unlink(f"{ROOT}/home/alice/.forward")
        mta.wait_drained()


def local_mail_for_bob(mta):
    """Seconds until it is in his mailbox."""
    def count():
        return read(MAIL + "/bob").count(b"\nSubject: hello\n") if os.path.exists(MAIL + "/bob") else 0
    before, begun = count(), time.monotonic()
    over_smtp("bob@home.test")
    wait_for("mail for bob", lambda: count() > before)
    return time.monotonic() - begun


main([maildrop_is_filled, signals_in_the_middle, interrupted_submissions_leave_nothing,
      odd_callers_get_all_or_nothing, commands_without_end])
