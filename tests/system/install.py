"""install.py BUILD PREFIX - the fixture of all system tests: the build tree installed once, with
the owners and modes that set-permissions gives. The accounts are those of the private machine."""
import os
import shutil
import subprocess
import sys

from harness import Mta, check_equal, main


def set_permissions():
    with Mta(start=False) as mta:
        done = mta.tool("postern", "set-permissions")
        check_equal(done.returncode, 0, done.stderr)
        done = mta.tool("postern", "check")
        check_equal((done.returncode, done.stderr), (0, b""), "postern check")


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
main([set_permissions])
