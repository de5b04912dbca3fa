"""attacks.py - clients that want to use us up: what each may cost, and who is served meanwhile.

Each scenario prints its figures. Memory is not looked at in a build with sanitizers.
"""
import resource
import selectors

from harness import *

HELLO = b"Subject: hello\n\nHello.\n"
SANITIZED = bool(os.environ.get("POSTERN_TEST_SANITIZE"))
# A session, and what a message takes in cleanup, may make a process grow by so many kilobytes.
GROWTH = 5000


def stranger(**options):
    return Client(source=CLIENT, **options)


def resident(program):
    return max((int(re.search(rb"VmRSS:\s+(\d+)", read(f"/proc/{pid}/status"))[1])
                for pid in daemons(program)), default=0)


class Growth:
    """with Growth("what", "smtpd", "cleanup"): ... - none of them grows by GROWTH or more."""

    def __init__(self, what, *programs, limit=GROWTH):
        self.what, self.programs, self.limit = what, programs, limit

    def __enter__(self):
        with stranger() as client:
            check_equal(client.send("s@away.test", ["u9@box.test"], HELLO), 250, client)
        self.before = {program: resident(program) for program in self.programs}
        self.begun = time.monotonic()
        self.highest = dict(self.before)
        return self

    def look(self):
        for program in self.programs:
            self.highest[program] = max(self.highest[program], resident(program))

    def __exit__(self, kind, *_):
        self.look()
        grown = {p: self.highest[p] - self.before[p] for p in self.programs}
        print(f"     {self.what}: {time.monotonic() - self.begun:.1f} s; " +
              ", ".join(f"{p} +{kb} KB" for p, kb in grown.items()), flush=True)
        if kind is None and not SANITIZED:
            for program, kb in grown.items():
                check(kb < self.limit, self.what, program, "grew by", kb, "KB")


def begin(client, command="DATA"):
    client.command("MAIL FROM:<s@away.test>")
    client.command("RCPT TO:<u1@box.test>")
    if command:
        check_equal(client.command(command)[0], 354)


def pour(client, piece, total, growth):
    """The piece again and again, until so many bytes are sent or the server says something."""
    client.socket.settimeout(20)
    sent = 0
    while sent < total:
        try:
            client.socket.sendall(piece)
        except OSError:
            break
        sent += len(piece)
        growth.look()
    return sent


def endless_input():
    was_quiet = is_quiet()
    with Mta({"message_size_limit": "50000000", "smtpd_hard_error_limit": "20",
              "smtpd_junk_command_limit": "100", "smtpd_recipient_limit": "1000",
              "smtpd_recipient_overshoot_limit": "1000"}) as mta:
        with Growth("BDAT 1, 200,000 times", "smtpd", "cleanup") as growth, stranger() as client:
            begin(client, None)
            last = 0
            for _ in range(400):
                client.raw(b"BDAT 1\r\nx" * 500)
                codes = [client.reply()[0] for _ in range(500)]
                last = codes[-1]
                growth.look()
                if last != 250:
                    break
            check(last in (250, 421, 552), "BDAT 1 for ever:", last)
            # Nobody waits for what is made of them.
            begun = time.monotonic()
            with stranger() as good:
                check_equal(good.send("s@away.test", ["u9@box.test"], HELLO), 250, good)
            took = time.monotonic() - begun
            check(took < (1.0 if was_quiet else 4.0) or SANITIZED, "a good client behind them waited", took)
        with Growth("60 MB of header fields", "smtpd", "cleanup") as growth, stranger() as client:
            begin(client)
            pour(client, (b"X-Many: " + b"x" * 60 + b"\r\n") * 1000, 60_000_000, growth)
            client.raw(b"\r\n.\r\n")
            check_equal(client.reply()[0], 552)
        with Growth("one field of 60 MB", "smtpd", "cleanup") as growth, stranger() as client:
            begin(client)
            client.raw(b"X-Folded: x\r\n")
            pour(client, (b"\t" + b"y" * 60 + b"\r\n") * 1000, 60_000_000, growth)
            client.raw(b"\r\n.\r\n")
            check_equal(client.reply()[0], 552)
        # What is longer than header_size_limit is cut, and the message taken. Lines of 44 bytes with
        # their LF are cut between two: that makes no end of the header.
        for what, piece in (("lines", b"\t" + b"y" * 42 + b"\r\n"), ("one line", b"y" * 63)):
            before = len(maildir("u1"))
            with Growth(f"a field of 5.6 MB, {what}", "smtpd", "cleanup") as growth, stranger() as client:
                begin(client)
                client.raw(b"X-Folded: x" + (b"\r\n" if what == "lines" else b""))
                pour(client, piece * 1000, 5_600_000, growth)
                client.raw((b"" if what == "lines" else b"\r\n") +
                           b"Subject: behind\r\n\r\nbody\r\n.\r\n")
                check_equal(client.reply()[0], 250)
            wait_for(what, lambda: len(maildir("u1")) > before)
            message = max(maildir("u1"), key=len)
            check(message.endswith(b"\nSubject: behind\n\nbody\n") and
                  message.index(b"\n\n") == len(message) - len("\n\nbody\n"), message[-200:])
            check(100_000 < len(message) < 104_000, what, len(message))
            for path in glob.glob(f"{MAIL}/u1/new/*"):
                os.unlink(path)
        with Growth("a content line of 100 MB", "smtpd", "cleanup") as growth, stranger() as client:
            begin(client)
            client.raw(b"Subject: x\r\n\r\n")
            pour(client, b"z" * 1_000_000, 100_000_000, growth)
            client.raw(b"\r\n.\r\n")
            check_equal(client.reply()[0], 552)
        with Growth("a command line of 200 MB", "smtpd") as growth, stranger() as client:
            pour(client, b"A" * 1_000_000, 200_000_000, growth)
            client.raw(b"\r\n")
            check(client.reply()[0] in (0, 421, 500), "a line without end")
        with Growth("100,000 RCPT", "smtpd") as growth, stranger() as client:
            client.command("MAIL FROM:<s@away.test>")
            seen = {}
            for _ in range(100):
                client.raw(b"RCPT TO:<u1@box.test>\r\n" * 1000)
                for _ in range(1000):
                    code = client.reply()[0]
                    seen[code] = seen.get(code, 0) + 1
                    if code == 0:
                        break
                growth.look()
                if seen.get(0):
                    break
            check_equal(seen.get(250), 1000, "recipients taken")
            check(set(seen) <= {0, 250, 421, 452}, seen)
        for what, line in (("NOOP", b"NOOP\r\n"), ("RSET", b"RSET\r\n"), ("VRFY", b"VRFY a\r\n"),
                           ("HELP", b"HELP\r\n"), ("AUTH", b"AUTH PLAIN AAAA\r\n"),
                           ("EXPN", b"EXPN a\r\n"), ("unknown words", b"FROB a\r\n")):
            with Growth(f"endless {what}", "smtpd") as growth, stranger() as client:
                client.raw(line * 5000)
                count, code = 0, 250
                while code not in (0, 421):
                    code = client.reply()[0]
                    count += 1
                check(code == 421 and count < 200, what, "ends after", count, code)
        check("status=bounced" not in mta.log(), "bounced")


def deep_and_wide_content():
    with Mta({"message_size_limit": "50000000", "header_address_token_limit": "10240"}) as mta:
        mta.sink()
        deep = b"Subject: deep\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b0\n\n"
        deep += b"".join(b"--b%d\nContent-Type: multipart/mixed; boundary=b%d\n\n" % (n, n + 1)
                         for n in range(20_000))
        wide = b"Subject: wide\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"
        wide += b"--b\n\nx\n" * 200_000
        many = b"Subject: many\nTo: " + b",\n ".join(b"user%d@away.test" % n for n in range(80_000))
        many += b"\n\nx\n"
        one = b"Subject: one\nTo: " + b", ".join(b"user%d@away.test" % n for n in range(80_000))
        one += b"\n\nx\n"
        for what, text in (("MIME nested 20,000 deep", deep), ("200,000 parts", wide),
                           ("80,000 addresses in a field", many),
                           ("80,000 addresses in a line", one)):
            with Growth(what, "smtpd", "cleanup") as growth, stranger(timeout=30) as client:
                begun = time.monotonic()
                code = client.send("s@away.test", ["u1@box.test"], text)
                check(code in (250, 552, 554), what, client.last)
                check(time.monotonic() - begun < 10, what, "took", time.monotonic() - begun)
        mta.wait_drained()


def colliding_names(count):
    """Local parts of `count` addresses that the standard library's hash of libstdc++ makes one number
    of, where they stand at a multiple of eight bytes (MurmurHash64A with a known seed): a difference
    in the highest bit of a mixed block is taken back by the next block."""
    word, multiplier = (1 << 64) - 1, 0xc6a4a7935bd1e995
    inverse = pow(multiplier, -1, 1 << 64)
    # The two forms of a block differ by one of two numbers, which no two ASCII texts do.
    letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_" + bytes(range(0xa0, 0x100))

    def partner(text):
        mixed = int.from_bytes(text, "little") * multiplier & word
        mixed = (mixed ^ mixed >> 47) * multiplier & word ^ 1 << 63
        mixed = mixed * inverse & word
        return ((mixed ^ mixed >> 47) * inverse & word).to_bytes(8, "little")
    chance = random.Random(1)
    blocks = []
    while len(blocks) < 2 * (count - 1).bit_length():
        text = bytes(chance.choices(letters, k=8))
        if all(c in letters for c in partner(text)):
            blocks.append((text, partner(text)))
    for number in range(count):
        yield b"".join(blocks[at][number >> at // 2 & 1] for at in range(len(blocks)))


def names_that_fall_together():
    """8,000 addresses in a header, each asked of a table: those that a known hash makes one number
    of cost what others cost."""
    count = 8000
    with Mta({"message_size_limit": "50000000", "header_size_limit": "4000000",
              "header_address_token_limit": "1000000", "canonical_maps": "inline:{x@away.test=y@away.test}",
              "remote_header_rewrite_domain": "invalid.test"}) as mta:
        chance = random.Random(2)
        plain = [bytes(chance.choices(b"abcdefghijklmnopqrstuvwxyz", k=208)) for _ in range(count)]
        figures = {}
        for what, names in (("any names", plain), ("names that fall together", list(colliding_names(count)))):
            # In the key of an address a letter stands before it.
            text = b"Subject: names\nTo: " + b",\n ".join(
                b"ppppppp" + name + b"@away.test" for name in names) + b"\n\nx\n"
            with Growth(what, "smtpd", "cleanup", limit=60_000) as growth, stranger(timeout=30) as client:
                used = processor_time("cleanup")
                begun = time.monotonic()
                for _ in range(3):
                    check_equal(client.send("s@away.test", ["u1@box.test"], text), 250, client)
                    growth.look()
                figures[what] = (time.monotonic() - begun, processor_time("cleanup") - used)
            print(f"     {what}: {figures[what][0]:.2f} s, {figures[what][1]:.2f} s of cleanup's time")
        slow, fast = (figures[what][1] for what in ("names that fall together", "any names"))
        check(slow < 2 * fast, "time of cleanup", figures)
        mta.wait_drained()


def processor_time(program):
    """Of all its processes, in seconds."""
    ticks = 0
    for pid in daemons(program):
        with contextlib.suppress(OSError):
            fields = read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


class Crowd:
    """Connections of many addresses that say nothing, or a byte at a time, and come back when they
    are closed."""

    def __init__(self, size):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = min(hard, size * 2 + 500)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
        self.selector = selectors.DefaultSelector()
        self.size, self.count, self.closed, self.is_over = size, 0, 0, False
        self.sockets = set()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def connect(self):
        number = self.count
        self.count += 1
        connection = socket.socket()
        connection.setblocking(False)
        connection.bind((f"198.51.100.{number % 180 + 1}", 0))
        connection.connect_ex((HOST, 25))
        self.sockets.add(connection)
        self.selector.register(connection, selectors.EVENT_READ, number)

    def work(self):
        trickle = time.monotonic()
        while not self.is_over:
            for _ in range(50):
                if len(self.sockets) < self.size:
                    self.connect()
            for key, _ in self.selector.select(0.01):
                try:
                    more = key.fileobj.recv(4096)
                except BlockingIOError:
                    continue
                except OSError:
                    more = b""
                if more:
                    continue
                self.selector.unregister(key.fileobj)
                self.sockets.discard(key.fileobj)
                key.fileobj.close()
                self.closed += 1
            if time.monotonic() > trickle + 0.2:
                trickle = time.monotonic()
                for connection in list(self.sockets)[::2]:
                    with contextlib.suppress(OSError):
                        connection.send(b"X")

    def end(self):
        self.is_over = True
        self.thread.join(10)
        for connection in self.sockets:
            connection.close()


def idle_and_trickling_connections():
    """Twice: with room for all of them, which is how we come, and with half as many places, which
    they take again as soon as they have lost them."""
    for what, line in (("room for all", ()), ("1,000 places", ["smtp inet n - n - 1000 smtpd"])):
        with Mta(master=line) as mta:
            crowd = Crowd(2000)
            wait_for("the crowd", lambda: len(crowd.sockets) == 2000)
            taken = 1000 if line else 2000
            wait_for("their places", lambda: mta.log().count(" connect from ") >= taken)
            times = []
            for _ in range(20 if line else 100):
                begun = time.monotonic()
                with stranger(timeout=20) as client:
                    check_equal(client.send("s@away.test", ["u1@box.test"], HELLO), 250, client)
                    check_equal(client.command("QUIT")[0], 221)
                times.append(time.monotonic() - begun)
            crowd.end()
            times.sort()
            p95 = times[int(len(times) * 0.95)]
            print(f"     {what}: p50 {times[len(times) // 2] * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms, "
                  f"slowest {times[-1] * 1000:.0f} ms; {crowd.closed} of the crowd closed")
            check(p95 < (2.0 if line else 1.0), "p95 of a good client", p95)
            mta.wait_drained()


def those_who_pour_starve_nobody():
    """Lines without end and content beyond its limit, as fast as they are read, and a good client in
    the same process."""
    with Mta({"service_workers": "1", "message_size_limit": "1000000"}) as mta:
        for what in ("a command line", "content"):
            sockets = []
            for _ in range(2):
                client = stranger()
                if what == "content":
                    begin(client)
                sockets.append(client)
            # Processes of their own, which nothing holds up.
            pourers = []
            for client in sockets:
                child = os.fork()
                if child == 0:
                    with contextlib.suppress(BaseException):
                        client.socket.settimeout(None)
                        while True:
                            client.socket.sendall(b"z" * 1_000_000)
                    os._exit(0)
                pourers.append(child)
            try:
                times = []
                until = time.monotonic() + 3
                while time.monotonic() < until:
                    begun = time.monotonic()
                    with stranger(timeout=20) as good:
                        check_equal(good.send("s@away.test", ["u1@box.test"], HELLO), 250, good)
                    times.append(time.monotonic() - begun)
                check_equal(len(daemons("smtpd")), 1, "processes of smtpd")
            finally:
                for child in pourers:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                for client in sockets:
                    client.close()
            times.sort()
            p95 = times[int(len(times) * 0.95)]
            print(f"     two pour {what}: {len(times)} good clients, p95 {p95 * 1000:.0f} ms, slowest "
                  f"{times[-1] * 1000:.0f} ms")
            check(p95 < 1.0, "p95 of a good client", p95)
        mta.wait_drained()


def recipients_are_never_commands():
    """An address from outside is no command, file, include or option, whoever delivers it."""
    mark = MAIL + "/mark"
    with Mta({"virtual_mailbox_maps": "static:all/", "local_recipient_maps": "",
              "mynetworks": CLIENT, "luser_relay": ""}) as mta:
        sink = mta.sink()
        os.chmod(MAIL, 0o777)
        os.mkdir(MAIL + "/all")
        os.chown(MAIL + "/all", USERS["vmail"], USERS["vmail"])
        write(MAIL + "/list", "bob\n")
        forms = (f'"|touch {mark}"', f'"$(touch {mark})"', f'"`touch {mark}`"', f'"{mark}"',
                 f'":include:{MAIL}/list"', '-oQ/mnt', f'";touch {mark};"', f'"../../{mark}"',
                 f'"|touch${{IFS}}{mark}"', '"-f root"')
        codes = {}
        for form in forms:
            for domain in ("home.test", "box.test", "away.test"):
                with stranger() as client:
                    codes[form + domain] = client.send("s@away.test", [f"{form}@{domain}"], HELLO)
        taken = sum(code == 250 for code in codes.values())
        wait_for("the end of all", lambda: not [
            f for f in queue_files() if "/deferred/" not in f])
        check(not os.path.exists(mark), "an address was carried out")
        check(not os.path.exists(MAIL + "/bob"), "an include was followed")
        print(f"     {len(codes)} addresses, {taken} taken, {len(sink.messages)} passed on, none "
              "carried out")
        mta.tool("postsuper", "-d", "ALL")


def aliases_that_multiply():
    """Each alias has two results, 40 generations deep: refused or deferred before it is queued."""
    text = "".join(f"a{n}@home.test a{n + 1}@home.test, b{n + 1}@home.test\n"
                   f"b{n}@home.test a{n + 1}@home.test, b{n + 1}@home.test\n" for n in range(40))
    with Mta({"virtual_alias_maps": f"texthash:{CONF}/bomb", "local_recipient_maps": ""},
             start=False) as mta:
        write(CONF + "/bomb", text)
        mta.start()
        begun = time.monotonic()
        with stranger() as client:
            code = client.send("s@away.test", ["a0@home.test"], HELLO)
            check(400 <= code < 600, "taken:", client.last)
        took = time.monotonic() - begun
        check(took < 5, "took", took)
        with stranger() as client:
            check_equal(client.send("s@away.test", ["u1@box.test"], HELLO), 250)
        check(resident("tables") < 60_000, "memory of tables:", resident("tables"))
        print(f"     2^40 recipients: {code} after {took:.2f} s; tables {resident('tables')} KB")
        mta.wait_drained()


main([recipients_are_never_commands, aliases_that_multiply, endless_input, deep_and_wide_content,
      those_who_pour_starve_nobody, names_that_fall_together, idle_and_trickling_connections])
