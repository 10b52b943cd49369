"""aiokafka: produce with its codecs and idempotence, read by assignment, administer."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import OffsetOutOfRangeError, TopicAlreadyExistsError
from suite import BOOTSTRAP, Suite, fresh, same

suite = Suite("aiokafka")


async def create(label, partitions=1):
    topic = fresh(label)
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    await admin.create_topics([NewTopic(topic, partitions, 1)])
    await admin.close()
    return topic


async def produce(topic, values, **settings):
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, **settings)
    await producer.start()
    sent = [await producer.send(topic, value, partition=0) for value in values]
    await producer.flush()
    answers = [await s for s in sent]
    await producer.stop()
    return answers


async def read(topic, count, start=0):
    reader = AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, enable_auto_commit=False)
    at = TopicPartition(topic, 0)
    await reader.start()
    reader.assign([at])
    reader.seek(at, start)
    records = []
    while len(records) < count:
        records.append(await asyncio.wait_for(reader.getone(), 10))
    await reader.stop()
    return records


def in_loop(function):
    def test():
        asyncio.run(function())

    test.__name__ = function.__name__
    return suite.test(test)


@in_loop
async def every_codec_round_trips():
    for codec in (None, "gzip", "snappy", "lz4", "zstd"):
        topic = await create(f"aio-{codec}")
        values = [b"%d " % n * 20 for n in range(300)]
        await produce(topic, values, compression_type=codec, linger_ms=5)
        same([r.value for r in await read(topic, 300)], values, codec)


@in_loop
async def every_acks_level_stores_the_records():
    for acks in (0, 1, "all"):
        topic = await create(f"aio-acks-{acks}")
        await produce(topic, [b"x"] * 100, acks=acks)
        same(len(await read(topic, 100)), 100, f"acks={acks}")


@in_loop
async def idempotent_producer_gets_every_offset_in_order():
    topic = await create("aio-idem")
    answers = await produce(topic, [b"%d" % n for n in range(1000)], enable_idempotence=True)
    same([a.offset for a in answers], list(range(1000)))


@in_loop
async def offsets_are_found_by_position_and_by_time():
    topic = await create("aio-times")
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, linger_ms=50)
    await producer.start()
    for n in range(50):
        await producer.send(topic, b"x", partition=0, timestamp_ms=1_600_000_000_000 + n * 1000)
    await producer.flush()
    await producer.stop()
    reader = AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP)
    await reader.start()
    at = TopicPartition(topic, 0)
    same((await reader.beginning_offsets([at]))[at], 0)
    same((await reader.end_offsets([at]))[at], 50)
    same((await reader.offsets_for_times({at: 1_600_000_020_500}))[at].offset, 21)
    reader.assign([at])
    reader.seek(at, 45)
    same((await asyncio.wait_for(reader.getone(), 10)).offset, 45)
    await reader.stop()


@in_loop
async def an_offset_beyond_the_end_is_reported():
    topic = await create("aio-range")
    await produce(topic, [b"x"])
    reader = AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, auto_offset_reset="none")
    await reader.start()
    at = TopicPartition(topic, 0)
    reader.assign([at])
    reader.seek(at, 1000)
    try:
        await asyncio.wait_for(reader.getone(), 10)
        raise AssertionError("read beyond the end")
    except OffsetOutOfRangeError:
        pass
    await reader.stop()


@in_loop
async def topics_are_administered():
    topic = await create("aio-admin", partitions=2)
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    assert topic in await admin.list_topics()
    same(len((await admin.describe_topics([topic]))[0]["partitions"]), 2)
    again = await admin.create_topics([NewTopic(topic, 1, 1)])
    same(again.topic_errors[0][1], TopicAlreadyExistsError.errno, "created twice")
    await admin.delete_topics([topic])
    for _ in range(100):
        if topic not in await admin.list_topics():
            break
        await asyncio.sleep(0.05)
    assert topic not in await admin.list_topics(), "still listed"
    await admin.close()


if __name__ == "__main__":
    suite.run()
