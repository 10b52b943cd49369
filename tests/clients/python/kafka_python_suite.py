"""kafka-python: produce with its codecs, read by assignment, administer."""

import json

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError
from suite import BOOTSTRAP, Suite, fresh, same, until

suite = Suite("kafka-python")
admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)


def create(label, partitions=1, configs=None):
    topic = fresh(label)
    admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs or {})])
    return topic


def read(topic, count, partition=0, start=None):
    reader = KafkaConsumer(bootstrap_servers=BOOTSTRAP, consumer_timeout_ms=8000, check_crcs=True)
    at = TopicPartition(topic, partition)
    reader.assign([at])
    if start is None:
        reader.seek_to_beginning(at)
    else:
        reader.seek(at, start)
    records = []
    for record in reader:
        records.append(record)
        if len(records) == count:
            break
    reader.close()
    return records


@suite.test
def every_acks_level_and_codec_round_trips():
    for acks in (0, 1, "all"):
        for codec in (None, "gzip", "snappy", "lz4", "zstd"):
            topic = create(f"kp-{acks}-{codec}")
            producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, acks=acks, compression_type=codec, linger_ms=5, enable_idempotence=False)
            values = [b"%d " % n * 20 for n in range(300)]
            for value in values:
                producer.send(topic, value)
            producer.flush(20)
            producer.close()
            same([r.value for r in read(topic, 300)], values, f"acks={acks} codec={codec}")


@suite.test
def idempotent_producer_gets_every_offset_in_order():
    topic = create("kp-idem")
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, enable_idempotence=True)
    sent = [producer.send(topic, b"%d" % n) for n in range(2000)]
    producer.flush(20)
    same([s.get(10).offset for s in sent], list(range(2000)))
    producer.close()


@suite.test
def keys_headers_and_timestamps_travel_unchanged():
    topic = create("kp-shape")
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP)
    producer.send(topic, b"v", b"k", headers=[("h", b"1"), ("h", b"")], timestamp_ms=1_600_000_000_000)
    producer.send(topic, None, b"tombstone", timestamp_ms=1_600_000_000_001)
    producer.flush(20)
    first, second = read(topic, 2)
    same((first.key, first.value, first.headers, first.timestamp), (b"k", b"v", [("h", b"1"), ("h", b"")], 1_600_000_000_000))
    same((second.key, second.value), (b"tombstone", None))


@suite.test
def offsets_are_found_by_position_and_by_time():
    topic = create("kp-times", partitions=2)
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, linger_ms=50)
    for n in range(100):
        producer.send(topic, b"x", partition=0, timestamp_ms=1_600_000_000_000 + n * 1000)
    producer.flush(20)
    reader = KafkaConsumer(bootstrap_servers=BOOTSTRAP)
    full, empty = TopicPartition(topic, 0), TopicPartition(topic, 1)
    same(reader.beginning_offsets([full, empty]), {full: 0, empty: 0}, "beginning")
    same(reader.end_offsets([full, empty]), {full: 100, empty: 0}, "end")
    found = reader.offsets_for_times({full: 1_600_000_041_500, empty: 0})
    same((found[full].offset, found[full].timestamp), (42, 1_600_000_042_000), "by time")
    same(found[empty], None, "by time in an empty partition")
    same([r.offset for r in read(topic, 10, start=90)], list(range(90, 100)), "seek")
    reader.close()


@suite.test
def topics_are_administered():
    topic = create("kp-admin", partitions=2, configs={"retention.ms": "3600000"})
    try:
        admin.create_topics([NewTopic(topic, 1, 1)])
        raise AssertionError("created twice")
    except TopicAlreadyExistsError:
        pass
    assert topic in admin.list_topics()
    shown = admin.describe_topics([topic])[0]
    same(len(shown["partitions"]), 2)
    admin.create_partitions({topic: NewPartitions(3)})
    until("three partitions", lambda: len(admin.describe_topics([topic])[0]["partitions"]) == 3)
    shown = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    assert "3600000" in json.dumps(shown, default=str), "the override is not shown"
    admin.delete_topics([topic])
    until("the topic is gone", lambda: topic not in admin.list_topics())
    try:
        admin.delete_topics([topic])
        raise AssertionError("deleted twice")
    except UnknownTopicOrPartitionError:
        pass


@suite.test
def the_cluster_is_described():
    shown = admin.describe_cluster()
    assert shown["cluster_id"], "no cluster id"
    same(len(shown["brokers"]), 1, "brokers")


@suite.test
def producing_creates_the_topic():
    topic = fresh("kp-auto")
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP)
    same(producer.send(topic, b"x").get(20).offset, 0)
    producer.close()
    assert topic in admin.list_topics()


if __name__ == "__main__":
    suite.run()
