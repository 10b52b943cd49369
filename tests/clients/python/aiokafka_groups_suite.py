"""aiokafka in groups and its transactions."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import ProducerFenced
from suite import BOOTSTRAP, Suite, fresh, same

suite = Suite("aiokafka-groups")


async def create(label, partitions=1):
    topic = fresh(label)
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    await admin.create_topics([NewTopic(topic, partitions, 1)])
    await admin.close()
    return topic


async def fill(topic, count, partitions=1):
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP)
    await producer.start()
    for n in range(count):
        await producer.send(topic, b"%d" % n, partition=n % partitions)
    await producer.stop()


async def member(group, topic, **settings):
    reader = AIOKafkaConsumer(topic, bootstrap_servers=BOOTSTRAP, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False, session_timeout_ms=6000,
                              heartbeat_interval_ms=500, metadata_max_age_ms=1000, **settings)
    await reader.start()
    return reader


async def settle(sizes, *readers):
    for _ in range(400):
        await asyncio.gather(*(reader.getmany(timeout_ms=50) for reader in readers))
        if sorted(len(reader.assignment()) for reader in readers) == sorted(sizes):
            return
    raise AssertionError(f"never {sizes}: {[len(reader.assignment()) for reader in readers]}")


async def drain(reader, count, seconds=20):
    found = []

    async def more():
        while len(found) < count:
            for records in (await reader.getmany(timeout_ms=200)).values():
                found.extend(records)

    try:
        await asyncio.wait_for(more(), seconds)
    except asyncio.TimeoutError:
        pass
    return found


def in_loop(function):
    def test():
        asyncio.run(function())

    test.__name__ = function.__name__
    return suite.test(test)


@in_loop
async def partitions_are_shared_and_handed_over():
    topic, group = await create("aiog-share", 4), fresh("aiog-share")
    first = await member(group, topic)
    await settle([4], first)
    second = await member(group, topic)
    await settle([2, 2], first, second)
    same(first.assignment() & second.assignment(), frozenset(), "owned twice")
    await second.stop()
    await settle([4], first)
    await first.stop()


@in_loop
async def reading_goes_on_where_it_was_committed():
    topic, group = await create("aiog-commit", 2), fresh("aiog-commit")
    await fill(topic, 60, 2)
    reader = await member(group, topic, max_poll_records=10)
    seen = await drain(reader, 30)
    await reader.commit()
    same(sum([await reader.committed(TopicPartition(topic, p)) or 0 for p in (0, 1)]), len(seen), "committed")
    await reader.stop()
    again = await member(group, topic)
    rest = await drain(again, 60 - len(seen))
    same(sorted(int(r.value) for r in seen + rest), list(range(60)))
    await again.stop()


@in_loop
async def groups_are_listed_and_described():
    topic, group = await create("aiog-admin"), fresh("aiog-admin")
    reader = await member(group, topic)
    await settle([1], reader)
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    assert group in [g[0] for g in await admin.list_consumer_groups()], "not listed"
    assert "Stable" in str(await admin.describe_consumer_groups([group])), "described"
    await reader.commit({TopicPartition(topic, 0): 0})
    offsets = await admin.list_consumer_group_offsets(group)
    same(offsets[TopicPartition(topic, 0)].offset, 0)
    await admin.close()
    await reader.stop()


async def transactional(ident):
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, transactional_id=ident)
    await producer.start()
    return producer


async def read_committed(topic, count, seconds=10):
    reader = AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, isolation_level="read_committed", enable_auto_commit=False)
    await reader.start()
    at = TopicPartition(topic, 0)
    reader.assign([at])
    reader.seek(at, 0)
    values = [r.value for r in await drain(reader, count, seconds)]
    await reader.stop()
    return values


@in_loop
async def only_committed_transactions_are_read():
    topic = await create("aiog-levels")
    producer = await transactional(fresh("aiog-levels"))
    for n in range(6):
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"%d" % n, partition=0)
        await (producer.abort_transaction() if n % 2 else producer.commit_transaction())
    await producer.stop()
    same(await read_committed(topic, 3), [b"0", b"2", b"4"])


@in_loop
async def offsets_are_committed_with_the_transaction():
    source, target, group = await create("aiog-source"), await create("aiog-target"), fresh("aiog-offsets")
    await fill(source, 10)
    at = TopicPartition(source, 0)
    producer = await transactional(fresh("aiog-offsets"))
    for offset, commit in ((4, True), (9, False)):
        await producer.begin_transaction()
        await producer.send_and_wait(target, b"%d" % offset, partition=0)
        await producer.send_offsets_to_transaction({at: offset}, group)
        await (producer.commit_transaction() if commit else producer.abort_transaction())
    await producer.stop()
    reader = await member(group, source)
    await settle([1], reader)
    same(await reader.committed(at), 4, "committed")
    await reader.stop()
    same(await read_committed(target, 1), [b"4"])


@in_loop
async def a_second_producer_fences_the_first():
    topic, ident = await create("aiog-fence"), fresh("aiog-fence")
    first = await transactional(ident)
    await first.begin_transaction()
    await first.send_and_wait(topic, b"of the fenced", partition=0)
    second = await transactional(ident)
    async with second.transaction():
        await second.send_and_wait(topic, b"of the second", partition=0)
    try:
        await first.commit_transaction()
        raise AssertionError("the fenced one committed")
    except ProducerFenced:
        pass
    same(await read_committed(topic, 1), [b"of the second"])
    await second.stop()


if __name__ == "__main__":
    suite.run()
