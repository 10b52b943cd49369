"""confluent-kafka (librdkafka): produce with every acks and codec, read by assignment, administer."""

import time

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)
from suite import BOOTSTRAP, Suite, fresh, same, until

suite = Suite("confluent-kafka")
admin = AdminClient({"bootstrap.servers": BOOTSTRAP})


def create(label, partitions=1, config=None):
    topic = fresh(label)
    admin.create_topics([NewTopic(topic, partitions, 1, config=config or {})])[topic].result(20)
    return topic


def produce(topic, values, partition=0, **settings):
    """Offsets that the broker acknowledged, in the order of `values`."""
    offsets, errors = [], []

    def done(error, message):
        (errors if error else offsets).append(error or message.offset())

    producer = Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 5, **settings})
    for value in values:
        while True:
            try:
                producer.produce(topic, value, partition=partition, on_delivery=done)
                break
            except BufferError:
                producer.poll(0.1)
    same(producer.flush(30), 0, "left in the queue")
    if errors:
        raise KafkaException(errors[0])
    return offsets


def consumer(**settings):
    return Consumer(
        {
            "bootstrap.servers": BOOTSTRAP,
            "group.id": "unused-by-assignment",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            **settings,
        }
    )


def read_all(topic, partition=0, offset=OFFSET_BEGINNING, **settings):
    """Messages from `offset` to the end of the partition."""
    reader = consumer(**settings)
    reader.assign([TopicPartition(topic, partition, offset)])
    messages = []
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for message in reader.consume(1000, 0.2):
            if message.error() is None:
                messages.append(message)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                reader.close()
                return messages
            else:
                raise KafkaException(message.error())
    raise AssertionError("never reached the end of the partition")


def raises(code, call):
    try:
        call()
    except KafkaException as error:
        same(error.args[0].code(), code, f"error ({error})")
        return error.args[0]
    raise AssertionError(f"accepted, wanted error {code}")


@suite.test
def idempotent_produce_keeps_order_and_loses_nothing():
    topic = create("idem")
    values = [b"%d" % n for n in range(20000)]
    offsets = produce(topic, values, **{"enable.idempotence": True})
    same(offsets, list(range(20000)), "offsets")
    same([m.value() for m in read_all(topic)], values, "values")


@suite.test
def every_acks_level_stores_the_records():
    for acks in ("0", "1", "all"):
        topic = create(f"acks{acks}")
        produce(topic, [b"%d" % n for n in range(500)], acks=acks)
        until(f"500 records with acks={acks}", lambda t=topic: len(read_all(t)) == 500)


@suite.test
def every_codec_round_trips():
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        topic = create(f"codec-{codec}")
        values = [(b"%d " % n) * 40 for n in range(2000)]
        produce(topic, values, **{"compression.type": codec})
        same([m.value() for m in read_all(topic, **{"check.crcs": True})], values, codec)


@suite.test
def topic_compression_differs_from_the_producers():
    for wanted in ("gzip", "zstd", "uncompressed"):
        topic = create("recompress", config={"compression.type": wanted})
        values = [(b"%d " % n) * 40 for n in range(500)]
        produce(topic, values, **{"compression.type": "lz4", "enable.idempotence": True})
        same([m.value() for m in read_all(topic, **{"check.crcs": True})], values, wanted)


@suite.test
def keys_headers_and_timestamps_travel_unchanged():
    topic = create("shape")
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    shapes = [
        (b"k", b"v", [("a", b"1"), ("a", b"2"), ("empty", b""), ("null", None)]),
        (None, b"v", []),
        (b"", b"", []),
        (b"tombstone", None, []),
        ("schlüssel".encode(), "wert".encode(), [("ü", b"\x00\xff")]),
    ]
    for n, (key, value, headers) in enumerate(shapes):
        producer.produce(topic, value, key, partition=0, headers=headers, timestamp=1_600_000_000_000 + n)
    same(producer.flush(20), 0)
    for n, (message, (key, value, headers)) in enumerate(zip(read_all(topic), shapes, strict=True)):
        same((message.key(), message.value()), (key, value), f"record {n}")
        same(message.headers() or [], headers, f"headers {n}")
        same(message.timestamp()[1], 1_600_000_000_000 + n, f"timestamp {n}")


@suite.test
def large_messages_up_to_the_limit_and_not_beyond():
    topic = create("large")
    value = bytes(range(256)) * 3900
    produce(topic, [value] * 5, **{"message.max.bytes": 2_000_000})
    same([m.value() for m in read_all(topic)], [value] * 5)
    too_large = lambda: produce(topic, [b"x" * 1_100_000], **{"message.max.bytes": 2_000_000})
    raises(KafkaError.MSG_SIZE_TOO_LARGE, too_large)
    admin.incremental_alter_configs(
        [
            ConfigResource(
                ResourceType.TOPIC,
                topic,
                incremental_configs=[
                    ConfigEntry("max.message.bytes", "5000000", incremental_operation=AlterConfigOpType.SET)
                ],
            )
        ]
    )
    until("the raised limit", lambda: _accepts(too_large))


def _accepts(call):
    try:
        call()
        return True
    except KafkaException:
        return False


@suite.test
def assignment_seeks_to_any_offset():
    topic = create("seek")
    produce(topic, [b"%d" % n for n in range(1000)])
    reader = consumer()
    reader.assign([TopicPartition(topic, 0, 990)])
    same(reader.poll(10).offset(), 990, "assigned offset")
    reader.seek(TopicPartition(topic, 0, 17))
    same(until("a message", lambda: reader.poll(1)).offset(), 17, "sought offset")
    same(reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=10), (0, 1000), "watermarks")
    same(len(read_all(topic, offset=995)), 5, "tail")
    same(len(read_all(topic, offset=OFFSET_END)), 0, "end")
    reader.close()


@suite.test
def an_offset_beyond_the_end_is_reported():
    topic = create("range")
    produce(topic, [b"x"])
    reader = consumer()
    reader.assign([TopicPartition(topic, 0, 100)])
    message = until("an answer", lambda: reader.poll(1))
    same(message.error().code(), KafkaError._AUTO_OFFSET_RESET, "error")
    reader.close()


@suite.test
def offsets_for_times_finds_the_first_record_not_earlier():
    topic = create("times")
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 50})
    for n in range(100):
        producer.produce(topic, b"x", partition=0, timestamp=1_600_000_000_000 + n * 1000)
    producer.flush(20)
    reader = consumer()
    ask = lambda at: reader.offsets_for_times([TopicPartition(topic, 0, at)], timeout=10)[0].offset
    same(ask(1_600_000_000_000), 0, "exact first")
    same(ask(1_600_000_042_000), 42, "exact")
    same(ask(1_600_000_041_001), 42, "between")
    same(ask(0), 0, "before")
    same(ask(1_700_000_000_000), OFFSET_END, "after")
    reader.close()


@suite.test
def admin_lists_offsets_by_every_spec():
    topic = create("list", partitions=2)
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    for n in range(10):
        producer.produce(topic, b"x", partition=0, timestamp=1_600_000_000_000 + (5 - abs(5 - n)) * 1000)
    producer.flush(20)
    specs = {
        0: OffsetSpec.earliest(),
        1: OffsetSpec.latest(),
    }
    ask = lambda partition, spec, **more: (
        admin.list_offsets({TopicPartition(topic, partition): spec}, **more)[TopicPartition(topic, partition)].result(10)
    )
    same(ask(0, specs[0]).offset, 0)
    same(ask(0, specs[1]).offset, 10)
    same(ask(0, specs[1], isolation_level=IsolationLevel.READ_COMMITTED).offset, 10)
    same(ask(1, specs[1]).offset, 0)
    most = ask(0, OffsetSpec.max_timestamp())
    same((most.offset, most.timestamp), (5, 1_600_000_005_000), "max timestamp")
    same(ask(1, OffsetSpec.max_timestamp()).offset, -1, "max timestamp of nothing")
    same(ask(0, OffsetSpec.for_timestamp(1_600_000_002_500)).offset, 3, "by time")


@suite.test
def metadata_names_the_cluster_and_its_topics():
    topic = create("meta", partitions=3)
    shown = admin.list_topics(topic, timeout=10)
    assert shown.cluster_id, "cluster id is empty"
    same(shown.controller_id in shown.brokers, True, "controller is a broker")
    partitions = shown.topics[topic].partitions
    same(sorted(partitions), [0, 1, 2])
    for partition in partitions.values():
        same((partition.replicas, partition.isrs), ([partition.leader],) * 2, "replicas and isr")
    described = admin.describe_cluster(include_authorized_operations=True).result(10)
    same(described.cluster_id, shown.cluster_id)
    names = set(admin.list_topics(timeout=10).topics)
    assert topic in names, "missing from the list of all topics"
    # This call lets the broker create the topic: Kafka says that it is unknown and creates it behind the answer.
    missing = fresh("missing")
    error = admin.list_topics(missing, timeout=10).topics[missing].error
    same(error is None or error.code() in (3, 5), True, "unknown topic")


@suite.test
def topics_are_created_refused_and_deleted():
    topic = create("lifecycle", partitions=2, config={"retention.ms": "3600000"})
    call = lambda *args, **more: list(admin.create_topics([NewTopic(*args)], **more).values())[0].result(20)
    raises(KafkaError.TOPIC_ALREADY_EXISTS, lambda: call(topic, 1, 1))
    raises(KafkaError.INVALID_REPLICATION_FACTOR, lambda: call(fresh("rf"), 1, 3))
    raises(KafkaError.INVALID_PARTITIONS, lambda: call(fresh("zero"), 0, 1))
    raises(KafkaError.TOPIC_EXCEPTION, lambda: call("not/a/name", 1, 1))
    validated = fresh("validate")
    call(validated, 1, 1, validate_only=True)
    assert validated not in admin.list_topics(timeout=10).topics, "validate_only created the topic"
    bad = NewTopic(fresh("config"), 1, 1, config={"retention.ms": "soon"})
    raises(KafkaError.INVALID_CONFIG, lambda: list(admin.create_topics([bad]).values())[0].result(20))
    admin.delete_topics([topic])[topic].result(20)
    until("the topic is gone", lambda: topic not in admin.list_topics(timeout=10).topics)
    raises(KafkaError.UNKNOWN_TOPIC_OR_PART, lambda: admin.delete_topics([topic])[topic].result(20))
    call(topic, 1, 1)
    produce(topic, [b"again"])
    same([m.value() for m in read_all(topic)], [b"again"], "a recreated topic starts empty")


@suite.test
def partitions_grow_and_never_shrink():
    topic = create("grow")
    grow = lambda count, **more: admin.create_partitions([NewPartitions(topic, count)], **more)[topic].result(20)
    grow(4, validate_only=True)
    same(len(admin.list_topics(topic, timeout=10).topics[topic].partitions), 1, "validate_only changes nothing")
    grow(4)
    until("four partitions", lambda: len(admin.list_topics(topic, timeout=10).topics[topic].partitions) == 4)
    produce(topic, [b"x"], partition=3)
    same(len(read_all(topic, partition=3)), 1)
    raises(KafkaError.INVALID_PARTITIONS, lambda: grow(2))


def describe(resource):
    return admin.describe_configs([resource])[resource].result(20)


@suite.test
def configs_are_described_with_their_sources_and_altered():
    topic = create("config", config={"retention.ms": "7200000"})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    shown = describe(resource)
    same(shown["retention.ms"].value, "7200000")
    same(shown["retention.ms"].source, ConfigSource.DYNAMIC_TOPIC_CONFIG.value, "source of an override")
    same(shown["cleanup.policy"].value, "delete")
    same(shown["cleanup.policy"].is_default, True, "a default is no override")
    assert len(shown) > 25, f"only {len(shown)} configs"
    assert "retention.ms" in {s for s in shown["retention.ms"].synonyms}, "synonyms"
    alter = lambda *entries: list(
        admin.incremental_alter_configs(
            [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=list(entries))]
        ).values()
    )[0].result(20)
    op = lambda name, value, kind: ConfigEntry(name, value, incremental_operation=kind)
    alter(
        op("cleanup.policy", "compact", AlterConfigOpType.APPEND),
        op("max.message.bytes", "12345", AlterConfigOpType.SET),
        op("retention.ms", None, AlterConfigOpType.DELETE),
    )
    policy = lambda: set(describe(resource)["cleanup.policy"].value.split(","))
    until("the appended policy", lambda: policy() == {"delete", "compact"})
    shown = describe(resource)
    same(shown["max.message.bytes"].value, "12345")
    same(shown["retention.ms"].value, "604800000", "a deleted override falls back")
    alter(op("cleanup.policy", "compact", AlterConfigOpType.SUBTRACT))
    until("the policy subtracted", lambda: policy() == {"delete"})
    raises(KafkaError.INVALID_CONFIG, lambda: alter(op("retention.ms", "soon", AlterConfigOpType.SET)))


@suite.test
def the_full_set_of_configs_can_be_written_back():
    topic = create("writeback", config={"retention.ms": "7200000"})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    before = {name: entry.value for name, entry in describe(resource).items()}
    whole = ConfigResource(ResourceType.TOPIC, topic)
    for name, value in before.items():
        whole.set_config(name, value)
    list(admin.alter_configs([whole]).values())[0].result(20)
    same({name: entry.value for name, entry in describe(resource).items()}, before)


@suite.test
def the_broker_describes_itself():
    broker = next(iter(admin.list_topics(timeout=10).brokers))
    shown = describe(ConfigResource(ResourceType.BROKER, str(broker)))
    for name in ("advertised.listeners", "default.replication.factor", "num.partitions", "log.dirs", "message.max.bytes"):
        assert name in shown, f"lacks {name}"
    same(shown["default.replication.factor"].value, "1")


@suite.test
def deleted_records_are_gone_for_readers_and_lookups():
    topic = create("delrec")
    produce(topic, [b"%d" % n for n in range(100)])
    partition = TopicPartition(topic, 0, 40)
    same(admin.delete_records([partition])[partition].result(20).low_watermark, 40, "low watermark")
    same([m.offset() for m in read_all(topic)], list(range(40, 100)), "what is left")
    beyond = TopicPartition(topic, 0, 1000)
    raises(KafkaError.OFFSET_OUT_OF_RANGE, lambda: admin.delete_records([beyond])[beyond].result(20))
    everything = TopicPartition(topic, 0, OFFSET_END)
    same(admin.delete_records([everything])[everything].result(20).low_watermark, 100, "to the end")
    same(produce(topic, [b"next"]), [100], "producers go on")


@suite.test
def producing_creates_the_topic():
    topic = fresh("auto")
    same(produce(topic, [b"x"], partition=-1), [0])
    assert admin.list_topics(topic, timeout=10).topics[topic].partitions


@suite.test
def errors_reach_the_producer():
    raises(KafkaError.TOPIC_EXCEPTION, lambda: produce("not/a/name", [b"x"], partition=-1))
    topic = create("future")
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    errors = []
    producer.produce(topic, b"x", timestamp=9_000_000_000_000, on_delivery=lambda e, m: errors.append(e))
    producer.flush(20)
    same(errors[0] and errors[0].code(), KafkaError.INVALID_TIMESTAMP, "a record from the far future")


@suite.test
def min_isr_asks_no_more_than_the_replicas_there_are():
    topic = create("minisr", config={"min.insync.replicas": "2"})
    same(produce(topic, [b"x"], acks="all"), [0])


@suite.test
def log_append_time_is_the_brokers():
    topic = create("logappend", config={"message.timestamp.type": "LogAppendTime"})
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    producer.produce(topic, b"x", partition=0, timestamp=1_000_000)
    producer.flush(20)
    kind, at = read_all(topic)[0].timestamp()
    same(kind, 2, "timestamp type")
    assert abs(at - time.time() * 1000) < 60_000, f"timestamp {at}"


@suite.test
def a_reader_waiting_at_the_end_is_woken_by_an_append():
    topic = create("wake")
    reader = consumer(**{"enable.partition.eof": False, "fetch.wait.max.ms": 10_000})
    reader.assign([TopicPartition(topic, 0, 0)])
    same(reader.poll(1), None, "nothing yet")
    began = time.monotonic()
    produce(topic, [b"now"])
    message = reader.poll(8)
    same(message and message.value(), b"now")
    assert time.monotonic() - began < 3, "woken late"
    reader.close()


if __name__ == "__main__":
    suite.run()
