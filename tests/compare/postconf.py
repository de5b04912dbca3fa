#!/usr/bin/env python3
"""The output of postconf beside Postfix's, byte for byte.

    postconf.py check POSTCONF     ours against the recordings; Postfix's too where it is installed
    postconf.py record POSTCONF    new recordings from a Postfix

Each folder of configurations/ holds a main.cf and a master.cf, and the recordings beside them in
recordings/NAME.txt: for each command its standard output, standard error and exit status. Both
read the same copy of the files, so that paths in messages are the same.
"""

import difflib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
CONFIGURATIONS = HERE / "configurations"
RECORDINGS = HERE / "recordings"

COMMANDS = [
    ["-n"], ["-nf"], ["-nx"], ["-nH"], ["-nh"], ["-n", "-C", "user"], ["-n", "-C", "service"],
    ["-n", "-C", "builtin"],
    ["-M"], ["-Mf"], ["-M", "smtp"], ["-M", "smtp/inet"], ["-M", "nosuch/unix"], ["-Mf", "pipe"],
    ["-F"], ["-F", "smtp/inet/chroot"], ["-F", "*/*/command"], ["-Fh", "*/unix/chroot"],
    ["-P"], ["-Px"], ["-P", "*/inet/smtpd_client_restrictions"], ["-Ph"], ["-PH"],
    ["-d", "smtpd_recipient_restrictions"], ["-d", "maximal_backoff_time", "mynetworks_style"],
    ["-x", "smtpd_banner", "syslog_name"], ["-h", "mydestination"], ["-H", "mydestination"],
    ["mydestination", "no_such_name", "smtp_destination_concurrency_limit"],
    ["-p", "relayhost"], ["-o", "relayhost=[x]:25", "relayhost"],
    ["-o", "mydomain=q.example", "-x", "mydestination"],
    ["-d", "-C", "nosuch"], ["-C", "user"], ["-h", "queue_run_delay"], ["-fd", "proxy_read_maps"], ["-a"], ["-A"], ["-T", "public-key-algorithms"],
    ["-l"],
]

# Where the two differ by design: the values are replaced by the names.
INSTALLATION = ["command_directory", "daemon_directory", "data_directory", "queue_directory",
                "mail_name"]
# Postfix opens the settings of these tables to see which names they use.
NOT_COMPARED = 'open "mysql" configuration'

# Edits, each on a fresh copy: the file that is left is compared.
EDITS = [
    ["-e", "relayhost = [new.example]:587"],
    ["-X", "myhostname"],
    ["-#", "myhostname", "smtpd_banner"],
    ["mydestination=one, two"],
    ["-Me", "new/unix=new unix - - n - 7 smtp -o a=b"],
    ["-MX", "smtp/inet"],
    ["-M#", "smtp/inet"],
    ["-Fe", "smtp/inet/chroot=n"],
    ["-Fe", "*/*/chroot=n"],
    ["-Fe", "smtp/unix/command=smtp -v -o x=y"],
    ["-Pe", "smtp/inet/smtpd_banner=word"],
    ["-Pe", "smtp/inet/smtpd_banner="],
    ["-PX", "smtp/inet/smtpd_banner"],
    ["-e", "bad name=x"],
    ["-e", "noequals"],
    ["-Fe", "smtp/inet/nosuch=n"],
    ["-Me", "smtp=x"],
]


def run(postconf, arguments, directory):
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    done = subprocess.run([postconf, "-c", str(directory), *arguments], env=environment,
                          capture_output=True, text=True, timeout=60, check=False)
    # Postfix warns in the order of a hash table.
    lines = sorted(done.stderr.replace(postconf, "postconf").splitlines())
    errors = "".join(f"! {line}\n" for line in lines if NOT_COMPARED not in line)
    return f"{done.stdout}{errors}= {done.returncode}\n"


def installation(postconf, directory):
    done = subprocess.run([postconf, "-c", str(directory), "-dh", *INSTALLATION], capture_output=True, text=True,
                          timeout=60, check=True)
    return list(zip(INSTALLATION, done.stdout.splitlines(), strict=True))


def copy_of(name, directory):
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(CONFIGURATIONS / name, directory)


def transcript(postconf, name, directory):
    copy_of(name, directory)
    parts = []
    for arguments in COMMANDS:
        parts.append(f"$ postconf {' '.join(arguments)}\n{run(postconf, arguments, directory)}")
    for arguments in EDITS:
        copy_of(name, directory)
        parts.append(f"$ postconf {' '.join(arguments)}\n{run(postconf, arguments, directory)}")
        for file in ("main.cf", "master.cf"):
            before = (CONFIGURATIONS / name / file).read_text().splitlines(keepends=True)
            after = (directory / file).read_text().splitlines(keepends=True)
            parts.extend(line for line in difflib.unified_diff(before, after, "a", "b", n=0)
                         if not line.startswith(("---", "+++", "@@")))
    text = "".join(parts).replace(str(directory), "/etc/postfix")
    # Only where a value was expanded: what the files say themselves stays.
    written = "".join(path.read_text() for path in (CONFIGURATIONS / name).iterdir())
    for parameter, value in installation(postconf, directory):
        if value not in written:
            text = text.replace(value, f"<{parameter}>")
    return text


def is_postfix(postconf):
    """3.7 alone prints what the recordings hold."""
    if not os.access(postconf, os.X_OK):
        return False
    done = subprocess.run([postconf, "-d", "-h", "mail_version"], capture_output=True, text=True,
                          timeout=60, check=False)
    target = os.path.realpath(postconf)
    return done.stdout.startswith("3.7.") and not target.endswith("/postern")


def compare(name, wanted, seen, what):
    if wanted == seen:
        return 0
    sys.stdout.writelines(difflib.unified_diff(
        wanted.splitlines(keepends=True), seen.splitlines(keepends=True), "recorded", what, n=2))
    print(f"{name}: {what} differs")
    return 1


def main():
    verb, postconf = sys.argv[1], sys.argv[2]
    names = sys.argv[3:] or sorted(path.name for path in CONFIGURATIONS.iterdir())
    failures = 0
    with tempfile.TemporaryDirectory(prefix="compare.") as top:
        directory = pathlib.Path(top) / "conf"
        for name in names:
            seen = transcript(postconf, name, directory)
            recording = RECORDINGS / f"{name}.txt"
            if verb == "record":
                RECORDINGS.mkdir(exist_ok=True)
                recording.write_text(seen)
                continue
            wanted = recording.read_text()
            failures += compare(name, wanted, seen, "ours")
            if is_postfix("/usr/sbin/postconf"):
                live = transcript("/usr/sbin/postconf", name, directory)
                failures += compare(name, wanted, live, "Postfix")
    sys.exit(1 if failures else 0)


main()
