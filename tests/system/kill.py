"""kill.py SEED... - kill -9 of anything at any time loses nothing that was answered with 250.

Clients send without pause to mailboxes and to a next hop; meanwhile daemons, or the master, are
killed and come back. In the end the queue is empty and everything acknowledged is somewhere; twice
only what an agent had in hand when it, or master, was killed.
"""
import os
import random
import sys
import time

from harness import *

VICTIMS = ("smtpd", "cleanup", "qmgr", "tables", "smtp", "virtual", "bounce", "pickup", "postlog",
           "resolver", "master")
# What these have in hand when they die is done again: an agent's deliveries, and those of all agents
# when nobody starts them anew.
HANDS = {"smtp": 100, "virtual": 100, "master": 200}
KILLS = 8
# Time between two kills: the least the load needs to be in the middle of something.
PAUSE = (0.1, 0.5)


def kill_one(mta, chance, victim):
    pids = sorted(daemons(victim))
    if not pids:
        return False
    victim_pid = chance.choice(pids)
    os.kill(victim_pid, signal.SIGKILL)
    wait_for("its death", lambda: victim_pid not in daemons(victim))
    if victim == "master":
        # As an administrator or an init system would, at once.
        wait_for("start after the death of master",
                 lambda: mta.tool("postern", "start").returncode == 0)
    return True


def one_run(seed):
    chance = random.Random(seed)
    with Mta(may_log=r"killed by signal 9|broker of this process|"
             r"fatal: the Postfix mail system is already running|exit status 1$") as mta:
        # Also failures, so that bounce has work.
        sink = mta.sink()
        mta.sink("198.51.100.26", replies={"RCPT": b"550 5.1.1 no\r\n"})
        mta.dns.zone.update({"bad.test MX": ["10 mx.bad.test"], "mx.bad.test A": ["198.51.100.26"]})
        load = Load(threads=4, recipients=("u1@box.test", "u2@box.test", "r@away.test"), seed=seed)
        wait_for("first message", lambda: load.acknowledged)
        killed = []
        for number in range(KILLS):
            mta.tool("sendmail", "-f", "u5@box.test", "nobody@bad.test", data=b"Subject: b\n\nx\n")
            until = time.monotonic() + chance.uniform(*PAUSE)
            wait_for("the next kill", lambda: time.monotonic() >= until)
            victim = chance.choice(VICTIMS)
            if kill_one(mta, chance, victim):
                killed.append(victim)
        # It serves again, whatever died last.
        before = len(load.acknowledged)
        wait_for("mail after the last kill", lambda: len(load.acknowledged) > before + 10)
        load.end()
        mta.wait_drained(may_be_unfinished=True)
        check_nothing_lost(load, sink)
        copies = delivered_names(sink=sink)
        check(sum(copies.values()) - len(copies) <= sum(HANDS.get(victim, 0) for victim in killed),
              sum(copies.values()) - len(copies), "delivered twice, killed", *killed)
        print(f"seed {seed}: {len(load.acknowledged)} acknowledged, "
              f"{sum(copies.values()) - len(copies)} delivered twice, {len(load.refusals)} refused, "
              f"{load.drops} dropped, slowest {load.slowest:.1f} s; killed {' '.join(killed)}",
              flush=True)


def kills():
    for seed in SEEDS:
        one_run(seed)


# In the environment, since main() starts this program again without arguments.
if len(sys.argv) > 1:
    os.environ["POSTERN_TEST_SEEDS"] = " ".join(sys.argv[1:])
    sys.argv[1:] = []
SEEDS = [int(word) for word in os.environ.get("POSTERN_TEST_SEEDS", "1").split()]
main([kills])
