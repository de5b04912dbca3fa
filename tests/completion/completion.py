#!/usr/bin/env python3
"""The completions of bash, zsh and fish, asked in those shells themselves.

    completion.py SOURCE BINDIR MAKER SHELL

bash and zsh run on a terminal of their own and are sent a line and a tab; fish answers
`complete -C`. A queue with two messages, made by MAKER, gives the values that are looked up.
"""

import json
import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
IDS = ["1AAAAAAAA1", "2BBBBBBBB2"]

# What is typed, what stands there after one tab, or what is among the proposals.
CASES = [
    ("postern upgr", "postern upgrade-configuration"),
    ("postern ", {"start", "doctor", "quota", "tls", "why"}),
    ("postern config ge", "postern config get"),
    ("postern config get smtpd_hard_error_l", "postern config get smtpd_hard_error_limit"),
    ("postern config get my_own_na", "postern config get my_own_name"),
    ("postern config set my_own_name=", "postern config set my_own_name=something"),
    ("postern queue ho", "postern queue hold"),
    ("postern queue hold 1A", "postern queue hold 1AAAAAAAA1"),
    ("postern queue list --you", "postern queue list --younger"),
    ("postern queue list --group rea", "postern queue list --group reason"),
    ("postern why 2B", "postern why 2BBBBBBBB2"),
    ("postern tls output-server-c", "postern tls output-server-csr"),
    ("postfix rel", "postfix reload"),
    ("postconf smtpd_hard_error_l", "postconf smtpd_hard_error_limit"),
    ("postconf -M pick", "postconf -M pickup/unix"),
    ("postsuper -d ", {*IDS, "ALL"}),
    ("postcat -q 1A", "postcat -q 1AAAAAAAA1"),
    ("postqueue -i 2B", "postqueue -i 2BBBBBBBB2"),
    ("postmap texth", "postmap texthash:"),
    ("postmap texthash:TOP/conf/ma", {"main.cf", "master.cf"}),
    ("postmap -q key texthash:TOP/conf/mas", "postmap -q key texthash:TOP/conf/master.cf"),
    ("postmulti -e imp", "postmulti -e import"),
    ("qshape def", "qshape deferred"),
]


def make_world(top, maker):
    conf, spool = top / "conf", top / "spool"
    conf.mkdir()
    spool.mkdir()
    (conf / "main.cf").write_text(f"compatibility_level = 3.6\nqueue_directory = {spool}\nhash_queue_names = flush\n"
                                  f"my_own_name = something\nrelay_domains = $my_own_name\nmyhostname = mx.home.test\nalias_maps =\n")
    (conf / "master.cf").write_text("pickup unix n - n 60 1 pickup\n")
    messages = [{"id": queue_id, "queue": "deferred", "arrival": 1767614400, "sender": "a@home.test", "size": 400,
                 "expired": False, "recipients": [{"address": "b@away.test", "reason": ""}]} for queue_id in IDS]
    subprocess.run([maker, spool], input=json.dumps(messages).encode(), check=True, timeout=60)
    return conf


class Terminal:
    """A shell on a terminal: what is typed goes in, what it shows comes out as plain text."""

    def __init__(self, argv, environment, ready):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(argv[0], argv, environment)
        self.text = ""
        self.type(ready)
        self.wait(lambda text: "READY" in text.rsplit(ready, maxsplit=1)[-1] or text.count("READY") > 1)

    def type(self, text):
        os.write(self.fd, text.encode())

    def read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.fd, 65536).decode(errors="replace")
        except OSError:
            return False
        data = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\x07|\x1b\][^\x07]*\x07", "", data)
        self.text += data
        return True

    def wait(self, is_there, seconds=20.0):
        end = time.monotonic() + seconds
        while not is_there(self.text):
            if time.monotonic() > end or not (self.read(0.5) or time.monotonic() < end):
                return False
        return True

    def complete(self, line, wanted):
        """Whether the tabs bring what is wanted."""
        self.text = ""
        self.type(line)
        self.wait(lambda text: line[-5:] in squeeze(text))
        if isinstance(wanted, str):
            self.type("\t")
            good = self.wait(lambda text: squeeze(wanted) in squeeze(text))
        else:
            self.type("\t\t")
            good = self.wait(lambda text: all(word in text for word in wanted))
        # The line away, and what is still under way.
        self.type("\x15")
        while self.read(0.2):
            pass
        return good

    def close(self):
        os.kill(self.pid, 9)
        os.close(self.fd)
        os.waitpid(self.pid, 0)


def squeeze(text):
    """Without what a terminal does to a line: it draws parts of it anew and goes back."""
    while "\b" in text:
        text = re.sub(r"[^\b]\b|^\b", "", text)
    return re.sub(r"[\r\n]", "", text)


def in_terminal(argv, environment, ready, top):
    failures = []
    for line, wanted in CASES:
        # A line of its own each: what is left of one is not in the way of the next.
        line = line.replace("TOP", str(top))
        if isinstance(wanted, str):
            wanted = wanted.replace("TOP", str(top))
        terminal = Terminal(argv, environment, ready)
        if not terminal.complete(line, wanted):
            failures.append((line, wanted, terminal.text))
        terminal.close()
    return failures


def in_fish(environment, source, top):
    failures = []
    for line, wanted in CASES:
        line = line.replace("TOP", str(top))
        done = subprocess.run(["fish", "--no-config", "-c",
                               f"source {source}/postern/completions/postern.fish; complete -C '{line}'"],
                              env=environment, capture_output=True, text=True, timeout=60, check=False)
        proposals = {row.split("\t")[0] for row in done.stdout.splitlines()}
        if isinstance(wanted, str):
            good = wanted.replace("TOP", str(top)).rsplit(" ", maxsplit=1)[1] in proposals
        else:
            good = all(any(p.endswith(word) for p in proposals) for word in wanted)
        if not good or done.stderr:
            failures.append((line, wanted, done.stdout + done.stderr))
    return failures


def main():
    source, bindir, maker, shell = sys.argv[1:5]
    if os.geteuid() != 0 or shutil.which(shell) is None:
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory(prefix="completion.") as name:
        top = pathlib.Path(name)
        conf = make_world(top, maker)
        environment = {"PATH": f"{bindir}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TERM": "dumb", "HOME": name,
                       "MAIL_CONFIG": str(conf), "COLUMNS": "200", "LINES": "100"}
        if shell == "bash":
            start = top / "rc"
            start.write_text(f"PS1='$ '\nbind 'set bell-style none' 'set completion-query-items 0' 'set page-completions off' "
                             f"'set enable-bracketed-paste off' 'set horizontal-scroll-mode off'\nstty columns 300\n"
                             f"source {source}/postern/completions/postern.bash\n")
            failures = in_terminal(["bash", "--noprofile", "--rcfile", str(start), "-i"], environment,
                                   "echo REA''DY\n", top)
        elif shell == "zsh":
            start = top / ".zshrc"
            start.write_text(f"PS1='$ '\nunsetopt prompt_cr prompt_sp\nstty columns 300\nLISTMAX=1000\n"
                             f"fpath=({source}/postern/completions $fpath)\nautoload -Uz compinit\ncompinit -u -d {top}/dump\n")
            environment["ZDOTDIR"] = name
            failures = in_terminal(["zsh", "-i"], environment, "echo REA''DY\n", top)
        else:
            failures = in_fish(environment, source, top)
    for line, wanted, seen in failures:
        print(f"{shell}: {line!r} does not give {wanted!r}: {seen[-600:]!r}")
    sys.exit(bool(failures))


main()
