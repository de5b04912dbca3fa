"""packages.py - programs of other packages for a test, without installing them: a name server that
is installed starts serving, which no test may do to the machine that it runs on."""
import os
import shutil
import subprocess
import sys

SKIPPED = 77


def root_of():
    """Where provide() unpacks what is not installed."""
    return os.path.join(os.environ.get("POSTERN_TEST_SUPPORT", "/var/tmp"), "packages")


def provide(programs, packages):
    """Puts `programs` on PATH: as they are installed, or from Debian's `packages` (libraries that
    may be missing among them) unpacked below the build folder. Skips the test where neither can be
    had. Call it before the namespaces are made: inside there is no network."""
    if os.environ.get("POSTERN_TEST_WORLD") is not None:
        return
    missing = [name for name in programs if not shutil.which(name)]
    if not missing:
        return
    root = root_of()
    os.makedirs(root, exist_ok=True)
    os.environ["PATH"] = f"{root}/usr/sbin:{root}/usr/bin:" + os.environ["PATH"]
    os.environ["LD_LIBRARY_PATH"] = f"{root}/usr/lib/x86_64-linux-gnu"
    if all(shutil.which(name) for name in programs):
        return
    for package in packages:
        done = subprocess.run(["apt-get", "download", "-qq", package], cwd=root, check=False,
                              capture_output=True, timeout=120)
        if done.returncode:
            print(f"skipped: {', '.join(missing)} not installed, and apt-get download {package}: "
                  f"{done.stderr.decode().strip()}")
            sys.exit(SKIPPED)
    for name in os.listdir(root):
        if name.endswith(".deb"):
            subprocess.run(["dpkg-deb", "-x", name, "."], cwd=root, check=True)
            os.unlink(os.path.join(root, name))
