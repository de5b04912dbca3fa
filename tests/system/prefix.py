"""prefix.py - an installed tree that was moved still runs: it finds itself."""
import shutil
import subprocess

from harness import *

MOVED = ROOT + "/elsewhere/mail system"


def moved_tree_runs():
    with Mta(start=False):
        pass
    shutil.copytree(REAL, MOVED, symlinks=True)
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", MOVED + "/var")
    conf = MOVED + "/etc/postern"
    os.makedirs(conf, exist_ok=True)
    write(conf + "/main.cf", "".join(f"{k} = {v}\n" for k, v in PARAMETERS.items()))
    write(conf + "/master.cf", MASTER)
    postern = MOVED + "/sbin/postern"

    def command(*words, data=b""):
        done = subprocess.run(words, input=data, capture_output=True, check=False, timeout=30,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        check_equal(done.returncode, 0, f"{words}: {done.stderr.decode()}")
        return done.stdout.decode()
    # The tree that it was installed to is not there any more.
    run("mount", "-t", "tmpfs", "tmpfs", PREFIX)
    command(postern, "set-permissions")
    check_equal(command(MOVED + "/sbin/postconf", "-h", "queue_directory").strip(),
                MOVED + "/var/spool/postern", "queue_directory")
    command(postern, "start")
    try:
        with Client() as client:
            check_equal(client.send("s@away.test", ["u1@box.test"], b"Subject: x\n\nx\n"), 250)
        command(MOVED + "/sbin/sendmail", "-t", data=b"To: u1@box.test\nSubject: y\n\ny\n")
        wait_for("two messages", lambda: len(maildir("u1")) == 2)
        homes = {os.readlink(f"/proc/{pid}/exe") for pid in daemons()}
        check(all(home.startswith(MOVED) for home in homes), homes)
    finally:
        subprocess.run([postern, "stop"], check=False, stderr=subprocess.DEVNULL)
        wait_for("end of all daemons", lambda: not daemons())
        run("umount", PREFIX)


main([moved_tree_runs])
