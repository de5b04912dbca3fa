"""second_host.py - another host beside the mail system of harness.py: a network of its own, joined to
that one by a cable, with the same name server."""
import contextlib
import ctypes
import os
import subprocess

from harness import Dns, run, wait_for

PARTNER = "10.9.0.2"
CLONE_NEWNET = 0x40000000
# The name server as seen from there; the first call of network() fills it.
PARTNER_DNS = []


def change_network(fd):
    if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def at_partner():
    """What this thread does, and the programs that it starts, is done in the partner's network."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open("/proc/%d/ns/net" % network(), os.O_RDONLY)
    try:
        change_network(there)
        yield
    finally:
        change_network(here)
        os.close(here)
        os.close(there)


def network(holder=[]):
    """The process that holds the partner's network; the first call makes the cable to it."""
    if not holder:
        process = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        wait_for("a network", lambda: os.readlink(f"/proc/{process.pid}/ns/net") !=
                 os.readlink("/proc/self/ns/net"))
        holder.append(process.pid)
        run("ip", "link", "add", "cable0", "type", "veth", "peer", "name", "cable1",
            "netns", str(process.pid))
        run("ip", "addr", "add", "10.9.0.1/24", "dev", "cable0")
        run("ip", "link", "set", "cable0", "up")
        with at_partner():
            run("ip", "link", "set", "lo", "up")
            run("ip", "addr", "add", PARTNER + "/24", "dev", "cable1")
            run("ip", "link", "set", "cable1", "up")
            run("ip", "route", "add", "default", "via", "10.9.0.1")
            PARTNER_DNS.append(Dns({}))
    return holder[0]
