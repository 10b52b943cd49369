"""confluent-kafka (librdkafka) in groups of both protocols, its transactions, and its administration of groups."""

import time

from confluent_kafka import OFFSET_INVALID, Consumer, ConsumerGroupState, ConsumerGroupTopicPartitions, ConsumerGroupType, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from suite import BOOTSTRAP, Suite, fresh, same, until

suite = Suite("confluent-groups")
admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
PROTOCOLS = ("classic", "consumer")


def create(label, partitions=1):
    topic = fresh(label)
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(20)
    return topic


def fill(topic, count, partitions=1, start=0):
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    for n in range(start, start + count):
        producer.produce(topic, b"%d" % n, partition=n % partitions)
    same(producer.flush(20), 0, "left in the queue")


def member(group, topics, protocol="classic", **settings):
    # Only the classic protocol's members choose their own session time-out.
    own = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500} if protocol == "classic" else {}
    reader = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": group, "group.protocol": protocol, "auto.offset.reset": "earliest", "enable.auto.commit": False, **own, **settings})
    reader.subscribe(topics)
    return reader


def owned(reader):
    return {(at.topic, at.partition) for at in reader.assignment()}


def poll(*readers, into=None, seconds=0.05):
    for reader in readers:
        message = reader.poll(seconds)
        if message and not message.error() and into is not None:
            into.append(message)


def settle(sizes, *readers, into=None):
    """Polls the members until they own as many partitions as `sizes` say, in any order."""

    def settled():
        poll(*readers, into=into)
        return sorted(len(owned(r)) for r in readers) == sorted(sizes)

    until(f"{sizes} partitions", settled, 40)


def drain(reader, count, seconds=20):
    messages = []
    deadline = time.monotonic() + seconds
    while len(messages) < count and time.monotonic() < deadline:
        poll(reader, into=messages, seconds=0.2)
    return messages


def raises(code, call):
    try:
        call()
    except KafkaException as error:
        same(error.args[0].code(), code, f"error ({error})")
        return error.args[0]
    raise AssertionError(f"accepted, wanted error {code}")


def each_protocol(function):
    for protocol in PROTOCOLS:

        def test(protocol=protocol):
            function(protocol)

        test.__name__ = f"{function.__name__}_{protocol}"
        suite.test(test)
    return function


@each_protocol
def partitions_are_shared_and_handed_over(protocol):
    topic, group = create("cg-share", 4), fresh("cg-share")
    first = member(group, [topic], protocol)
    settle([4], first)
    second = member(group, [topic], protocol)
    settle([2, 2], first, second)
    same(owned(first) & owned(second), set(), "owned twice")
    third = member(group, [topic], protocol)
    settle([1, 1, 2], first, second, third)
    second.close()
    settle([2, 2], first, third)
    third.close()
    settle([4], first)
    first.close()


@each_protocol
def reading_goes_on_where_it_was_committed(protocol):
    topic, group = create("cg-commit", 2), fresh("cg-commit")
    fill(topic, 100, 2)
    reader = member(group, [topic], protocol)
    seen = drain(reader, 60)
    reader.commit(asynchronous=False)
    reader.close()
    again = member(group, [topic], protocol)
    rest = drain(again, 40)
    same(sorted(int(m.value()) for m in seen + rest), list(range(100)), "each once")
    again.commit(asynchronous=False)
    committed = again.committed([TopicPartition(topic, 0), TopicPartition(topic, 1)], timeout=10)
    same([at.offset for at in committed], [50, 50], "committed")
    again.close()


@each_protocol
def metadata_of_a_commit_comes_back(protocol):
    topic, group = create("cg-meta"), fresh("cg-meta")
    fill(topic, 3)
    reader = member(group, [topic], protocol)
    drain(reader, 3)
    reader.commit(offsets=[TopicPartition(topic, 0, 2, "what I thought")], asynchronous=False)
    (at,) = reader.committed([TopicPartition(topic, 0)], timeout=10)
    same((at.offset, at.metadata), (2, "what I thought"))
    reader.close()


@each_protocol
def a_closed_member_with_automatic_commits_loses_nothing(protocol):
    topic, group = create("cg-auto"), fresh("cg-auto")
    fill(topic, 50)
    reader = member(group, [topic], protocol, **{"enable.auto.commit": True})
    seen = drain(reader, 50)
    reader.close()
    fill(topic, 5, start=50)
    again = member(group, [topic], protocol)
    rest = drain(again, 5)
    same([int(m.value()) for m in seen + rest], list(range(55)))
    again.close()


@each_protocol
def a_static_member_comes_back_to_its_partitions(protocol):
    topic, group = create("cg-static", 4), fresh("cg-static")
    one = member(group, [topic], protocol, **{"group.instance.id": "one"})
    two = member(group, [topic], protocol, **{"group.instance.id": "two"})
    settle([2, 2], one, two)
    before, left = owned(two), owned(one)
    two.close()
    again = member(group, [topic], protocol, **{"group.instance.id": "two"})
    until("the static member's partitions", lambda: (poll(one, again), owned(again) == before)[1], 20)
    same(owned(one), left, "the other's partitions")
    one.close()
    again.close()


@each_protocol
def a_pattern_follows_topics_as_they_come(protocol):
    stem, group = fresh("cg-pattern"), fresh("cg-pattern")
    names = [f"{stem}-a", f"{stem}-b"]
    admin.create_topics([NewTopic(names[0], 1, 1)])[names[0]].result(20)
    reader = member(group, [f"^{stem}-.*"], protocol, **{"topic.metadata.refresh.interval.ms": 500, "metadata.max.age.ms": 1500})
    settle([1], reader)
    admin.create_topics([NewTopic(names[1], 2, 1)])[names[1]].result(20)
    settle([3], reader)
    reader.close()


@suite.test
def cooperative_members_keep_what_they_keep():
    topic, group = create("cg-coop", 4), fresh("cg-coop")
    lost = []
    first = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": group, "partition.assignment.strategy": "cooperative-sticky", "auto.offset.reset": "earliest", "session.timeout.ms": 6000})
    first.subscribe([topic], on_revoke=lambda _, gone: lost.extend(gone))
    settle([4], first)
    second = member(group, [topic], **{"partition.assignment.strategy": "cooperative-sticky"})
    settle([2, 2], first, second)
    same(len(lost), 2, "partitions revoked of the first member")
    second.close()
    settle([4], first)
    first.close()


@suite.test
def members_without_a_common_assignor_are_refused():
    topic, group = create("cg-refuse"), fresh("cg-refuse")
    first = member(group, [topic], **{"partition.assignment.strategy": "range"})
    settle([1], first)
    second = member(group, [topic], **{"partition.assignment.strategy": "roundrobin"})
    until("the refusal", lambda: (poll(first), (m := second.poll(0.2)) and m.error() and m.error().code() == KafkaError.INCONSISTENT_GROUP_PROTOCOL)[1])
    second.close()
    first.close()


@suite.test
def groups_are_listed_described_and_deleted():
    topic = create("cg-admin", 2)
    fill(topic, 10, 2)
    for protocol, kind in (("classic", ConsumerGroupType.CLASSIC), ("consumer", ConsumerGroupType.CONSUMER)):
        group = fresh(f"cg-admin-{protocol}")
        reader = member(group, [topic], protocol, **{"client.id": "someone"})
        settle([2], reader)
        drain(reader, 10)
        reader.commit(asynchronous=False)
        stable = admin.list_consumer_groups(states={ConsumerGroupState.STABLE}, types={kind}).result(10).valid
        same([(g.group_id, g.state, g.type) for g in stable if g.group_id == group], [(group, ConsumerGroupState.STABLE, kind)], "listed")
        other = ConsumerGroupType.CONSUMER if kind == ConsumerGroupType.CLASSIC else ConsumerGroupType.CLASSIC
        same([g for g in admin.list_consumer_groups(types={other}).result(10).valid if g.group_id == group], [], "listed as the other type")
        shown = admin.describe_consumer_groups([group], include_authorized_operations=True)[group].result(10)
        (only,) = shown.members
        same((shown.state, only.client_id, only.host, len(only.assignment.topic_partitions)), (ConsumerGroupState.STABLE, "someone", "/127.0.0.1", 2), "described")
        raises(KafkaError.NON_EMPTY_GROUP, lambda g=group: admin.delete_consumer_groups([g])[g].result(10))
        reader.close()
        until("the group is empty", lambda g=group: admin.describe_consumer_groups([g])[g].result(10).state == ConsumerGroupState.EMPTY)
        offsets = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(10)
        same(sorted((at.partition, at.offset) for at in offsets.topic_partitions), [(0, 5), (1, 5)], "offsets")
        back = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 1), TopicPartition(topic, 1, 2)])
        admin.alter_consumer_group_offsets([back])[group].result(10)
        offsets = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 1)])])[group].result(10)
        same([at.offset for at in offsets.topic_partitions], [2], "altered")
        admin.delete_consumer_groups([group])[group].result(10)
        raises(KafkaError.GROUP_ID_NOT_FOUND, lambda g=group: admin.delete_consumer_groups([g])[g].result(10))


@suite.test
def an_unknown_group_has_no_offsets():
    topic = create("cg-unknown")
    reader = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": fresh("cg-unknown")})
    (at,) = reader.committed([TopicPartition(topic, 0)], timeout=10)
    same((at.offset, at.error), (OFFSET_INVALID, None))
    reader.close()


def transactional(ident, **settings):
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "transactional.id": ident, **settings})
    producer.init_transactions(20)
    return producer


def read_all(topic, level, count, seconds=3):
    reader = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": "unused", "isolation.level": level, "enable.auto.commit": False})
    reader.assign([TopicPartition(topic, 0, 0)])
    values = [m.value() for m in drain(reader, count, seconds)]
    reader.close()
    return values


@suite.test
def only_committed_transactions_are_read():
    topic = create("ct-levels")
    producer = transactional(fresh("ct-levels"))
    for n in range(6):
        producer.begin_transaction()
        producer.produce(topic, b"%d" % n, partition=0)
        if n % 2:
            producer.flush(10)
            producer.abort_transaction(10)
        else:
            producer.commit_transaction(10)
    same(read_all(topic, "read_committed", 3), [b"0", b"2", b"4"], "committed")
    same(read_all(topic, "read_uncommitted", 6), [b"%d" % n for n in range(6)], "uncommitted")
    producer.begin_transaction()
    producer.produce(topic, b"open", partition=0)
    producer.flush(10)
    same(read_all(topic, "read_committed", 4, 2), [b"0", b"2", b"4"], "while one is open")
    producer.commit_transaction(10)
    same(read_all(topic, "read_committed", 4), [b"0", b"2", b"4", b"open"], "when it has ended")


@suite.test
def offsets_are_committed_with_the_transaction():
    for protocol in PROTOCOLS:
        source, target, group = create("ct-source"), create("ct-target"), fresh("ct-offsets")
        fill(source, 20)
        reader = member(group, [source], protocol, **{"isolation.level": "read_committed"})
        producer = transactional(fresh("ct-offsets"))
        for half in (10, 20):
            messages = drain(reader, 10)
            for commit in (False, True):
                producer.begin_transaction()
                for message in messages:
                    producer.produce(target, message.value(), partition=0)
                producer.send_offsets_to_transaction(reader.position(reader.assignment()), reader.consumer_group_metadata(), 10)
                if commit:
                    producer.commit_transaction(20)
                else:
                    producer.abort_transaction(20)
                    committed = reader.committed([TopicPartition(source, 0)], timeout=10)[0].offset
                    same(committed, OFFSET_INVALID if half == 10 else 10, "after the abort")
            same(reader.committed([TopicPartition(source, 0)], timeout=10)[0].offset, half, "after the commit")
        same(read_all(target, "read_committed", 20), [b"%d" % n for n in range(20)], protocol)
        reader.close()


@suite.test
def a_second_producer_fences_the_first():
    topic, ident = create("ct-fence"), fresh("ct-fence")
    first = transactional(ident)
    first.begin_transaction()
    first.produce(topic, b"of the fenced", partition=0)
    first.flush(10)
    second = transactional(ident)
    second.begin_transaction()
    second.produce(topic, b"of the second", partition=0)
    second.commit_transaction(10)
    error = raises(KafkaError._FENCED, lambda: first.commit_transaction(10))
    same(error.fatal(), True, "fatal")
    same(read_all(topic, "read_committed", 1), [b"of the second"])


@suite.test
def a_transaction_that_takes_too_long_is_aborted():
    topic = create("ct-slow")
    producer = transactional(fresh("ct-slow"), **{"transaction.timeout.ms": 2000})
    producer.begin_transaction()
    producer.produce(topic, b"too late", partition=0)
    producer.flush(10)
    fill(topic, 1)
    same(read_all(topic, "read_committed", 1, 30), [b"0"], "the reader goes on behind it")
    try:
        producer.commit_transaction(10)
        raise AssertionError("committed what was aborted")
    except KafkaException:
        pass


@suite.test
def a_time_out_beyond_the_brokers_is_refused():
    raises(KafkaError.INVALID_TRANSACTION_TIMEOUT, lambda: transactional(fresh("ct-limit"), **{"transaction.timeout.ms": 2_000_000_000}))


if __name__ == "__main__":
    suite.run()
