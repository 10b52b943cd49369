"""kafka-python in groups, its transactions and its administration of groups."""

import threading
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.structs import OffsetAndMetadata
from suite import BOOTSTRAP, Suite, fresh, same, until

suite = Suite("kafka-python-groups")
admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)


def create(label, partitions=1):
    topic = fresh(label)
    admin.create_topics([NewTopic(topic, partitions, 1)])
    return topic


def fill(topic, count, partitions=1):
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP)
    for n in range(count):
        producer.send(topic, b"%d" % n, partition=n % partitions)
    producer.flush(20)
    producer.close()


def member(group, topic, **settings):
    # On a busy machine this client now and then is silent for seconds: with a session of three, members were expelled by Kafka too.
    return KafkaConsumer(topic, bootstrap_servers=BOOTSTRAP, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False, session_timeout_ms=10_000,
                         heartbeat_interval_ms=1000, **settings)


def drain(reader, count, seconds=20):
    found = []
    deadline = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < deadline:
        for records in reader.poll(1000).values():
            found.extend(records)
    return found


def close_all(*readers):
    threads = [threading.Thread(target=reader.close) for reader in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)


@suite.test
def partitions_are_shared_and_handed_over():
    topic, group = create("kpg-share", 4), fresh("kpg-share")
    first = member(group, topic)
    until("four partitions", lambda: (first.poll(1000), len(first.assignment()) == 4)[1], 30)
    second = member(group, topic)
    both = lambda: (first.poll(1000), second.poll(1000), sorted((len(first.assignment()), len(second.assignment()))) == [2, 2])[2]
    until("two each", both, 30)
    same(first.assignment() & second.assignment(), set(), "owned twice")
    second.close()
    until("four again", lambda: (first.poll(1000), len(first.assignment()) == 4)[1], 30)
    first.close()


@suite.test
def reading_goes_on_where_it_was_committed():
    topic, group = create("kpg-commit"), fresh("kpg-commit")
    fill(topic, 50)
    at = TopicPartition(topic, 0)
    reader = member(group, topic, max_poll_records=10)
    seen = drain(reader, 20)
    reader.commit({at: OffsetAndMetadata(seen[-1].offset + 1, "so far", -1)})
    same((reader.committed(at), reader.committed(at, metadata=True).metadata), (len(seen), "so far"), "committed")
    reader.close()
    again = member(group, topic)
    rest = drain(again, 50 - len(seen))
    same([int(r.value) for r in seen + rest], list(range(50)))
    again.close()


@suite.test
def a_member_that_dies_is_replaced():
    topic, group = create("kpg-dies", 2), fresh("kpg-dies")
    first, second = member(group, topic), member(group, topic)
    until("one each", lambda: (first.poll(1000), second.poll(1000), [len(first.assignment()), len(second.assignment())] == [1, 1])[2], 30)
    # Nobody says good-bye: neither heartbeats nor the leave request.
    second._coordinator._disable_heartbeat_thread() if hasattr(second._coordinator, "_disable_heartbeat_thread") else second._coordinator.close(autocommit=False)
    until("both partitions", lambda: (first.poll(1000), len(first.assignment()) == 2)[1], 30)
    close_all(first)


@suite.test
def groups_are_administered():
    topic, group = create("kpg-admin"), fresh("kpg-admin")
    fill(topic, 10)
    reader = member(group, topic)
    drain(reader, 10)
    reader.commit()
    assert group in str(admin.list_groups() if hasattr(admin, "list_groups") else admin.list_consumer_groups()), "not listed"
    describe = getattr(admin, "describe_groups", None) or admin.describe_consumer_groups
    shown = str(describe([group]))
    assert "Stable" in shown and "/127.0.0.1" in shown, shown
    reader.close()
    offsets = getattr(admin, "list_group_offsets", None) or admin.list_consumer_group_offsets
    assert "10" in str(offsets(group)), "offsets"
    delete = getattr(admin, "delete_groups", None) or admin.delete_consumer_groups
    until("the group is gone", lambda: (delete([group]), "Dead" in str(describe([group])) or "GroupIdNotFound" in str(describe([group])))[1])


def transactional(ident, **settings):
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, transactional_id=ident, **settings)
    producer.init_transactions()
    return producer


def read_committed(topic, count, seconds=10):
    reader = KafkaConsumer(bootstrap_servers=BOOTSTRAP, isolation_level="read_committed", enable_auto_commit=False)
    at = TopicPartition(topic, 0)
    reader.assign([at])
    reader.seek(at, 0)
    values = [r.value for r in drain(reader, count, seconds)]
    reader.close()
    return values


@suite.test
def only_committed_transactions_are_read():
    topic = create("kpg-levels")
    producer = transactional(fresh("kpg-levels"))
    for n in range(6):
        producer.begin_transaction()
        producer.send(topic, b"%d" % n, partition=0)
        producer.flush()
        producer.abort_transaction() if n % 2 else producer.commit_transaction()
    producer.close()
    same(read_committed(topic, 3), [b"0", b"2", b"4"])


@suite.test
def offsets_are_committed_with_the_transaction():
    source, target, group = create("kpg-source"), create("kpg-target"), fresh("kpg-offsets")
    fill(source, 10)
    at = TopicPartition(source, 0)
    producer = transactional(fresh("kpg-offsets"))
    reader = KafkaConsumer(bootstrap_servers=BOOTSTRAP, group_id=group, enable_auto_commit=False)
    for offset, commit in ((4, True), (9, False)):
        producer.begin_transaction()
        producer.send(target, b"%d" % offset, partition=0)
        producer.send_offsets_to_transaction({at: OffsetAndMetadata(offset, "", -1)}, group)
        producer.commit_transaction() if commit else producer.abort_transaction()
    same(reader.committed(at), 4, "committed")
    same(read_committed(target, 1), [b"4"])
    reader.close()
    producer.close()


if __name__ == "__main__":
    suite.run()
