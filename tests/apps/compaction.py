"""Compacted topics with real clients: what is left is what Kafka leaves, its tools read the files, and a crash changes nothing.

Records are sent one a batch, so that any broker rolls its segments at the same offsets. What must be left does not depend on
how many rounds it took: below the offset that `cleaner-offset-checkpoint` tells, the last record of each key; all from there on.
"""

import glob
import os
import random
import subprocess

from commands import offsets
from lab import Suite, same, shell, until

suite = Suite("compaction")
VALUE_BYTES = 900


def send(lab, topic, records):
    """Sends (key, value) pairs in order, one a batch; a value of "" is a tombstone."""
    text = "".join(f"{key}:{value}\n" for key, value in records)
    command = ["kcat", "-b", lab.bootstrap, "-P", "-t", topic, "-p", "0", "-K:", "-Z", "-X", "batch.num.messages=1", "-X", "linger.ms=0", "-X", "max.in.flight=1"]
    subprocess.run(command, input=text, text=True, check=True, timeout=120)


def history(count, keys, seed):
    """Random updates, every tenth a tombstone."""
    pick = random.Random(seed)
    filler = "x" * VALUE_BYTES
    return [(f"k{pick.randrange(keys)}", "" if pick.randrange(10) == 0 else f"{n}-{filler}") for n in range(count)]


def directory(lab, topic):
    found = glob.glob(f"{lab.work}/broker/**/{topic}-0", recursive=True)
    same(len(found), 1, f"directories of {topic}")
    return found[0]


def cleaned(lab, topic):
    """Up to where the log is clean, as the broker notes it."""
    path = f"{os.path.dirname(directory(lab, topic))}/cleaner-offset-checkpoint"
    if os.path.exists(path):
        with open(path) as file:
            for line in file.read().splitlines()[2:]:
                name, partition, offset = line.split()
                if (name, partition) == (topic, "0"):
                    return int(offset)
    return 0


def active(lab, topic):
    """Base of the active segment."""
    return max(int(os.path.basename(path)[:20]) for path in glob.glob(f"{directory(lab, topic)}/*.log"))


def wait_until_cleaned(lab, topic):
    until(lambda: f"clean up to the active segment ({cleaned(lab, topic)} of {active(lab, topic)})", lambda: cleaned(lab, topic) == active(lab, topic) > 0, 60, 0.5)
    return cleaned(lab, topic)


def read(lab, topic, count):
    """Offset to (key, is a tombstone) of `count` records, by Kafka's consumer."""
    shown = lab.tools("ConsoleConsumer", "--topic", topic, "--from-beginning", "--max-messages", count, "--timeout-ms", 15000, "--formatter-property", "print.offset=true",
                      "--formatter-property", "print.key=true", "--formatter-property", "key.separator=|", "--formatter-property", "null.literal=NULL")
    found = {}
    for line in shown.splitlines():
        if line.startswith("Offset:"):
            offset, key, value = line.split("|")
            found[int(offset.partition(":")[2])] = (key, value == "NULL")
    return found


def left(records, clean):
    """What compaction leaves of records whose offsets are their places: clean below `clean`."""
    last = {key: offset for offset, (key, _) in enumerate(records[:clean])}
    kept = sorted(last.values()) + list(range(clean, len(records)))
    return {offset: (records[offset][0], records[offset][1] == "") for offset in kept}


def dump(lab, topic):
    """Every segment and index is good to Kafka's own tool, but for the active ones, which are written to."""
    base = directory(lab, topic)
    for path in sorted(glob.glob(f"{base}/*.log"))[:-1]:
        shown = lab.tools("DumpLogSegments", "--files", path, "--deep-iteration")
        same("isvalid: false" in shown or "Found" in shown, False, f"{path}: {shown[-200:]}")
    for path in sorted(glob.glob(f"{base}/*.index"))[:-1] + sorted(glob.glob(f"{base}/*.timeindex"))[:-1]:
        shown = lab.tools("DumpLogSegments", "--files", path)
        same("Mismatches" in shown or "Found" in shown, False, f"{path}: {shown[-200:]}")


def be_quick(lab):
    lab.tools("ConfigCommand", "--entity-type", "brokers", "--entity-default", "--alter", "--add-config", "log.cleaner.backoff.ms=200")


def compacted(lab, label, **configs):
    be_quick(lab)
    return lab.create(label, 1, cleanup_policy="compact", segment_bytes=1 << 20, min_cleanable_dirty_ratio=0.01, **configs)


@suite.test()
def the_last_record_of_each_key_is_left_and_a_crash_changes_nothing(lab):
    lab.broker.may_be_killed()
    topic, records = compacted(lab, "keys"), history(6000 * lab.scale, 60, 1)
    send(lab, topic, records)
    wanted = left(records, wait_until_cleaned(lab, topic))
    same(len(wanted) < len(records) / 3, True, f"{len(wanted)} of {len(records)} records are to be left")
    same(read(lab, topic, len(wanted)), wanted, "what is left")
    dump(lab, topic)
    lab.broker.kill9()
    same(read(lab, topic, len(wanted)), wanted, "what is left after a crash")
    send(lab, topic, records[:2000])
    wanted = left(records + records[:2000], wait_until_cleaned(lab, topic))
    same(read(lab, topic, len(wanted)), wanted, "what is left of more")
    dump(lab, topic)


@suite.test()
def tombstones_go_when_their_time_is_over(lab):
    lab.broker.may_be_killed()
    topic, records = compacted(lab, "tombstones", delete_retention_ms=500), history(3000, 40, 2)
    send(lab, topic, records)
    clean = wait_until_cleaned(lab, topic)
    first = {offset for offset, (_, void) in left(records, clean).items() if void and offset < clean}
    same(len(first) > 0, True, "tombstones were left by the first round")

    def gone():
        # Each round needs something new.
        records.extend(more := [(f"n{len(records)}", "y" * VALUE_BYTES) for _ in range(1300)])
        send(lab, topic, more)
        now = left(records, wait_until_cleaned(lab, topic))
        now = {offset: at for offset, at in now.items() if offset not in first}
        return read(lab, topic, len(now)).keys() == now.keys()

    until("the tombstones are gone", gone, 60, 1)


@suite.test()
def a_record_without_a_key_is_refused(lab):
    topic = compacted(lab, "keyless")
    done = subprocess.run(["kcat", "-b", lab.bootstrap, "-P", "-t", topic, "-p", "0"], input="a value\n", text=True, stderr=subprocess.PIPE, timeout=30)
    same("Broker failed to validate record" in done.stderr, True, f"refused: {done.stderr}")


COMMITS = """
import sys
from confluent_kafka import Consumer, TopicPartition
bootstrap, group, topic, count = sys.argv[1:]
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
for n in range(1, int(count) + 1):
    consumer.commit(offsets=[TopicPartition(topic, p, n) for p in range(20)], asynchronous=False)
consumer.close()
"""


@suite.test()
def a_groups_offsets_survive_the_compaction_of_their_topic(lab):
    lab.broker.may_be_killed()
    be_quick(lab)
    topic, group = lab.create("committed", 20), lab.fresh("committer")
    commit = [shell("python_clients"), "-c", COMMITS, lab.bootstrap, group, topic]
    subprocess.run([*commit, "1"], check=True, timeout=60)
    settings = "segment.bytes=1048576,min.cleanable.dirty.ratio=0.01"
    lab.tools("ConfigCommand", "--entity-type", "topics", "--entity-name", "__consumer_offsets", "--alter", "--add-config", settings)
    subprocess.run([*commit, "1500"], check=True, timeout=100)
    base = os.path.dirname(directory(lab, topic))

    def compacted_partition():
        with open(f"{base}/cleaner-offset-checkpoint") as file:
            lines = [line.split() for line in file.read().splitlines()[2:]]
        return next((f"{base}/{name}-{partition}" for name, partition, offset in lines if name == "__consumer_offsets" and int(offset) > 0), None)

    where = until("the partition of the offsets is compacted", compacted_partition, 30)
    segments = sorted(glob.glob(f"{where}/*.log"))
    same(os.path.getsize(segments[0]) < 100_000, True, f"bytes of the compacted segment: {os.path.getsize(segments[0])}")
    lab.broker.kill9()
    told = until("the offsets are told", lambda: {at[1]: shown[0] for at, shown in offsets(lab, group).items()}, 30, 0.5)
    same(told, {partition: "1500" for partition in range(20)}, "offsets after a crash")
