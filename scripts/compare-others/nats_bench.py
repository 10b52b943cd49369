"""Messages into JetStream streams on file storage, each publish acknowledged, with a window, and read back:
nats_bench.py PORT STREAMS MESSAGES BYTES. Prints produced SECONDS P50 P99 P99.9 MAX (milliseconds from publish to
acknowledgement) and consumed SECONDS."""

import asyncio
import random
import sys
import time

import nats
from nats.js.api import AckPolicy, ConsumerConfig, StorageType

WINDOW = 1000
FETCHED = 500


async def produce(js, stream, body, messages, latencies):
    room = asyncio.Semaphore(WINDOW)

    async def one():
        began = time.perf_counter()
        try:
            await js.publish(stream, body, timeout=60)
        finally:
            room.release()
        latencies.append(time.perf_counter() - began)

    async with asyncio.TaskGroup() if hasattr(asyncio, "TaskGroup") else Gathered() as tasks:
        for _ in range(messages):
            await room.acquire()
            tasks.create_task(one())


class Gathered:
    """What asyncio.TaskGroup is, for Pythons before 3.11."""

    async def __aenter__(self):
        self.tasks = []
        return self

    def create_task(self, coroutine):
        self.tasks.append(asyncio.ensure_future(coroutine))

    async def __aexit__(self, *_):
        await asyncio.gather(*self.tasks)


async def consume(js, stream, messages):
    config = ConsumerConfig(ack_policy=AckPolicy.NONE)
    subscription = await js.pull_subscribe(stream, stream=stream, config=config)
    seen = 0
    while seen < messages:
        seen += len(await subscription.fetch(min(FETCHED, messages - seen), timeout=30))
    await subscription.unsubscribe()


async def main():
    port, streams, messages, size = map(int, sys.argv[1:5])
    body, each = random.Random(1).randbytes(size), messages // streams
    connections = [await nats.connect(f"nats://127.0.0.1:{port}", pending_size=256 << 20) for _ in range(streams)]
    contexts = [connection.jetstream() for connection in connections]
    names = [f"compare{i}" for i in range(streams)]
    for context, name in zip(contexts, names):
        await context.add_stream(name=name, subjects=[name], storage=StorageType.FILE)
    latencies, began = [], time.perf_counter()
    await asyncio.gather(*(produce(js, name, body, each, latencies) for js, name in zip(contexts, names)))
    seconds = time.perf_counter() - began
    latencies.sort()
    at = lambda quantile: latencies[min(len(latencies) - 1, int(quantile * len(latencies)))] * 1e3
    print(f"produced {seconds:.3f} {at(0.5):.3f} {at(0.99):.3f} {at(0.999):.3f} {at(1):.3f}")
    began = time.perf_counter()
    await asyncio.gather(*(consume(js, name, each) for js, name in zip(contexts, names)))
    print(f"consumed {time.perf_counter() - began:.3f}")
    for context, name, connection in zip(contexts, names, connections):
        await context.delete_stream(name)
        await connection.close()


asyncio.run(main())
