"""What a run of scripts/compare tells of each performance target: what was asked, what was found, and how its form here is smaller."""

from report import medians

CPU = "CPU s per million"
RATE = "records/s"


class Targets:
    """Rows of target, what, asked, found and whether it is met; None where this run does not judge it."""

    def __init__(self, results, sizes, limits, cores, memory_budget):
        self.results, self.sizes, self.limits, self.cores, self.memory_budget = results, sizes, limits, cores, memory_budget
        self.rows = []

    def size(self, work):
        """How large a line of ours was."""
        return self.sizes.get((work, "ringlog"), "not run")

    def figure(self, work, side, name):
        runs = self.results.get(work, {}).get(side)
        return medians(runs).get(name) if runs else None

    def row(self, target, what, asked, value, shape, met):
        self.rows.append((target, what, asked, "not measured" if value is None else shape.format(value), None if value is None else met))

    def ratio(self, target, what, asked, of, to, inverse=False, judged=True):
        """`asked`: ≥ or ≤ and a number. `of`, `to`: line, side and figure."""
        a, b = self.figure(*of), self.figure(*to)
        value = (b / a if inverse else a / b) if a and b else None
        wanted = float(asked.split()[1]) if asked else 0
        met = None if value is None or not asked or not judged else value >= wanted if asked.startswith("≥") else value <= wanted
        self.row(target, what, f"{asked}×" if asked else "", value, "{:.2f}×", met)

    def below(self, target, what, of, wanted, unit):
        value = self.figure(*of)
        size = self.sizes.get(of[:2])
        self.row(target, f"{what}; here {size}" if size else what, f"< {wanted:g} {unit}", value, "{:.3g}", value is not None and value < wanted)

    def of_part(self, target, what, work, limit):
        """What part of a limit of the machine ours reads at."""
        value, whole = self.figure(work, "ringlog", "MB/s"), self.limits.get(limit)
        part = 100 * value / whole if value and whole else None
        what += f" ({value:,.0f} of {whole:,.0f} MB/s)" if part else ""
        self.row(target, what, "≥ 80 %", part, "{:.0f} %", part is not None and part >= 80)

    def all(self):
        self.produce()
        self.read_and_many()
        self.wires()
        return self.rows

    def produce(self):
        for work, what, asked in (("p1k", "records per broker CPU second, 1 KB, to Kafka's default", "≥ 4"), ("p1kbig", "the same, 1 KB, 128 KB batches", "≥ 4"),
                                  ("p100", "the same, 100 B, large batches", "≥ 6"), ("nobatch", "the same, 100 B unbatched, 100 partitions", "≥ 15")):
            self.ratio("P1", what, asked, (work, "ringlog", CPU), (work, "kafka", CPU), inverse=True)
        self.row("P1", "wall rate, part of the floor's: the floor (a program that only reads, checks and answers) is not measured by this script", "≥ 85 %", None, "", None)
        self.ratio("P2", "records/s without batching, durable both", "≥ 10", ("nobatch", "ringlog", RATE), ("nobatch", "kafka-durable", RATE))
        self.ratio("P2", "p99 of it", "≤ 0.1", ("nobatch", "ringlog", "p99 ms"), ("nobatch", "kafka-durable", "p99 ms"))
        cost = self.figure("load-many", "ringlog", CPU)
        self.row("P3", f"records per broker CPU second, 100 B unbatched, durable; the target is of 1,000 partitions; here {self.size('load-many')}", "≥ 100,000", 1e6 / cost if cost else None, "{:,.0f}", bool(cost) and 1e6 / cost >= 100_000)
        self.below("P3", "p99 of it", ("load-many", "ringlog", "p99 ms"), 20, "ms")
        for name, asked in (("p50", "≤ 0.5"), ("p99.9", "≤ 0.1")):
            self.ratio("P4", f"end-to-end {name} at 30 % load", asked, ("load-fixed", "ringlog", f"{name} ms"), ("load-fixed", "kafka", f"{name} ms"))

    def read_and_many(self):
        self.of_part("P5", "tail: what was just written, of the loopback's limit; one reader that checks every record of 1 KB, backlog: {}".format(self.size("read")), "read", "loopback")
        self.of_part("P5", "drain from disk, of the device's limit (full form: scripts/perf-log --work drain, 20 GB)", "drain", "device")
        self.ratio("P5", "produce p99 beside the drain, to that alone (full form: scripts/perf-log --work latency)", "≤ 1.2", ("beside", "ringlog", "p99 ms"), ("alone", "ringlog", "p99 ms"))
        self.ratio("P6", f"p99.9 of 50 producers ({self.size('many')}; retention deletes) to that of 4 on an empty disk; seconds, not hours "
                   "(full form: 400 producers, 10,000 partitions, scripts/perf-log --work drift)", "≤ 1.2", ("many", "ringlog", "p99.9 ms"), ("few", "ringlog", "p99.9 ms"))
        self.below("P7", "start after kill -9; the target is of 10,000 partitions and 100 GB (scripts/perf-log --work restart --scale 5)", ("restart-large", "ringlog", "seconds"), 2, "s")
        self.ratio("P7", "time of it, to that with less: never proportional to the log ({}, to {})".format(self.size("restart-large"), self.size("restart")), "",
                   ("restart-large", "ringlog", "seconds"), ("restart", "ringlog", "seconds"))
        self.below("P8", "start of an empty broker", ("start", "ringlog", "seconds"), 0.1, "s")
        self.below("P8", "resident memory, idle and empty", ("start", "ringlog", "MB resident"), 64, "MB and the cache's budget")
        self.below("P8", "cores used by 1,000 consumers that wait in Fetch; the target is of 10,000 partitions (scripts/perf-log --work idle)", ("idle", "ringlog", "broker cores"), 0.02, "cores")
        budget = self.memory_budget / 1e6 + 64
        self.below("P9", f"resident memory under idempotent producers and a slow consumer, memory.bytes={self.memory_budget >> 20} MiB; the target is of 4,000 producers and 1 M producer ids "
                   "(full form: cargo test --test cluster many_producers, scripts/perf-log --work memory)", ("memory", "ringlog", "MB resident"), round(budget), "MB")

    def wires(self):
        native = ("load-100", "ringlog-native")
        self.ratio("P10", "native wire to our Kafka wire: records per broker CPU second, 100 B", "≥ 2", (*native, CPU), ("load-100", "ringlog", CPU), inverse=True)
        self.ratio("P10", "the same: p99", "≤ 0.5", (*native, "p99 ms"), ("load-100", "ringlog", "p99 ms"))
        steered, hop = ("load-hop", "ringlog-native"), ("load-hop", "ringlog-native-hop")
        self.ratio("P10", "steered connections to hopping ones, two shards: records/s", "", (*steered, RATE), (*hop, RATE))
        self.ratio("P10", "the same: records per broker CPU second", "", (*steered, CPU), (*hop, CPU), inverse=True)
        one, two = ("load-shards", "ringlog-1-shard"), ("load-shards", "ringlog-2-shards")
        enough = self.cores >= 4
        caveat = "" if enough else "; not judged: with two cores the second shard has the client's core, and a machine with four is asked for"
        self.ratio("P11", f"two shards to one: records/s{caveat}", "≥ 1.8", (*two, RATE), (*one, RATE), judged=enough)
        self.ratio("P11", f"the same: records per broker CPU second{caveat}", "≥ 0.9", (*two, CPU), (*one, CPU), inverse=True, judged=enough)
