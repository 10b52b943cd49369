"""The lines of scripts/compare that have brokers of their own: start, idle, many partitions, many producers, several shards."""

import contextlib
import importlib.machinery
import importlib.util
import os
import shutil
import time

import perf
from lines import BOTH, LINES, turned

loader = importlib.machinery.SourceFileLoader("perf_log", f"{perf.ROOT}/scripts/perf-log")
perf_log = importlib.util.module_from_spec(importlib.util.spec_from_loader("perf_log", loader))
loader.exec_module(perf_log)

# What Ringlog may use for caches and requests where its memory is looked at.
MEMORY_BUDGET = 256 << 20
# Retention looks for work as often on both.
CHORES = ("log.retention.check.interval.ms=1000", "log.initial.task.delay.ms=1000")
# Kafka refuses to create more at once.
CREATED_AT_ONCE = 5_000


class Apart:
    """Part of Compare."""

    # The topic of so many partitions that stood idle and is to be filled.
    left = None

    @contextlib.contextmanager
    def fresh(self, side, name, settings=(), native=None):
        """A new broker in a list: whoever starts it again puts the new process there."""
        name = f"{name}-{side}"
        broker = self.start_kafka(name, settings) if side == "kafka" else self.start_ringlog(name, native, settings)
        held = [broker]
        try:
            yield held
        finally:
            held[0].stop()
            shutil.rmtree(f"{self.work}/{name}", ignore_errors=True)

    def apart(self, number):
        """All of one repeat."""
        self.left = None
        actions = {"start": self.started, "idle": self.idle, "restart-large": self.restart_large, "memory": self.memory, "few": self.drift}
        for side in BOTH:
            works = [work for work in actions if self.wants(work, side, number)]
            if works:
                self.attempt(f"{', '.join(works)} of {side}", lambda: self.starts(side, [(work, actions[work]) for work in works]))
        if any(self.wants(work, side, number) for work in ("load-shards", "load-hop") for side in LINES[work].sides):
            self.shards(number)

    def starts(self, side, actions):
        with self.fresh(side, "start", CHORES if side == "kafka" else ()) as held:
            for work, action in actions:
                self.step(work, side, lambda: action(side, held))

    @contextlib.contextmanager
    def own(self, side, held, name, settings):
        """A broker of Ringlog's that is new and has its own settings, which takes a moment; Kafka's, which takes long to start, goes on."""
        if side == "kafka":
            yield held[0]
        else:
            with self.fresh(side, name, settings) as new:
                yield new[0]

    def started(self, side, held):
        time.sleep(2)
        cores = self.cores(held[0], self.options.idle_seconds / 2)
        self.note("start", side, {"seconds": held[0].start_seconds, "MB resident": held[0].resident_mb(), "broker cores": cores})

    @staticmethod
    def cores(broker, seconds):
        began, used = time.monotonic(), broker.cpu()
        time.sleep(seconds)
        return (broker.cpu() - used) / (time.monotonic() - began)

    def create_many(self, broker, side, partitions, *configs):
        topic = self.create(broker, min(partitions, CREATED_AT_ONCE), side, *configs)
        if partitions > CREATED_AT_ONCE:
            done = self.tool(broker, "alter", topic, "--partitions", partitions, "--timeout", "120s")
            if done.returncode:
                raise SystemExit(done.stdout.strip()[-300:])
            self.until_served(broker, topic, 120)
        return topic

    def idle(self, side, held):
        broker, partitions = held[0], self.options.idle_partitions if side == "ringlog" else self.options.idle_partitions_kafka
        topic = self.create_many(broker, side, partitions)
        readers = [perf_log.Waiting(broker.port, topic, n * partitions // 1000 % partitions) for n in range(1000)]
        try:
            time.sleep(2)
            self.size("idle", side, f"{partitions:,} partitions")
            self.note("idle", side, {"broker cores": self.cores(broker, self.options.idle_seconds), "MB resident": broker.resident_mb()})
        finally:
            for reader in readers:
                reader.stop()
        if "restart-large" in self.options.work and side == "ringlog":
            self.left = topic
        else:
            self.drop(broker, topic)

    def fill(self, broker, topic, gigabytes):
        """Records of 10 KB in batches of 64 KB until so much is written; how much."""
        written, seconds = 0, min(1, gigabytes / 4)
        while written < gigabytes * 0.95:
            found, _ = self.load(broker, "fill", "--topic", topic, "--record-bytes", "10k", "--batch-bytes", "64k", "--window", 2, "--warm-up", "0s", "--duration", f"{seconds:.2f}s")
            if not found["records"]:
                raise SystemExit(f"nothing could be written: {found['errors_by_reason']}")
            written += found["records"] * 10_240 / 1e9
            # The first records of many partitions are slow: what they promise for the rest is too long.
            seconds = min(15, 3 * seconds, max(0.1, (gigabytes - written) / (found["records_per_second"] * 10_240 / 1e9)))
        return written

    def killed(self, work, side, broker, partitions, gigabytes, topic=None):
        """Kills a broker that has so much in so many partitions of one topic; the new one, when every partition tells its end."""
        # A disk that is nearly full is no measure, nor to be left so.
        gigabytes = min(gigabytes, shutil.disk_usage(self.work).free / 1e9 / 4)
        topic = topic or self.create_many(broker, side, partitions)
        gigabytes = self.fill(broker, topic, gigabytes)
        broker.kill9()
        began = time.monotonic()
        new = broker.again()
        self.until_served(new, topic, 240)
        self.size(work, side, f"{partitions:,} partitions, {gigabytes:.1f} GB")
        self.note(work, side, {"seconds": time.monotonic() - began, "MB resident": new.resident_mb()})
        return new

    def restart_large(self, side, held):
        held[0] = self.killed("restart-large", side, held[0], self.options.idle_partitions, self.options.large_gb, self.left)

    def memory(self, side, held):
        producers = self.options.producers
        with self.own(side, held, "memory", [f"memory.bytes={MEMORY_BUDGET}"]) as broker:
            topic, before = self.create(broker, 6, side), broker.resident_mb()
            # A slow consumer takes what it takes until the producers end, and is not waited for.
            arguments = ["--topic", topic, "--producers", producers, "--idempotent", "--rate", producers * 5, "--linger", "50ms", "--consume", "--consume-rate", 1000,
                         "--warm-up", f"{self.options.memory_seconds}s", "--duration", f"{self.options.memory_seconds}s", "--timeout", "10s"]
            found, failed = self.load(broker, f"memory-{side}", *arguments)
            self.size("memory", side, f"{producers:,} producers, {before:.0f} MB before")
            self.keep("memory", side, found, failed)
            self.drop(broker, topic)

    def drift(self, side, held):
        options, roll = self.options, self.options.drift_roll_ms
        rate = 5_000
        # A side that does not keep up is not waited for.
        keyed = ["--keys", "uniform", "--key-count", 1_000_000, "--rate", rate, "--timeout", "10s"]
        measured = [*keyed, "--warm-up", "2s", "--duration", f"{options.drift_seconds}s"]
        with self.own(side, held, "drift", CHORES) as broker:
            def measure(work, topic, producers):
                self.keep(work, side, *self.load(broker, f"{work}-{side}", "--topic", topic, *measured, "--producers", producers))

            topic = self.create(broker, 6, side)
            self.load(broker, "fill", "--topic", topic, *keyed, "--warm-up", "0s", "--duration", "2s")
            measure("few", topic, 4)
            partitions = options.drift_partitions
            topic = self.create_many(broker, side, partitions, f"segment.ms={roll}", f"segment.jitter.ms={roll // 2}", f"retention.ms={roll // 2}", "file.delete.delay.ms=1000")
            # Until the first segments are deleted.
            self.load(broker, "fill", "--topic", topic, *keyed, "--producers", 4, "--warm-up", "0s", "--duration", f"{roll * 3 // 2 // 1000}s")
            for work in ("few", "many"):
                self.size(work, side, f"{rate:,} records/s" + (f", {partitions:,} partitions" if work == "many" else ""))
            measure("many", topic, 50)
            self.drop(broker, topic)

    def shards(self, number):
        """One shard and two, each on a core of its own where there are four; with two cores the second shard has the client's."""
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            return self.remark("load-shards and load-hop need two cores")
        if len(cores) < 4:
            self.remark("load-shards and load-hop: two shards have both cores and the client shares them; one shard and the client have one each")
        closed = ["--record-bytes", "100", "--batch-bytes", "64k", "--warm-up", f"{self.options.warm_seconds}s", "--duration", f"{self.options.seconds}s"]
        # Two connections of five requests whatever the shards: steered, each of two shards has one.
        kafka, native = ["--connections", 2, "--window", 5], ["--wire", "native", "--window", 5]
        runs = (("ringlog-1-shard", "load-shards", 1, kafka), ("ringlog-2-shards", "load-shards", 2, kafka),
                ("ringlog-native", "load-hop", 2, [*native, "--connections", 1]), ("ringlog-native-hop", "load-hop", 2, [*native, "--connections", 2, "--native-steering", "any"]))
        for side, work, shards, arguments in turned(runs, number):
            if self.wants(work, side, number):
                with self.placed(shards, cores, number):
                    self.step(work, side, lambda: self.sharded(side, work, shards, number, [*closed, *arguments]))

    def sharded(self, side, work, shards, number, arguments):
        port = perf.free_port()
        with self.fresh("ringlog", work, [f"num.shards={shards}"], port) as held:
            topic = self.create(held[0], 6, "ringlog")
            more = ["--native-bootstrap", f"127.0.0.1:{port}"] if work == "load-hop" else []
            self.keep(work, side, *self.load(held[0], f"{work}-{side}-{number}", "--label", f"{work} {side}", "--topic", topic, *arguments, *more))

    @contextlib.contextmanager
    def placed(self, shards, cores, number):
        """Pins a broker of so many shards to as many cores, and the clients to the other half of all."""
        kept = self.options.broker_cpus, self.options.client_cpus
        half = len(cores) // 2
        if not self.options.no_pin:
            if half >= shards:
                broker, client = cores[:shards], cores[half:]
                if half == 1 and number % 2:
                    broker, client = client, broker
                self.options.broker_cpus, self.options.client_cpus = ",".join(map(str, broker)), ",".join(map(str, client))
            else:
                self.options.broker_cpus = self.options.client_cpus = None
        try:
            yield
        finally:
            self.options.broker_cpus, self.options.client_cpus = kept
