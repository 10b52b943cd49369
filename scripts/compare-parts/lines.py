"""The lines of scripts/compare: what each is, which sides are measured on it, in how many repeats, and how long one takes."""

from collections import namedtuple
from itertools import takewhile

TOOLS = ("kafka", "kafka-durable", "ringlog", "ringlog-caching")
SIDES = (*TOOLS, "ringlog-native")
# Ringlog with so many shards, on brokers of their own.
SHARDED = ("ringlog-1-shard", "ringlog-2-shards", "ringlog-native-hop")
OTHERS = ("rabbitmq", "nats", "artemis")
BOTH = ("kafka", "ringlog")

# turns: in so many repeats at most, 0 in all. seconds, quick: of one side in one repeat, whole and with --quick, as found on
# two cores; 0 where the line above it finds it too.
Line = namedtuple("Line", "what sides turns seconds quick")
LINES = {
    "p1k": Line("produce 1 KB, default batches, 6 partitions (Kafka's tool)", TOOLS, 0, 10, 5),
    "read-java": Line("consume 1 KB from memory (Java consumer)", BOTH, 0, 0, 0),
    "p1kbig": Line("produce 1 KB, 128 KB batches, 6 partitions (Kafka's tool)", TOOLS, 2, 7, 4),
    "p100": Line("produce 100 B, 128 KB batches, 6 partitions (Kafka's tool)", TOOLS, 0, 6, 4),
    "nobatch": Line("produce 100 B, no batching, 100 partitions (Kafka's tool)", TOOLS, 0, 6, 4),
    "load-1k": Line("produce 1 KB, closed loop (ringlog load)", SIDES, 0, 8, 4),
    "load-100": Line("produce 100 B, closed loop (ringlog load)", SIDES, 0, 8, 4),
    "load-many": Line("produce 100 B, no batching, many partitions (ringlog load)", ("kafka-durable", "ringlog"), 0, 9, 4),
    "load-fixed": Line("1 KB at a fixed rate, consumed (ringlog load)", SIDES, 0, 8, 5),
    "read": Line("consume 1 KB just written, from memory (ringlog load)", SIDES, 2, 20, 9),
    "drain": Line("consume 1 KB from disk, nothing of it in memory (ringlog load)", SIDES, 2, 0, 0),
    "alone": Line("produce 1 KB at a low rate, nothing read (ringlog load)", SIDES, 2, 0, 0),
    "beside": Line("the same while a backlog is drained from disk; MB/s are the drain's (ringlog load)", SIDES, 2, 0, 0),
    "e2e": Line("end to end, one record at a time (Kafka's tool)", TOOLS, 2, 9, 5),
    "queue-produce": Line("produce 1 KB, 6 queues, streams or partitions, 1,000 in flight on each (own client)", (*TOOLS, *OTHERS), 2, 10, 7),
    "queue-consume": Line("consume 1 KB, 6 queues, streams or partitions (own client)", (*TOOLS, *OTHERS), 0, 0, 0),
    "restart": Line("start after kill -9", BOTH, 1, 30, 12),
    "start": Line("start of an empty broker, and it idle", BOTH, 2, 8, 5),
    "idle": Line("idle: partitions, and 1,000 consumers that wait in Fetch", BOTH, 1, 20, 7),
    "restart-large": Line("start after kill -9, more partitions and data", ("ringlog",), 1, 40, 8),
    "memory": Line("idempotent producers at once, each with its connection, and a slow consumer (ringlog load)", BOTH, 1, 15, 8),
    "few": Line("keyed records, 4 producers, 6 partitions, an empty disk (ringlog load)", BOTH, 1, 50, 16),
    "many": Line("the same, 50 producers, many partitions whose segments roll and are deleted (ringlog load)", BOTH, 1, 0, 0),
    "load-shards": Line("produce 100 B, closed loop, one shard and two (ringlog load)", SHARDED[:2], 2, 8, 4),
    "load-hop": Line("the same over the native wire, two shards: steered, and hopping (ringlog load)", ("ringlog-native", "ringlog-native-hop"), 2, 8, 4),
}
# Those that can be asked for; each of the rest comes with the one above it.
WORK = tuple(name for name, line in LINES.items() if line.seconds)
WITH = {work: list(takewhile(lambda name: not LINES[name].seconds, list(LINES)[list(LINES).index(work) + 1:])) for work in WORK}
# With --quick these lines have these sides alone: the rest is told by other lines too.
QUICK_SIDES = {
    "p1k": BOTH, "p1kbig": (), "p100": BOTH, "nobatch": TOOLS[:3], "load-1k": (*BOTH, *SIDES[3:]), "load-100": (*BOTH, "ringlog-native"), "load-fixed": (*BOTH, "ringlog-native"),
    "read": (*BOTH, "ringlog-native"), "e2e": BOTH, "queue-produce": (*BOTH, *OTHERS), "idle": ("ringlog",), "memory": ("ringlog",), "few": ("ringlog",),
}
# Of a repeat, beside its lines: brokers started, compilers warmed.
BETWEEN = (45, 30)

# How large each line is: whole, and with --quick. Records are those of scripts/perf at scale 1.
SIZES = {
    "scale": (0.5, 0.1), "warm_records": (100_000, 30_000), "reach_seconds": (4, 2), "warm_seconds": (1, 1), "seconds": (5, 2), "settle": (1, 0.3),
    "e2e": (5_000, 1_000), "messages": (100_000, 20_000), "partitions": (1_000, 100), "restart_gb": (2, 0.3),
    "backlog_mb": (1_000, 200), "beside_seconds": (4, 2), "idle_partitions": (10_000, 1_000), "idle_partitions_kafka": (2_000, 500), "idle_seconds": (8, 3),
    "large_gb": (8, 0.5), "producers": (4_000, 1_000), "memory_seconds": (5, 2),
    "drift_partitions": (1_000, 200), "drift_roll_ms": (10_000, 3_000), "drift_seconds": (6, 2),
}


def sides_of(work, options):
    """Those that these options ask for on a line."""
    line = LINES[work]
    sides = QUICK_SIDES.get(work, line.sides) if options.quick else line.sides
    return tuple(side for side in sides if side in options.side and work in options.work)


def seconds_of(work, options):
    """What one side of a line is said to take."""
    return LINES[work].quick if options.quick else LINES[work].seconds


def planned(options):
    """Rows of line, sides, repeats and seconds of what these options ask for; the last is the whole."""
    rows, whole = [], BETWEEN[options.quick] * options.repeats
    for work in WORK:
        line, sides = LINES[work], sides_of(work, options)
        turns = min(line.turns or options.repeats, options.repeats)
        seconds = seconds_of(work, options) * len(sides) * turns
        if sides:
            rows.append((", ".join([work, *WITH[work]]), " ".join(sides), turns, seconds))
            whole += seconds
    return [*rows, ("all, with brokers started and warmed", "", options.repeats, whole)]


def turned(sides, number):
    """The order in which sides take turns begins with another side in each repeat."""
    at = number % len(sides) if sides else 0
    return sides[at:] + sides[:at]
