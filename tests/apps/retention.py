"""Retention as an operator sees it: offsets of Kafka's tools, the files on disk, and consumers that ask for what is gone.

The broker looks for what has had its time three times a second. Segments are as small as they may be, 1 MiB; records are
batches of their own and take 100 KB, so that a segment holds ten. Expectations are what Apache Kafka does (node-kafka).
"""

import glob
import os
import subprocess
import time

from lab import Suite, same, shell, until

HOUR = 3_600_000
CONFIG = ("num.partitions=1 log.retention.check.interval.ms=300 log.initial.task.delay.ms=300 log.cleaner.backoff.ms=300 "
          "log.segment.delete.delay.ms=2000 log.retention.hours=1 offsets.topic.num.partitions=1 group.initial.rebalance.delay.ms=0")

PRODUCE = """
import sys, confluent_kafka
bootstrap, topic, sizes, idempotent = sys.argv[1:5]
producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "batch.num.messages": 1, "enable.idempotence": idempotent == "1"})
failed = []
for time in sys.argv[5:]:
    producer.produce(topic, value=b"x" * int(sizes), key=time.encode(), partition=0, timestamp=int(time), on_delivery=lambda error, _: error and failed.append(error))
producer.flush(30)
if failed:
    sys.exit(f"{len(failed)} failed: {failed[0]}")
"""

CONSUME = """
import sys, confluent_kafka
bootstrap, topic, offset, reset = sys.argv[1:5]
consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False, "auto.offset.reset": reset, "enable.partition.eof": True})
consumer.assign([confluent_kafka.TopicPartition(topic, 0, int(offset))])
for _ in range(3):
    message = consumer.poll(10)
    if message is None:
        print("nothing")
    elif message.error() is None:
        print("offset", message.offset())
    elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
        print("end", message.offset())
    else:
        print("error", message.error().name())
        continue
    break
consumer.close()
"""


class Retention(Suite):
    """A broker of its own that looks often."""

    def run(self, make_lab, wanted, report):
        before = os.environ.get("NODE_CONFIG")
        os.environ["NODE_CONFIG"] = CONFIG
        try:
            super().run(make_lab, wanted, report)
        finally:
            if before is None:
                del os.environ["NODE_CONFIG"]
            else:
                os.environ["NODE_CONFIG"] = before


suite = Retention("retention")


def python(script, *arguments):
    done = subprocess.run([shell("python_clients"), "-W", "ignore", "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    if done.returncode:
        raise AssertionError(done.stderr.strip()[-300:])
    return done.stdout.strip()


def produce(lab, topic, *ages, size=100_000, idempotent=0):
    """A record a batch, so many milliseconds old."""
    now = int(time.time() * 1000)
    python(PRODUCE, lab.bootstrap, topic, size, idempotent, *(now - age for age in ages))


def read(lab, topic, offset, reset):
    """What a consumer that wants `offset` gets first."""
    return python(CONSUME, lab.bootstrap, topic, offset, reset)


def bounds(lab, topic):
    shown = [lab.tools("GetOffsetShell", "--topic", topic, "--time", at) for at in ("-2", "-1")]
    return tuple(int(line.rpartition(":")[2]) for text in shown for line in text.splitlines() if line.startswith(f"{topic}:"))


def becomes(lab, topic, wanted, seconds=20):
    """Until the log's bounds are `wanted`; and they stay so."""
    until(lambda: f"bounds {wanted} (now {bounds(lab, topic)})", lambda: bounds(lab, topic) == wanted, seconds, 0.2)
    time.sleep(1)
    same(bounds(lab, topic), wanted, "bounds three rounds later")


def alter(lab, topic, **configs):
    given = ",".join(f"{key.replace('_', '.')}={value}" for key, value in configs.items())
    lab.tools("ConfigCommand", "--alter", "--entity-type", "topics", "--entity-name", topic, "--add-config", given)


def files(lab, topic, ending):
    return sorted(os.path.basename(path) for path in glob.glob(f"{lab.work}/broker/**/{topic}-0/*{ending}", recursive=True))


@suite.test()
def by_size_the_oldest_segments_go_and_their_files(lab):
    lab.broker.may_be_killed()
    topic = lab.create("size", segment_bytes=1 << 20, retention_bytes=2_500_000)
    produce(lab, topic, *[0] * 55)
    # Six segments, 5.5 MB: three may go while at least 2.5 MB are left.
    becomes(lab, topic, (30, 55))
    same([int(name[:20]) for name in files(lab, topic, ".log")], [30, 40, 50], "files left")
    until("the deleted files go when their delay is over", lambda: not files(lab, topic, ".deleted"), 10)
    same(read(lab, topic, 0, "earliest"), "offset 30", "a consumer that resets to the earliest")
    same(read(lab, topic, 29, "latest"), "end 55", "a consumer that resets to the latest")
    same(read(lab, topic, 0, "error").startswith(("error _AUTO_OFFSET_RESET", "error OFFSET_OUT_OF_RANGE")), True, "a consumer that does not reset")
    same(read(lab, topic, 30, "latest"), "offset 30", "a consumer of the first that is left")
    # Less in force at the next round; a limit that no segment reaches keeps the active one.
    alter(lab, topic, retention_bytes=1)
    becomes(lab, topic, (50, 55))
    alter(lab, topic, retention_bytes=0)
    becomes(lab, topic, (55, 55))
    same(read(lab, topic, 0, "earliest"), "end 55", "a consumer of an empty log")


@suite.test()
def by_time_all_goes_and_the_log_goes_on_at_its_end(lab):
    topic = lab.create("time", segment_bytes=1 << 20, retention_ms=1000)
    produce(lab, topic, *[0] * 25)
    becomes(lab, topic, (25, 25))
    alter(lab, topic, retention_ms=HOUR)
    produce(lab, topic, 0, 0)
    becomes(lab, topic, (25, 27))
    same(read(lab, topic, 0, "earliest"), "offset 25", "the first record after all were deleted")


@suite.test()
def a_record_of_the_future_keeps_its_segment_and_all_behind_it(lab):
    topic = lab.create("future", segment_bytes=1 << 20, retention_ms=60_000)
    produce(lab, topic, *[HOUR] * 20, -HOUR // 2, *[HOUR] * 25)
    becomes(lab, topic, (20, 46))


@suite.test()
def a_young_record_keeps_its_segment(lab):
    topic = lab.create("young", segment_bytes=1 << 20, retention_ms=60_000)
    produce(lab, topic, *[HOUR] * 10, *[HOUR] * 9, 0, *[HOUR] * 10)
    becomes(lab, topic, (10, 30))


@suite.test()
def without_the_policy_nothing_goes_and_with_it_again_it_does(lab):
    topic = lab.create("policy", segment_bytes=1 << 20, retention_ms=1000, cleanup_policy="compact", min_cleanable_dirty_ratio=1, min_compaction_lag_ms=HOUR)
    produce(lab, topic, *range(HOUR, HOUR + 25))
    time.sleep(2)
    same(bounds(lab, topic), (0, 25), "bounds of a compacted topic")
    alter(lab, topic, cleanup_policy="[compact,delete]")
    becomes(lab, topic, (25, 25))


@suite.test()
def the_brokers_default_counts_and_can_be_changed_while_it_runs(lab):
    topic = lab.create("default", segment_bytes=1 << 20)
    kept = lab.create("kept", segment_bytes=1 << 20, retention_ms=-1)
    # log.retention.hours=1 in the file.
    for each in (topic, kept):
        produce(lab, each, *[2 * HOUR] * 10, *[HOUR // 2] * 5)
    becomes(lab, topic, (10, 15))
    change = lambda *how: lab.tools("ConfigCommand", "--alter", "--entity-type", "brokers", "--entity-default", *how)
    change("--add-config", f"log.retention.ms={HOUR // 4}")
    becomes(lab, topic, (15, 15))
    change("--delete-config", "log.retention.ms")
    produce(lab, topic, HOUR // 2)
    becomes(lab, topic, (15, 16))
    same(bounds(lab, kept), (0, 15), "bounds of a topic that keeps all")


@suite.test()
def below_deleted_records_segments_go_but_never_the_active_one(lab):
    lab.broker.may_be_killed()
    topic = lab.create("records", segment_bytes=1 << 20)
    produce(lab, topic, *[0] * 25)
    text = '{"partitions":[{"topic":"%s","partition":0,"offset":%d}],"version":1}'
    for to, left in ((14, [10, 20]), (25, [20])):
        lab.tools("DeleteRecordsCommand", "--offset-json-file", lab.file("delete.json", text % (topic, to)))
        becomes(lab, topic, (to, 25))
        until(f"files {left}", lambda: [int(name[:20]) for name in files(lab, topic, ".log")] == left, 10)


@suite.test()
def it_starts_where_it_did_after_a_kill(lab):
    lab.broker.may_be_killed()
    topic, empty = lab.create("kill", segment_bytes=1 << 20, retention_bytes=1_500_000), lab.create("empty", segment_bytes=1 << 20, retention_ms=1000)
    for each in (topic, empty):
        produce(lab, each, *[0] * 35, idempotent=1)
    becomes(lab, topic, (20, 35))
    becomes(lab, empty, (35, 35))
    lab.broker.kill9()
    becomes(lab, topic, (20, 35))
    becomes(lab, empty, (35, 35))
    same(read(lab, topic, 0, "earliest"), "offset 20", "the first record")
    alter(lab, empty, retention_ms=-1)
    produce(lab, empty, 0, idempotent=1)
    becomes(lab, empty, (35, 36))
