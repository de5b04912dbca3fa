"""install.py BUILD PREFIX - the fixture of all system tests: the build tree installed once, with
the owners and modes that set-permissions gives. The accounts are those of the private machine."""
import grp
import os
import pwd
import re
import shutil
import subprocess
import sys

from harness import (GROUPS, QUEUE, ROLES, ROOT, USERS, Mta, check, check_equal, main, read, run,
                     write)


def set_permissions():
    with Mta(start=False) as mta:
        done = mta.tool("postern", "set-permissions")
        check_equal(done.returncode, 0, done.stderr)
        done = mta.tool("postern", "check")
        check_equal((done.returncode, done.stderr), (0, b""), "postern check")
        check(b"note:" not in done.stdout, done.stdout)
        found = os.stat(QUEUE + "/private")
        check_equal((found.st_uid, found.st_gid, found.st_mode & 0o7777),
                    (USERS["postfix"], GROUPS["postern"], 0o710), "private")


def accounts_are_made():
    """On a machine that has none: mail_owner first, whose number is the one that Postfix would have."""
    # groupadd and useradd replace the files, which single mounts forbid.
    run("cp", "-a", "/etc", f"{ROOT}/whole-etc")
    for name in ("passwd", "group", "shadow", "gshadow"):
        path = f"{ROOT}/whole-etc/{name}"
        lines = read(path).decode().splitlines() if os.path.exists(path) else []
        write(path, "".join(line + "\n" for line in lines
                            if not re.match(r"postfix|postdrop|postern", line)))
    run("mount", "--bind", f"{ROOT}/whole-etc", "/etc")
    with Mta(start=False) as mta:
        for _ in range(2):
            done = mta.tool("postern", "set-permissions")
            check_equal(done.returncode, 0, done.stderr)
            accounts = {entry.pw_name: entry for entry in pwd.getpwall()}
            made = sorted(name for name in accounts if re.match("postfix$|postern-", name))
            check_equal(made, sorted(["postfix", *ROLES]), "accounts")
            first = min(uid for uid in range(100, 999)
                        if uid not in {entry.pw_uid for name, entry in accounts.items() if name not in made})
            check_equal(accounts["postfix"].pw_uid, first, "number of postfix")
            group = grp.getgrnam("postern").gr_gid
            check_equal({accounts[name].pw_gid for name in ROLES}, {group}, "groups")
        check(b"note:" not in mta.tool("postern", "check").stdout)
    run("umount", "/etc")


if os.environ.get("POSTERN_TEST_WORLD") is None:
    build, prefix = sys.argv[1:3]
    shutil.rmtree(prefix, ignore_errors=True)
    done = subprocess.run(["cmake", "--install", build, "--prefix", prefix], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        print(done.stdout.decode())
        sys.exit(1)
    os.makedirs(prefix + "/var", exist_ok=True)
    os.environ["POSTERN_TEST_PREFIX"] = prefix
sys.argv[1:] = []
main([accounts_are_made, set_permissions])
