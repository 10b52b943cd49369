"""A monitor that reads consumer lag out of `__consumer_offsets` as Burrow does, decoding Kafka's records itself (../clients/go/lag).

What it finds must be what the coordinator tells ConsumerGroupCommand.
"""

import subprocess

from commands import consume, fill, groups, offsets
from lab import CACHE, HERE, Suite, same

suite = Suite("lag")


def lag(lab):
    """(group, topic, partition) to (committed, end, lag), and group to (protocol type, generation, members), by the monitor."""
    binary = f"{CACHE}/go/lag"
    subprocess.run(["go", "build", "-o", binary, "./lag"], cwd=f"{HERE}/../clients/go", check=True)
    done = subprocess.run([binary, lab.bootstrap], stdout=subprocess.PIPE, text=True, timeout=60)
    lines = done.stdout.splitlines()
    same(lines[-1:], ["end"], "the monitor's last line")
    found, members = {}, {}
    for line in lines[:-1]:
        words = line.split()
        if words[1] == "member":
            members[words[0]] = tuple(words[2:])
        else:
            found[(words[0], words[1], int(words[2]))] = tuple(words[3:])
    return found, members


@suite.test()
def a_monitor_reads_the_lag_that_the_coordinator_tells(lab):
    topic, group, gone, other = lab.create("lag", 3), lab.fresh("lag"), lab.fresh("lag-gone"), lab.fresh("lag-reset")
    for partition in range(3):
        fill(lab, topic, 20, partition)
    consume(lab, topic, group, 60)
    fill(lab, topic, 7, 1)
    groups(lab, "--reset-offsets", "--group", other, "--topic", topic, "--to-offset", 5, "--execute")
    groups(lab, "--reset-offsets", "--group", gone, "--topic", topic, "--to-offset", 5, "--execute")
    groups(lab, "--delete", "--group", gone)
    found, members = lag(lab)
    same([found[(group, topic, p)] for p in range(3)], [("20", "20", "0"), ("20", "27", "7"), ("20", "20", "0")], "lag of the group that read")
    same([found[(other, topic, p)] for p in range(3)], [("5", "20", "15"), ("5", "27", "22"), ("5", "20", "15")], "lag of the group that was set")
    told = {(name, *at): shown for name in (group, other) for at, shown in offsets(lab, name).items()}
    same({at: shown for at, shown in found.items() if at[0] in (group, other)}, told, "what the coordinator tells")
    same([at for at in found if at[0] == gone], [], "offsets of the deleted group")
    same(members[group][0], "consumer", "protocol type of the group")
    same(members[group][2], "0", "members of the group that has ended")
