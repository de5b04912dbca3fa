"""fsync_fails.py - what a disk that fails does to a message that comes in or goes out."""
import errno
import glob
import re

from harness import *

TEXT = b"Subject: test\n\nHello.\n"
LARGE = b"Subject: large\n\n" + (b"z" * 70 + b"\n") * 10_000


def new_mail():
    """What is in incoming/ and active/."""
    return [f for f in queue_files() if "/incoming/" in f or "/active/" in f]


def commit_fails():
    faults = Faults("cleanup")
    with Mta(may_log="error: ") as mta, Client() as client:
        count = 0
        for call in ("open", "write", "fchmod", "fsync", "close"):
            for error in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
                for text in (TEXT, LARGE):
                    mta.wait_drained()
                    faults.plan([call], Faults.FAIL, error)
                    mark = len(mta.log())
                    code = client.send("s@away.test", ["u1@box.test"], text)
                    check(faults.hits() > 0, "the fault did not happen:", call)
                    wanted = 451 if error == errno.EIO else 452
                    check_equal(code, wanted, f"{call} {errno.errorcode[error]} {client.last}")
                    check(("4.3.0" if wanted == 451 else "4.3.1") in client.last[1], client.last)
                    check_equal(new_mail(), [], f"left behind after {call}")
                    mta.wait_log(r"cleanup\[\d+\]: error: \w+: ", mark)
                    # The next one is none the worse.
                    faults.off()
                    client.command("RSET")
                    check_equal(client.send("s@away.test", ["u1@box.test"], text), 250, client)
                    count += 1
        mta.wait_drained()
        check_equal(len(maildir("u1")), count, "in the Maildir")
    faults.close()


def fsync_is_not_repeated():
    """The second flush of the same file would say that all is well."""
    faults = Faults("cleanup")
    with Mta(may_log="error: ") as mta, Client() as client:
        faults.plan(["fsync"], Faults.FAIL, errno.EIO, at=1)
        check_equal(client.send("s@away.test", ["u1@box.test"], TEXT), 451, client)
        check_equal(faults.hits(), 1, "flushes")
        check_equal(queue_files(), [], "left behind")
    faults.close()


def mailbox_fails():
    """Deferred, nothing half-made in the mailbox, delivered once when the disk is well again."""
    faults = Faults("virtual")
    # Tried again when told to, and not while it is looked at.
    with Mta({"minimal_backoff_time": "300s", "maximal_backoff_time": "300s"}) as mta, Client() as client:
        count = 0
        for call in ("open", "write", "fsync", "close"):
            for error in (errno.EIO, errno.ENOSPC):
                # The first fault may come after the process was started with the first message.
                faults.plan([call], Faults.FAIL, error)
                mark = len(mta.log())
                check_equal(client.send("s@away.test", ["u1@box.test"], TEXT), 250, client)
                mta.wait_log("status=deferred", mark)
                if faults.hits() == 0:
                    raise AssertionError(f"the fault did not happen: {call}")
                check_equal(len(maildir("u1")), count, f"in new/ after {call}")
                check_equal(glob.glob(MAIL + "/u1/tmp/*"), [], f"in tmp/ after {call}")
                faults.off()
                mta.wait_drained()
                count += 1
                check_equal(len(maildir("u1")), count, f"in new/ when {call} works again")
    faults.close()


main([commit_fails, fsync_is_not_repeated, mailbox_fails])
