"""console.py - what administrators type: queue tools, instances, tables behind proxy:, sendmail."""
import json
import resource

from harness import *


def submit(mta, sender, recipients, text=b"Subject: x\n\nx\n", options=()):
    done = mta.tool("sendmail", "-f", sender, *options, *recipients, data=text)
    check_equal(done.returncode, 0, done.stderr)


def listed(mta, *words):
    done = mta.tool("postern", "queue", "list", "--json", *words)
    check_equal(done.returncode, 0, done.stderr)
    return {m["queue_id"]: m for m in json.loads(done.stdout)}


def line_ends_of_programs():
    """sendmail_fix_line_endings: all of them, those of the first line's kind, none."""
    text = b"Subject: x\nX-One: 1\r\n\nLF\nCRLF\r\nCRs\r\r\n"
    # One CR before a line end is never content.
    wanted = {"always": b"LF\nCRLF\nCRs\n", "strict": b"LF\nCRLF\nCRs\r\n", "never": b"LF\nCRLF\nCRs\r\n"}
    for word, body in wanted.items():
        with Mta({"sendmail_fix_line_endings": word, "smtpd_forbid_bare_newline": "no",
                  "cleanup_replace_stray_cr_lf": "no"}) as mta:
            submit(mta, "u1@box.test", ["u2@box.test"], text)
            wait_for("the message", lambda: maildir("u2"))
            check_equal(body_of(maildir("u2")[0]), body, word)
    with Mta({"sendmail_fix_line_endings": "strict"}) as mta:
        submit(mta, "u1@box.test", ["u2@box.test"], b"Subject: x\r\n\r\nLF\nCRLF\r\n")
        wait_for("the message", lambda: maildir("u2"))
        check_equal(body_of(maildir("u2")[0]), b"LF\nCRLF\n", "strict, CR in the first line")


def queue_verbs_choose():
    """postern queue: filters by sender, domain, reason, age and size; --dry-run; each change."""
    with Mta({"defer_transports": "smtp", "minimal_backoff_time": "300s"}) as mta:
        submit(mta, "u1@box.test", ["a@away.test"])
        submit(mta, "u2@box.test", ["b@away.test"], b"Subject: x\n\n" + b"x" * 70 * 1000)
        submit(mta, "u3@box.test", ["c@other.test", "d@other.test"])
        wait_for("three that wait", lambda: sum(
            m["queue_name"] == "deferred" for m in listed(mta).values()) == 3)
        ids = {m["sender"]: queue_id for queue_id, m in listed(mta).items()}
        first, second, third = (ids[f"u{n}@box.test"] for n in (1, 2, 3))
        for words, wanted in {("--sender", "u1@box.test"): {first},
                              ("--sender", "u[12]@*"): {first, second},
                              ("--domain", "other.test"): {third},
                              ("--recipient", "b@away.test"): {second},
                              ("--reason", "DEFERRED transport"): {first, second, third},
                              ("--reason", "no such"): set(),
                              ("--larger", "50k"): {second},
                              ("--smaller", "50k"): {first, third},
                              ("--older", "1h"): set(),
                              ("--younger", "1h"): {first, second, third},
                              ("--queue", "hold"): set()}.items():
            check_equal(set(listed(mta, *words)), wanted, words)

        done = mta.tool("postern", "queue", "delete", "--all", "--dry-run")
        check_equal(done.returncode, 0, done.stderr)
        check(b"3 messages would be changed; nothing was" in done.stderr, done.stderr)
        check_equal(len(listed(mta)), 3)
        check_equal(mta.tool("postern", "queue", "delete").returncode, 1, "of which?")

        check_equal(mta.tool("postern", "queue", "hold", "--sender", "u1@box.test").returncode, 0)
        check_equal(listed(mta)[first]["queue_name"], "hold")
        check_equal(mta.tool("postern", "queue", "release", first).returncode, 0)
        wait_for("deferred again", lambda: listed(mta)[first]["queue_name"] != "hold")
        shown = mta.tool("postern", "queue", "show", first)
        check(b"Subject: x" in shown.stdout and b"a@away.test" in shown.stdout, shown.stdout)
        check_equal(mta.tool("postern", "queue", "delete", "--larger", "50k").returncode, 0)
        wait_for("gone", lambda: second not in listed(mta))
        check_equal(mta.tool("postern", "queue", "expire", third).returncode, 0)
        mta.tool("postqueue", "-f")
        wait_for("returned", lambda: any(b"c@other.test" in m for m in maildir("u3")))
        def tries():
            return len(re.findall(rf"{first}: to=<a@away\.test>.*status=deferred", mta.log()))
        before = tries()
        done = mta.tool("postern", "queue", "retry", first)
        check_equal((done.returncode, done.stdout), (0, b"asked for another try of 1 message\n"))
        wait_for("another try", lambda: tries() > before)


def postsuper_takes_lists():
    """Queue ids from standard input, ALL, ALL of one queue, and each letter."""
    with Mta({"defer_transports": "smtp", "minimal_backoff_time": "300s"}) as mta:
        for number in range(6):
            submit(mta, f"u{number}@box.test", [f"r{number}@away.test"])
        wait_for("six that wait", lambda: sum(
            m["queue_name"] == "deferred" for m in listed(mta).values()) == 6)
        ids = {m["sender"][1]: queue_id for queue_id, m in listed(mta).items()}

        done = mta.tool("postsuper", "-h", "-", data=f"{ids['0']}\n{ids['1']}\nNOSUCHID99\n".encode())
        check_equal(done.returncode, 0, done.stderr)
        check(b"Placed on hold: 2 messages" in done.stderr, done.stderr)
        check_equal({i for i, m in listed(mta).items() if m["queue_name"] == "hold"}, {ids["0"], ids["1"]})
        done = mta.tool("postsuper", "-H", "ALL", "hold")
        check(b"Released from hold: 2 messages" in done.stderr, done.stderr)
        done = mta.tool("postsuper", "-r", ids["2"])
        check(b"Requeued: 1 message" in done.stderr, done.stderr)
        done = mta.tool("postsuper", "-d", ids["3"], "-h", ids["4"])
        check(b"Deleted: 1 message" in done.stderr and b"Placed on hold: 1 message" in done.stderr, done.stderr)
        check(ids["3"] not in listed(mta))
        done = mta.tool("postsuper", "-f", ids["4"], "hold")
        check(b"Force-expired: 1 message" in done.stderr, done.stderr)
        done = mta.tool("postsuper", "-e", "-", data=f"{ids['5']}\n".encode())
        check(b"Force-expired: 1 message" in done.stderr, done.stderr)
        mta.tool("postqueue", "-f")
        wait_for("notices", lambda: maildir("u5"))
        done = mta.tool("postsuper", "-d", "ALL", "deferred")
        check(b"Deleted: " in done.stderr, done.stderr)
        check_equal(mta.tool("postsuper", "-d", "ALL").returncode, 0)
        wait_for("an empty queue", lambda: b"Mail queue is empty" in mta.tool("postqueue", "-p").stdout)
        check_equal(mta.tool("postsuper", "-p").returncode, 0)
        check_equal(mta.tool("postsuper", "-s").returncode, 0)
        done = mta.tool("postsuper", "-d", "../../etc/passwd")
        check(done.stderr.startswith(b"postsuper: warning: invalid mail queue id: ../../etc/passwd"), done.stderr)


def tables_behind_proxy():
    """postmap -q and -d through proxy:; a change needs proxy_write_maps."""
    with Mta({"proxy_write_maps": f"proxy:lmdb:{CONF}/open", "proxy_read_maps":
              f"proxy:lmdb:{CONF}/open proxy:lmdb:{CONF}/closed"}) as mta:
        for name in ("open", "closed"):
            write(f"{CONF}/{name}", "key value\nother thing\n")
            check_equal(mta.tool("postmap", f"lmdb:{CONF}/{name}").returncode, 0)
        done = mta.tool("postmap", "-d", "key", f"proxy:lmdb:{CONF}/closed")
        check(done.returncode == 1 and b"proxy_write_maps" in done.stderr, done.stderr)
        check_equal(mta.tool("postmap", "-q", "key", f"lmdb:{CONF}/closed").stdout, b"value\n")
        check_equal(mta.tool("postmap", "-d", "key", f"proxy:lmdb:{CONF}/open").returncode, 0)
        check_equal(mta.tool("postmap", "-d", "key", f"proxy:lmdb:{CONF}/open").returncode, 1, "it is gone")
        check_equal(mta.tool("postmap", "-q", "key", f"lmdb:{CONF}/open").stdout, b"")
        check_equal(mta.tool("postmap", "-q", "other", f"lmdb:{CONF}/open").stdout, b"thing\n")


def locks_and_kicks():
    """postlock runs a command with the lock held; postkick wakes a service."""
    with Mta({"mailbox_delivery_lock": "dotlock"}) as mta:
        write(MAIL + "/box", "")
        done = mta.tool("postlock", "-l", "dotlock", MAIL + "/box", "sh", "-c", f"ls {MAIL}; exit 3")
        check_equal(done.returncode, 3, done.stderr)
        check(b"box.lock" in done.stdout, done.stdout)
        check("box.lock" not in os.listdir(MAIL), "the lock is gone")
        write(MAIL + "/box.lock", "")
        done = mta.tool("postlock", "-l", "dotlock", MAIL + "/box", "true", timeout=60)
        check_equal(done.returncode, 75, done.stderr)
        check_equal(mta.tool("postkick", "public", "pickup", "W").returncode, 0)
        check(mta.tool("postkick", "public", "nosuch", "W").returncode != 0, "there is no such service")


def other_configuration_directories():
    """Set-gid commands take a user's -c only where alternate_config_directories has it."""
    with Mta() as mta:
        for name in ("known", "unknown"):
            os.makedirs(f"{ROOT}/{name}", exist_ok=True)
            for file in ("main.cf", "master.cf"):
                shutil.copy(f"{CONF}/{file}", f"{ROOT}/{name}/{file}")
        mta.write_main_cf(alternate_config_directories=ROOT + "/known")
        done = mta.tool("postqueue", "-c", ROOT + "/known", "-p", user="alice")
        check_equal(done.returncode, 0, done.stderr)
        done = mta.tool("postqueue", "-c", ROOT + "/unknown", "-p", user="alice")
        check(done.returncode != 0 and b"unknown" in done.stderr, done.stderr)


def instances():
    """postmulti makes a second mail system; `postern start` and its kin are then for both."""
    with Mta() as mta:
        def multi(*words, status=0):
            done = mta.tool("postmulti", *words, timeout=60)
            check_equal(done.returncode, status, (words, done.stderr))
            return done.stdout.decode()

        refused = mta.tool("postmulti", "-e", "create", "-I", "postfix-out")
        check(refused.returncode == 1 and b"postmulti -e init" in refused.stderr, refused.stderr)
        multi("-e", "init")
        other = ROOT + "/conf-out"
        first = mta.tool("postconf", "-h", "config_directory").stdout.decode().strip()
        words = (f"config_directory={other}", f"queue_directory={VAR}/spool/out", f"data_directory={VAR}/lib/out")
        multi("-e", "create", "-I", "out", *words, status=1)
        multi("-e", "create", "-I", "postfix-out", "-G", "out", *words)
        text = read(other + "/main.cf").decode()
        for line in ("multi_instance_name = postfix-out", "multi_instance_group = out",
                     "master_service_disable = inet", "authorized_submit_users ="):
            check(line in text, line, text)
        check_equal([row.split() for row in multi("-l").splitlines()],
                    [["-", "-", "y", first], ["postfix-out", "out", "n", other]])
        check_equal([row.split()[3] for row in multi("-lR").splitlines()], [other, first])
        multi("-l", "-i", "postfix-none")
        shown = multi("-g", "out", "-x", "sh", "-c", "echo $MAIL_CONFIG $multi_instance_name $queue_directory")
        check_equal(shown, f"{other} postfix-out {VAR}/spool/out\n")
        multi("-R", "-p", "status", status=1)

        # The first runs; the second is left alone until it is enabled.
        check_equal(mta.tool("postern", "status").returncode, 1, "one of the two does not run")
        check_equal(mta.tool("postern", "-c", first, "status").returncode, 0)
        with open(other + "/main.cf", "a", encoding="ascii") as file:
            file.write(f"maillog_file = {ROOT}/log-out\nmaillog_file_prefixes = {ROOT}\n"
                       "mail_owner = postfix\nsetgid_group = postdrop\nalias_maps =\nmyhostname = out.test\n")
        multi("-e", "enable", "-i", "postfix-out")
        refused = mta.tool("postmulti", "-e", "destroy", "-i", "postfix-out")
        check(b"Cannot remove enabled instances" in refused.stderr, refused.stderr)
        multi("-i", "postfix-out", "-p", "start")
        check_equal(mta.tool("postern", "status").returncode, 0, "both run")
        check_equal(mta.tool("postern", "stop", timeout=60).returncode, 0)
        wait_for("end of both", lambda: not daemons())
        multi("-e", "disable", "-i", "postfix-out")
        write(other + "/mine", "a file of the administrator's\n")
        done = mta.tool("postmulti", "-e", "destroy", "-i", "postfix-out")
        check_equal(done.returncode, 0, done.stderr)
        check(b"please verify contents and remove by hand" in done.stderr, done.stderr)
        check_equal(os.listdir(other), ["mine"])
        check_equal(len(multi("-l").splitlines()), 1)
        shutil.rmtree(other)


def on_a_terminal(argv, **environment):
    """What a command shows where its output is a terminal."""
    master, slave = os.openpty()
    done = subprocess.run(argv, stdout=slave, stderr=slave, timeout=30, check=False,
                          env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment})
    os.close(slave)
    shown = b""
    with contextlib.suppress(OSError):
        while data := os.read(master, 65536):
            shown += data
    os.close(master)
    return done.returncode, shown


def colour_only_on_terminals():
    """Colours and messages go to terminals; NO_COLOR (no-color.org) is obeyed."""
    with Mta({"defer_transports": "smtp", "minimal_backoff_time": "300s"}) as mta:
        submit(mta, "u1@box.test", ["a@away.test"])
        wait_for("a reason", lambda: b"deferred transport" in mta.tool("postern", "queue", "list").stdout)
        command = [PREFIX + "/sbin/postern", "queue", "list"]
        check(b"\x1b[" not in mta.tool("postern", "queue", "list").stdout, "colours in a pipe")
        check(b"\x1b[33m" in on_a_terminal(command)[1], "no colour on a terminal")
        check(b"\x1b[" not in on_a_terminal(command, NO_COLOR="1")[1], "NO_COLOR")
        setting = [PREFIX + "/sbin/postern", "config", "set", "-n", "relayhost=[x.test]"]
        check(b"\x1b[32m+relayhost" in on_a_terminal(setting)[1], on_a_terminal(setting))
        check(b"\x1b[" not in on_a_terminal(setting, NO_COLOR="1")[1], "NO_COLOR")
        status, shown = on_a_terminal([PREFIX + "/sbin/postfix", "status"])
        check(status == 0 and b"postfix/postfix-script: the " in shown, shown)


def settings_as_json():
    """postconf -j: one object a line for main.cf, services, columns and their parameters."""
    with Mta(start=False, master=["submission inet n - n - - smtpd -o smtpd_banner=hello"]) as mta:
        def rows(*words):
            done = mta.tool("postconf", *words)
            check_equal((done.returncode, done.stderr), (0, b""), words)
            return {row["name"]: row["value"] for row in map(json.loads, done.stdout.splitlines())}
        check_equal(rows("-j", "mydomain"), {"mydomain": "home.test"})
        check_equal(rows("-Mj", "showq")["showq/unix"].split(), "showq unix n - n - - showq".split())
        check_equal(rows("-Fj", "showq/unix/chroot"), {"showq/unix/chroot": "n"})
        check_equal(rows("-Pj"), {"submission/inet/smtpd_banner": "hello"})
        done = mta.tool("postern", "conf", "get", "mydomain", "--json")
        known = json.loads(done.stdout)
        check_equal((known["value"], known["file"][-8:]), ("home.test", "/main.cf"), done.stdout)
        told = mta.tool("postern", "config", "show", "smtpd_timeout", "readme_directory", "smtp_dns_reply_filter").stdout
        for text in (b"(time; default: ", b"; without effect here)", b"; not supported yet)"):
            check(text in told, text, told)


def postmap_answers_many_keys():
    """Keys from standard input: in their order, from the first table that has one, and at once."""
    with Mta(start=False) as mta:
        for kind, step in (("lmdb", 2), ("cdb", 1)):
            write(f"{CONF}/{kind}", "".join(f"key{n} {kind} {n}\n" for n in range(0, 3000, step)))
            check_equal(mta.tool("postmap", f"{kind}:{CONF}/{kind}").returncode, 0)
        keys = [n * 7 % 3100 for n in range(5000)]
        wanted = "".join(f"KEY{n}\t{'cdb' if n % 2 else 'lmdb'} {n}\n" for n in keys if n < 3000)
        tables = [f"{kind}:{CONF}/{kind}" for kind in ("lmdb", "cdb")]
        done = mta.tool("postmap", "-q", "-", *tables, data="".join(f"KEY{n}\n" for n in keys).encode())
        check_equal((done.returncode, done.stderr), (0, b""))
        check_equal(done.stdout.decode(), wanted)
        done = mta.tool("postmap", "-q", "-", *tables, data=b"none\nkey3000\nno end of line")
        check_equal((done.returncode, done.stdout), (1, b""), done.stderr)
        # Who asks one key after the other waits for none of the later ones.
        asking = subprocess.Popen([PREFIX + "/sbin/postmap", "-q", "-", tables[0]],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        for n in (4, 2998):
            asking.stdin.write(f"key{n}\n".encode())
            check_equal(asking.stdout.readline(), f"key{n}\tlmdb {n}\n".encode())
        asking.stdin.close()
        check_equal(asking.wait(30), 0)


def tables_without_room():
    """A table that cannot be written whole: the reason is told, the old one stays, nothing is left."""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    with Mta(start=False) as mta:
        for kind in ("lmdb", "cdb", "hash", "btree"):
            write(f"{CONF}/t", "key old\n")
            check_equal(mta.tool("postmap", f"{kind}:{CONF}/t").returncode, 0)
            write(f"{CONF}/t", "".join(f"key{n} value\n" for n in range(10_000)) + "key new\n")
            before = sorted(os.listdir(CONF))
            done = subprocess.run([PREFIX + "/sbin/postmap", f"{kind}:{CONF}/t"], preexec_fn=limit,
                                  capture_output=True, timeout=30)
            check_equal(done.returncode, 1, (kind, done.stderr))
            check(b"File too large" in done.stderr, kind, done.stderr)
            check_equal(sorted(os.listdir(CONF)), before, kind)
            check_equal(mta.tool("postmap", "-q", "key", f"{kind}:{CONF}/t").stdout, b"old\n", kind)


def mail_waits_in_the_maildrop():
    """While the mail system is down local mail is taken, the user is told, and it is listed."""
    with Mta() as mta:
        mta.stop()
        done = mta.tool("sendmail", "-f", "u1@box.test", "u2@box.test", data=b"Subject: x\n\ny\n")
        check_equal(done.returncode, 0, done.stderr)
        check(b"warning: unable to look up public/pickup" in done.stderr, done.stderr)
        done = mta.tool("postqueue", "-p")
        check(b"Mail system is down -- accessing queue directly" in done.stderr, done.stderr)
        check(b"u1@box.test" in done.stdout and b"u2@box.test" in done.stdout, done.stdout)
        check(b"1 Request." in done.stdout, done.stdout)
        queue_id = done.stdout.split(b"\n")[1].split()[0].decode()
        check(b"Subject: x" in mta.tool("postcat", "-q", queue_id).stdout, queue_id)
        mta.start()
        wait_for("the message", lambda: maildir("u2"))


def keys_in_all_scripts():
    """Keys are folded beyond ASCII too; lines that are no UTF-8 are left out, with a warning."""
    with Mta(start=False) as mta:
        table = f"{CONF}/words"
        with open(table, "wb") as out:
            out.write("\u00c9cole one\n".encode() + b"caf\xe9 two\n" + "na\u00efve three\n".encode())
        for kind in ("lmdb", "hash", "cdb"):
            done = mta.tool("postmap", f"{kind}:{table}")
            check_equal((done.returncode, done.stdout), (0, b""), done.stderr)
            check(b'line 2: non-UTF-8 input "caf? two" -- ignoring this line' in done.stderr, done.stderr)
            for key in ("\u00e9cole", "\u00c9COLE"):
                check_equal(mta.tool("postmap", "-q", key, f"{kind}:{table}").stdout, b"one\n", (kind, key))
        mta.write_main_cf(smtputf8_enable="no")
        check_equal(mta.tool("postmap", f"lmdb:{table}").stderr, b"")
        check_equal(mta.tool("postmap", "-q", b"caf\xe9", f"lmdb:{table}").stdout, b"two\n")


def settings_that_cannot_be_read():
    """postconf shows nothing of files that have no meaning, and edits them all the same."""
    with Mta(start=False) as mta:
        with open(f"{CONF}/main.cf", "a") as out:
            out.write("no equals sign\n")
        done = mta.tool("postconf", "mydomain")
        check_equal((done.returncode, done.stdout), (1, b""), done.stderr)
        check(b"main.cf, line " in done.stderr and b"missing '=' after attribute name" in done.stderr, done.stderr)
        check_equal(mta.tool("postconf", "-e", "mydomain=other.test").returncode, 0)
        mta.write_main_cf()
        with open(f"{CONF}/master.cf", "a") as out:
            out.write("half unix n - n\n")
        for words in (["-M"], ["-n"], ["-P"]):
            done = mta.tool("postconf", *words)
            check_equal((done.returncode, done.stdout), (1, b""), (words, done.stderr))
        for words, told in ((["-n", "-d"], b"specify one of -d -n"), (["-M", "-F"], b"specify one of -F -M"),
                            (["-m", "-x"], b"with option -m, do not specify -x"),
                            (["-x", "-e", "a=b"], b"specify one of -e -x"), (["-X"], b"missing service argument")):
            done = mta.tool("postconf", *words)
            check(done.returncode == 1 and told in done.stderr, words, done.stderr)


def outputs_that_are_full():
    """A full disk behind standard output is told by every tool, with status 1 and one line."""
    with Mta() as mta:
        submit(mta, "u1@box.test", ["later@away.test"])
        for words in (["postconf", "-d"], ["postconf", "-n"], ["postconf", "-M"], ["postconf", "-m"],
                      ["postmap", "-q", "x", "static:y"], ["postmap", "-s", "inline:{a=b}"],
                      ["postqueue", "-p"], ["postqueue", "-j"], ["qshape"], ["postmulti", "-l"],
                      ["postern", "check", "-v"], ["postern", "queue", "list", "--json"]):
            program = next(p for p in (f"{PREFIX}/{d}/{words[0]}" for d in ("sbin", "bin")) if os.path.exists(p))
            with open("/dev/full", "wb") as full:
                done = subprocess.run([program, *words[1:]], stdin=subprocess.DEVNULL, stdout=full,
                                      stderr=subprocess.PIPE, timeout=30, check=False)
            check_equal(done.returncode, 1, words)
            check_equal(done.stderr.decode(), f"{words[0]}: fatal: write standard output: No space left on device\n",
                        words)


def values_from_files():
    """-F: values that are names of files stand for what is in these, in every type that has texts."""
    with Mta(start=False) as mta:
        write(f"{CONF}/one", "hello")
        write(f"{CONF}/two", "world\n")
        write(f"{CONF}/text", f"k {CONF}/one, {CONF}/two\n")
        write(f"{CONF}/rules", f"/k/ {CONF}/one\n")
        for table, wanted in ((f"texthash:{CONF}/text", b"hello\nworld\n\n"), (f"static:{CONF}/one", b"hello\n"),
                              (f"inline:{{k={CONF}/one}}", b"hello\n"), (f"regexp:{CONF}/rules", b"hello\n"),
                              (f"pcre:{CONF}/rules", b"hello\n")):
            check_equal(mta.tool("postmap", "-F", "-q", "k", table).stdout, wanted, table)
        done = mta.tool("postmap", "-q", "-", "inline:{a=b}", data=b"a\0x\n")
        check_equal(done.stdout, b"a\tb\n", "a NUL ends a line")
        for message, wanted in ((b"Subject : x\nno field\n", b"Subject: x\tHIT\n\tHIT\nno field\tHIT\n"),
                                (b"From me\nSubject: x\n", b"\tHIT\nFrom me\tHIT\nSubject: x\tHIT\n")):
            done = mta.tool("postmap", "-hb", "-q", "-", "static:HIT", data=message)
            check_equal(done.stdout, wanted, message)


def what_is_no_queue_file():
    """postcat passes by what is no queue file, and reads one from a pipe; who has expired is not counted twice."""
    with Mta({"defer_transports": "smtp"}) as mta:
        submit(mta, "u1@box.test", ["later@away.test"])
        queue_id = wait_for("the message", lambda: [i for i, m in listed(mta).items() if m["queue_name"] == "deferred"])[0]
        done = mta.tool("postcat", "/etc/passwd")
        check_equal((done.returncode, done.stdout, done.stderr),
                    (0, b"", b"postcat: warning: /etc/passwd: input is not a valid queue file\n"))
        by_id = mta.tool("postcat", "-bh", "-q", queue_id).stdout
        path = next(p for p in glob.glob(f"{QUEUE}/deferred/**", recursive=True) if p.endswith(queue_id))
        check_equal(mta.tool("postcat", "-bh", data=read(path)).stdout, by_id)
        for count in ("1 message", "0 messages"):
            done = mta.tool("postsuper", "-h", "ALL") if count[0] == "1" else done
            check(f"Force-expired: {count}".encode() in mta.tool("postsuper", "-e", "ALL").stderr, count)
        check(b"invalid mail queue id: x y" in mta.tool("postsuper", "-d", "-", data=b"x y\n").stderr, "a blank")


def services_under_other_names():
    """showq, pickup, bounce and defer may be called otherwise in master.cf."""
    with Mta({"showq_service_name": "lister", "pickup_service_name": "picker", "bounce_service_name": "b1",
              "defer_service_name": "d1", "defer_transports": "smtp"}, start=False) as mta:
        text = read(f"{CONF}/master.cf").decode()
        for old, new in (("showq", "lister"), ("pickup", "picker"), ("bounce", "b1"), ("defer", "d1")):
            text = re.sub(rf"^{old}(\s)", rf"{new}\1", text, flags=re.M)
        write(f"{CONF}/master.cf", text)
        mta.start()
        submit(mta, "u1@box.test", ["nobody@box.test"])
        wait_for("the bounce", lambda: maildir("u1"))
        submit(mta, "u1@box.test", ["later@away.test"])
        wait_for("the reason", lambda: b"(deferred transport)" in mta.tool("postqueue", "-p").stdout)


def sendmail_names_mistakes():
    """What sendmail refuses or ignores is said in Postfix's words, under the name it was called by."""
    with Mta() as mta:
        write(f"{CONF}/other", "someone: u1@box.test\n")
        for words, told in ((["-Z"], "sendmail: invalid option -- 'Z'"), (["-qR"], "specify: -qRsitename"),
                            (["-qS"], "-qS is not implemented"), (["-B", "x", "a"], "-B option needs 8BITMIME or 7BIT"),
                            (["-bs", "a"], "stand-alone mode requires no recipient"),
                            (["-bp", "a"], "display queue mode requires no recipient"),
                            (["-q", "a"], "flush queue mode requires no recipient"),
                            (["-X/x", "a"], "unsupported: -X/"), (["-a", "b"], "invalid option -- 'a'"),
                            (["-bv", "-t"], "-t option cannot be used with -bv"),
                            (["-f", "me"], "me(0): Recipient addresses must be specified")):
            done = mta.tool("sendmail", *words)
            check_equal(done.returncode, 75, (words, done.stderr))
            check(told in done.stderr.decode(), words, done.stderr)
        check(b"mailq: fatal: usage: mailq [options]" in mta.tool("mailq", "-Z").stderr, "mailq")
        check_equal(mta.tool("sendmail", "-bh").returncode, 0)
        check_equal(mta.tool("sendmail", "-bi", f"-oAhash:{CONF}/other").returncode, 0)
        check_equal(mta.tool("postalias", "-q", "someone", f"hash:{CONF}/other").stdout, b"u1@box.test\n")
        # The file, or its directory.
        check_equal(mta.tool("sendmail", "-C", f"{CONF}/main.cf", "-bp").returncode, 0)
        for words, told in ((["-N", "x"], b"bad -N option value -- ignored"),
                            (["-V", ""], b"bad syntax in -V option value -- ignored"),
                            (["-V", "x" * 101], b"too long -V option value -- ignored"),
                            (["-f", "u1@box.test u3@box.test"], b"-f option specified malformed sender")):
            done = mta.tool("sendmail", *words, "u2@box.test", data=b"Subject: x\n\ny\n")
            check_equal(done.returncode, 0, done.stderr)
            check(told in done.stderr, words, done.stderr)


def sendmail_speaks_smtp():
    """sendmail -bs: what EHLO promises is kept."""
    with Mta({"fast_flush_domains": "home.test", "relay_domains": "home.test"},
             ["flush unix n - n 1000? 0 flush"]) as mta:
        lines = [b"EHLO x", b"ETRN home.test", b"ETRN nowhere.test", b"BDAT 3", b"abc"
                 b"MAIL FROM:<bob@home.test> BODY=8BITMIME RET=HDRS SMTPUTF8",
                 b"RCPT TO:<u1@box.test>", b"BDAT 14", b"Subject: chunk" b"BDAT 9 LAST",
                 b"s\r\n\r\n\xc3\xbc\r\n" b"QUIT"]
        said = mta.tool("sendmail", "-bs", user="bob", data=b"\r\n".join(lines) + b"\r\n")
        replies = said.stdout.decode().split("\r\n")
        for wanted in ("250-ETRN", "250-SMTPUTF8", "250 CHUNKING", "250 Queuing started",
                       "459 <nowhere.test>: service unavailable",
                       "503 5.5.1 Error: need RCPT command", "250 2.0.0 Ok: 14 bytes"):
            check(wanted in replies, wanted, said.stdout)
        for line, wanted in ((b"STARTTLS", "502 5.5.1 Error: command not implemented"),
                             (b"AUTH PLAIN", "503 5.5.1 Error: authentication not enabled"),
                             (b"MAIL FROM:<a@b.c> SIZE=99999999999", "552 5.3.4 Message size exceeds fixed limit")):
            said = mta.tool("sendmail", "-bs", user="bob", data=b"EHLO x\r\n" + line + b"\r\nQUIT\r\n")
            check(wanted in said.stdout.decode().split("\r\n"), line, said.stdout)
        mta.write_main_cf(smtpd_hard_error_limit="20")
        said = mta.tool("sendmail", "-bs", user="bob", data=b"FOO\r\n" * 30)
        check(said.stdout.endswith(b"Error: too many errors\r\n"), said.stdout)
        mta.write_main_cf(authorized_submit_users="root")
        said = mta.tool("sendmail", "-bs", user="bob", data=b"QUIT\r\n")
        check_equal((said.returncode, said.stdout), (75, b""), said.stderr)
        mta.write_main_cf(authorized_submit_users="static:anyone")
        found = wait_for("the message", lambda: glob.glob(MAIL + "/u1/new/*"))
        content = read(found[0])
        check(b"\nSubject: chunks\n" in content and content.endswith("\n\n\u00fc\n".encode()),
              content)


main([settings_as_json, colour_only_on_terminals, line_ends_of_programs, queue_verbs_choose, postsuper_takes_lists, tables_behind_proxy, locks_and_kicks,
      other_configuration_directories, instances, postmap_answers_many_keys, tables_without_room, mail_waits_in_the_maildrop,
      outputs_that_are_full, values_from_files, what_is_no_queue_file, services_under_other_names,
      keys_in_all_scripts, settings_that_cannot_be_read,
      sendmail_names_mistakes, sendmail_speaks_smtp])
