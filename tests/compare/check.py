#!/usr/bin/env python3
"""`postern check` over the configurations that Postfix takes: it finds their mistakes, and no more.

    check.py POSTERN

What a machine lacks (tables, certificates, sockets, owners, ports that are taken) is left out: it
is another one's. What remains is written here, whole.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
CONFIGURATIONS = HERE / "configurations"

# The machine that the test runs on.
MACHINE = re.compile(r" is missing$| is missing; make it with|No such file or directory|"
                     r"no authentication server listens there|not owned by |not set-gid|group or other writable|"
                     r"holds no programs of Postern|another program listens there|this machine has no such address|"
                     r"there is no (user|group) |permission denied|older than its source")

EXPECTED = {
    "03-dovecot-sql": {},
    "04-panel": {},
    "07-ansible-mailcow": {
        ("warning", "my_own_name: unknown parameter"),
        ("warning", 'submit_destination_concurrency_limit: unused parameter; master.cf has no service "submit"'),
    },
    "09-old-minimal": {
        ("error", "smtp: neither smtpd_relay_restrictions nor smtpd_recipient_restrictions has one of "
                  "reject_unauth_destination, defer_unauth_destination, reject, defer, defer_if_permit, "
                  "check_relay_domains"),
    },
    "10-mistakes": {
        ("warning", "mydestnation: unknown parameter; did you mean mydestination?"),
        ("warning", "smtpd_recipient_restriction: unknown parameter; did you mean smtpd_recipient_restrictions?"),
        ("warning", "relay_host: unknown parameter; did you mean relayhost?"),
        ("warning", "overriding earlier entry: mynetworks=127.0.0.0/8"),
        ("warning", "smtpd_banner: undefined parameter: mail_nam"),
        ("warning", "undefined_used: unknown parameter"),
        ("warning", "undefined_used: undefined parameter: nothing_here"),
        ("warning", "smtp_destination_concurency_limit: unknown parameter; "
                    "did you mean smtp_destination_concurrency_limit?"),
        ("warning", 'nosuch_destination_concurrency_limit: unused parameter; master.cf has no service "nosuch"'),
        ("warning", "smtpd_bannr: unknown parameter; did you mean smtpd_banner?"),
        ("warning", "smtp: overrides the inet service of the same name in line 3"),
    },
    # Postfix, too, answers everybody 451 with these lists.
    "12-odd-syntax": {
        ("error", 'smtpd_client_restrictions: check_client_access: expected { name = value }, not "x"'),
        *(("error", f'smtpd_helo_restrictions: unknown restriction: "{word}"')
          for word in ("a" * 30, "b" * 40, "c" * 24, "d" * 14, "e" * 15)),
    },
}
# Table types of data bases that a build may lack.
TYPES = re.compile(r"table type \w+ is not supported yet$")


def findings(postern, name):
    with tempfile.TemporaryDirectory(prefix="check.") as top:
        conf = pathlib.Path(top) / "conf"
        conf.mkdir()
        for file in (CONFIGURATIONS / name).iterdir():
            (conf / file.name).write_bytes(file.read_bytes())
        done = subprocess.run([postern, "check", "-c", str(conf), "--json"], capture_output=True, text=True,
                              timeout=60, check=False)
        if done.returncode not in (0, 1) or done.stderr:
            sys.exit(f"{name}: status {done.returncode}: {done.stderr}")
        found = json.loads(done.stdout)
        has_error = any(problem["severity"] == "error" for problem in found)
        if done.returncode != int(has_error):
            sys.exit(f"{name}: status {done.returncode}, and errors: {has_error}")
        for problem in found:
            if problem["file"].endswith(".cf") and not problem["line"] and not MACHINE.search(problem["text"]):
                sys.exit(f"{name}: no line: {problem}")
        text = subprocess.run([postern, "check", "-c", str(conf)], capture_output=True, text=True, timeout=60,
                              check=False).stdout
        for problem in found:
            if problem["text"] not in text:
                sys.exit(f"{name}: in JSON alone: {problem}")
        return {(p["severity"], p["text"].replace(str(conf), "CONF")) for p in found
                if not MACHINE.search(p["text"]) and not TYPES.search(p["text"])}


def main():
    failed = False
    for path in sorted(CONFIGURATIONS.iterdir()):
        seen = findings(sys.argv[1], path.name)
        wanted = set(EXPECTED.get(path.name, {}))
        for finding in sorted(seen - wanted):
            print(f"{path.name}: not expected: {finding}")
        for finding in sorted(wanted - seen):
            print(f"{path.name}: not found: {finding}")
        failed = failed or seen != wanted
    sys.exit(failed)


main()
