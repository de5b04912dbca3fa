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
            feeder.join(10)
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            status = process.wait(15)
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
            process.wait(10)
        check_equal(mta.tool("postqueue", "-p", user="bob").returncode, 0)
        for name in os.listdir(maildrop):
            os.unlink(f"{maildrop}/{name}")


main([maildrop_is_filled, signals_in_the_middle])
