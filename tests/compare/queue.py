#!/usr/bin/env python3
"""The output of postqueue, qshape and postmap -s beside Postfix's, byte for byte.

    queue.py check BINDIR MAKER    ours against the recordings; Postfix's too where it is installed
    queue.py record                new recordings from Postfix 3.7

The same messages are laid into a queue of each: with fixed ids, senders, sizes, reasons and times,
so that nothing of an answer has to be left out. MAKER writes ours (queue_maker.cpp), Postfix's
queue files are written here. Both lists are then read with the mail system down, as root.
"""

import difflib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
RECORDINGS = HERE / "recordings"
SKIPPED = 77
NOON = 1767614400  # 5 January 2026, 12:00 UTC
LONG = ("host mx.slow.example[192.0.2.7] refused to talk to me: 450 4.7.1 Too many connections "
        "from your network, please come again in half an hour or two")


def message(queue_id, queue, age, sender, recipients, size=400, expired=False):
    """`recipients` are addresses, with a reason after them where they were tried; age in minutes."""
    pairs = [(r, None) if isinstance(r, str) else r for r in recipients]
    return {"id": queue_id, "queue": queue, "age": age, "sender": sender, "size": size,
            "expired": expired, "recipients": [{"address": a, "reason": why or ""} for a, why in pairs]}


# Queues of one message each would show no order; those of several are listed as the directory has
# them, so the entries are sorted before they are compared.
SHORT = [
    message("1AAAAAAAA1", "deferred", 8000, "alice@home.test",
            [("bob@away.test", "connect to mx.away.test[192.0.2.1]:25: Connection refused"),
             ("carol@away.test", "connect to mx.away.test[192.0.2.1]:25: Connection refused"),
             ("dan@slow.example", LONG)], size=1234),
    message("2BBBBBBBB2", "deferred", 3, "", [("eve@deep.sub.away.test", "mail transport unavailable")]),
    message("3CCCCCCCC3", "active", 17, "list-owner@lists.home.test", ["f@a.example", "g@b.example"],
            size=1024000),
    message("4DDDDDDDD4", "hold", 700, "alice@home.test", ["h@away.test", "a b@away.test"], size=2048),
    message("5EEEEEEEE5", "incoming", 0, "very.long.sender.address.that.goes.on.and.on@a-long-domain.example",
            ["i@x.deep.sub.away.test", "j@y.deep.sub.away.test", "k@[192.0.2.9]", "local-part-alone"]),
    message("6FFFFFFFF6", "deferred", 100, "alice@home.test",
            [("l@away.test", 'said: 451 "quoted" \\back (in brackets)')], expired=True),
    message("70000000A7", "deferred", 41, "x+y=z@home.test", [("m@AWAY.test.", "lost connection")]),
]
LARGE = [
    message("4dkx9n1Gz3zXyB1", "deferred", 90, "alice@home.test", [("bob@away.test", "timed out")], size=12345678),
    message("4dkx9n1Gz3zXyB2", "active", 1, "", ["carol@away.test"]),
    message("4dkx9n1Gz3zXyB3", "hold", 10, "dan@home.test", ["eve@" + "d" * 60 + ".example"]),
]
# Name: main.cf's own settings, messages.
SETS = {"short": ("", SHORT), "long": ("enable_long_queue_ids = yes\n", LARGE), "mixed": ("", SHORT[:2] + LARGE), "empty": ("", [])}

LISTINGS = [["postqueue", "-p"], ["postqueue", "-j"]]
SHAPES = [["qshape"], ["qshape", "deferred"], ["qshape", "-s", "deferred"], ["qshape", "-b", "5", "-t", "10", "deferred"],
          ["qshape", "-l", "deferred", "active"], ["qshape", "-p", "-m", "1", "deferred", "incoming", "active", "hold"],
          ["qshape", "-w", "100", "deferred"], ["qshape", "hold"]]
TABLES = {
    "plain": "a\tb\nkey value with  two blanks\nUPPER   mixed Case\n# comment\nlong\n  continued\n  twice\n@dom.example x\n",
    "aliases": "a: b, c\nPostmaster: root\n\"quoted name\": x\nlist: :include:/l,\n   \"|prog arg\"\n",
}


def run(argv, conf):
    environment = {"PATH": f"{os.path.dirname(argv[0])}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TZ": "UTC",
                   "MAIL_CONFIG": str(conf)}
    done = subprocess.run(argv, env=environment, capture_output=True, timeout=60, check=False, cwd="/")
    errors = [line for line in done.stderr.decode().splitlines() if "Mail system is down" not in line]
    return done.stdout.decode(errors="backslashreplace"), errors, done.returncode


def sort_entries(text):
    """The messages of a listing by their ids, heads and foots where they were."""
    if text.startswith("{"):
        return "".join(sorted(text.splitlines(keepends=True)))
    parts = text.split("\n\n")
    if len(parts) < 2:
        return text
    head, _, first = parts[0].partition("\n")
    return "\n\n".join([head, *sorted([first, *parts[1:-1]]), parts[-1]])


def sort_ties(text):
    """A listing of qshape; rows of the same sum and length of name stand in no order there."""
    rows = text.splitlines(keepends=True)
    key = lambda row: (-int(row.split()[1]), len(row.split()[0]))  # noqa: E731
    return "".join(rows[:1] + sorted(rows[1:], key=lambda row: (*key(row), row))) if rows else text


# -- Postfix ------------------------------------------------------------------------------------

def record_of(kind, payload):
    data = payload.encode()
    length, out = len(data), b""
    while length > 127:
        out += bytes([length & 127 | 128])
        length >>= 7
    return kind.encode() + out + bytes([length]) + data


def write_postfix(spool, entry, now):
    arrival = now - entry["age"] * 60
    head = record_of("T", f"{arrival} 0") + record_of("A", f"create_time={arrival}") + record_of("S", entry["sender"])
    for recipient in entry["recipients"]:
        head += record_of("R", recipient["address"])
    lines, rest = divmod(entry["size"] - 4, 72)
    content = record_of("N", "x" * 70) * lines + record_of("N", "x" * (rest + 2))
    size_record = 1 + 1 + 6 * 16 - 1
    offset = size_record + len(head) + 2
    sizes = " ".join(f"{n:>15}" for n in (entry["size"], offset, len(entry["recipients"]), 0, entry["size"], 0))
    data = record_of("C", sizes) + head + record_of("M", "") + content + record_of("X", "") + record_of("E", "")
    name = entry["id"]
    path = spool / entry["queue"] / name
    path.write_bytes(data)
    path.chmod(0o700)
    reasons = [r for r in entry["recipients"] if r["reason"]]
    if not reasons:
        return
    log = spool / "defer" / name
    log.write_text("".join(f"<{r['address']}>: {r['reason']}\nrecipient={r['address']}\noffset=0\ndsn_orig_rcpt=\n"
                           f"status=4.4.1\naction=delayed\nreason={r['reason']}\n\n" for r in reasons))
    log.chmod(0o600)


def postfix_world(top, entries, now, settings):
    conf, spool, data = top / "conf", top / "spool", top / "data"
    for directory in (conf, spool, data):
        directory.mkdir()
    for file in ("post-install", "postfix-script", "postfix-files", "dynamicmaps.cf", "master.cf.proto"):
        shutil.copy(f"/etc/postfix/{file}", conf / file.removesuffix(".proto"))
    for directory in ("dynamicmaps.cf.d", "postfix-files.d"):
        if os.path.isdir(f"/etc/postfix/{directory}"):
            shutil.copytree(f"/etc/postfix/{directory}", conf / directory)
    # TZ among import_environment would come from main.cf: the test's own is meant.
    (conf / "main.cf").write_text(f"compatibility_level = 3.6\nqueue_directory = {spool}\ndata_directory = {data}\nhash_queue_names = flush\n"
                                  f"meta_directory = {conf}\nmyhostname = mx.home.test\nalias_maps =\nalias_database =\n{settings}")
    shutil.chown(data, "postfix")
    subprocess.run(["postfix", "-c", conf, "check"], check=True, timeout=60)
    for entry in entries:
        write_postfix(spool, entry, now)
    subprocess.run(["chown", "-R", "postfix", *(spool / q for q in ("deferred", "active", "hold", "incoming", "defer"))],
                   check=True, timeout=60)
    for entry in entries:
        if entry["expired"]:
            subprocess.run(["postsuper", "-c", conf, "-e", entry["id"]], check=True, capture_output=True, timeout=60)
    return conf, "/usr/sbin"


# -- ours ---------------------------------------------------------------------------------------

def our_world(top, entries, now, settings, bindir, maker):
    conf, spool = top / "conf", top / "spool"
    conf.mkdir()
    spool.mkdir()
    (conf / "main.cf").write_text(f"compatibility_level = 3.6\nqueue_directory = {spool}\nmyhostname = mx.home.test\n"
                                  f"hash_queue_names = flush\ndata_directory = {top}/data\nalias_maps =\nalias_database =\n{settings}")
    (conf / "master.cf").write_text("pickup unix n - n 60 1 pickup\n")
    given = [{**entry, "arrival": now - entry["age"] * 60} for entry in entries]
    subprocess.run([maker, spool], input=json.dumps(given).encode(), check=True, timeout=60)
    return conf, bindir


# -- transcripts --------------------------------------------------------------------------------

def transcript(world):
    """`world(top, entries, now, settings)` gives a configuration directory and that of the commands."""
    parts = []

    def add(title, argv, conf, bindir, is_listing):
        out, errors, status = run([os.path.join(bindir, argv[0]), *argv[1:]], conf)
        parts.append(f"$ {title}{' '.join(argv)}\n{(sort_entries if is_listing else sort_ties)(out)}"
                     + "".join(f"! {line}\n" for line in errors) + f"= {status}\n")

    with tempfile.TemporaryDirectory(prefix="compare.") as name:
        os.chmod(name, 0o755)
        for title, (settings, entries) in SETS.items():
            top = pathlib.Path(name) / title
            top.mkdir()
            conf, bindir = world(top, entries, NOON, settings)
            for argv in LISTINGS:
                add(f"({title}) ", argv, conf, bindir, True)
        for title, (settings, entries) in SETS.items():
            # Ages are counted from now; a quarter of a minute more keeps clear of the borders.
            top = pathlib.Path(name) / f"{title}-ages"
            top.mkdir()
            # qshape of Postfix passes messages over that postsuper -e has marked; ours counts them.
            unmarked = [entry for entry in entries if not entry["expired"]]
            conf, bindir = world(top, unmarked, int(time.time()) - 15, settings)
            for argv in SHAPES:
                add(f"({title}) ", argv, conf, bindir, False)
        for file, text in TABLES.items():
            command = "postalias" if file == "aliases" else "postmap"
            # Postfix cannot list a cdb: file; ours can.
            for kind in ("hash", "btree", "lmdb"):
                top = pathlib.Path(name) / f"{kind}-{file}"
                top.mkdir()
                conf, bindir = world(top, [], NOON, "")
                (top / file).write_text(text)
                table = f"{kind}:{top}/{file}"
                subprocess.run([os.path.join(bindir, command), "-c", conf, table], check=True, timeout=60)
                for flag in ("-s", "-fs"):
                    out, errors, status = run([os.path.join(bindir, command), flag, table], conf)
                    out = re.sub(r"(YP_LAST_MODIFIED:\t)[0-9]+", r"\1<now>", out)
                    parts.append(f"$ {command} {flag} {kind}:{file}\n{out}"
                                 + "".join(f"! {e.replace(str(top), '/etc')}\n" for e in errors) + f"= {status}\n")
    return "".join(parts)


def has_postfix():
    postconf = "/usr/sbin/postconf"
    if not os.access(postconf, os.X_OK) or os.path.realpath(postconf).endswith("/postern"):
        return False
    done = subprocess.run([postconf, "-d", "-h", "mail_version"], capture_output=True, text=True, timeout=60, check=False)
    kinds = subprocess.run([postconf, "-m"], capture_output=True, text=True, timeout=60, check=False).stdout.split()
    return done.stdout.startswith("3.7.") and {"hash", "btree", "lmdb"} <= set(kinds) and os.path.exists("/usr/sbin/qshape")


def main():
    if os.geteuid() != 0:
        sys.exit(SKIPPED)
    recording = RECORDINGS / "queue-tools.txt"
    if sys.argv[1] == "record":
        recording.write_text(transcript(postfix_world))
        return
    bindir, maker = sys.argv[2:4]
    seen = {"ours": transcript(lambda *given: our_world(*given, bindir, maker))}
    if has_postfix():
        seen["Postfix"] = transcript(postfix_world)
    wanted = recording.read_text()
    for who, text in seen.items():
        sys.stdout.writelines(difflib.unified_diff(wanted.splitlines(keepends=True), text.splitlines(keepends=True),
                                                   "recorded", who, n=2))
    sys.exit(any(text != wanted for text in seen.values()))


main()
