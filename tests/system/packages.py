"""packages.py - programs of other packages for a test, without installing them: a name server that
is installed starts serving, and its user takes a number, which no test may do to the machine that it
runs on."""
import fcntl
import os
import shutil
import subprocess
import sys

SKIPPED = 77


def root_of():
    """Where provide() unpacks what is not installed."""
    return os.path.join(os.environ.get("POSTERN_TEST_SUPPORT", "/var/tmp"), "packages")


def provide(programs, packages, is_needed=True):
    """Puts `programs` on PATH: as they are installed, or from Debian's `packages` (libraries that
    may be missing among them) unpacked below the build folder. Where neither can be had the test is
    skipped, or, with is_needed=False, False returned. Call it before the namespaces are made: inside
    there is no network."""
    missing = [name for name in programs if not shutil.which(name)]
    if not missing or os.environ.get("POSTERN_TEST_WORLD") is not None:
        return not missing
    root = root_of()
    os.makedirs(root, exist_ok=True)
    os.environ["PATH"] = f"{root}/usr/sbin:{root}/usr/bin:" + os.environ["PATH"]
    libraries = f"{root}/usr/lib/x86_64-linux-gnu"
    if libraries not in os.environ.get("LD_LIBRARY_PATH", ""):
        os.environ["LD_LIBRARY_PATH"] = libraries
    # Tests run side by side, and some want the same.
    with open(os.path.join(root, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if all(shutil.which(name) for name in programs):
            return True
        trouble = unpack(root, packages)
    if not trouble and all(shutil.which(name) for name in programs):
        return True
    if is_needed:
        print(f"skipped: {', '.join(missing)} not installed. As root: apt-get install "
              f"{' '.join(packages)} ({trouble})")
        sys.exit(SKIPPED)
    return False


def unpack(root, packages):
    """What went wrong; empty when nothing did."""
    for package in packages:
        try:
            done = subprocess.run(["apt-get", "download", "-qq", package], cwd=root, check=False,
                                  capture_output=True, timeout=120)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if done.returncode:
            return f"apt-get download {package}: {done.stderr.decode().strip()}"
    for name in os.listdir(root):
        if name.endswith(".deb"):
            subprocess.run(["dpkg-deb", "-x", name, "."], cwd=root, check=True)
            os.unlink(os.path.join(root, name))
    return ""
