"""Kafka's own command line tools on groups, offsets and transactions: ConsumerGroupCommand, ConsoleConsumer with the formatters
of the internal topics, TransactionsCommand, ConsumerPerformance. Expectations are what they print of Apache Kafka itself."""

import datetime
import json
import subprocess
import time

from lab import Suite, same, until

suite = Suite("commands")
FORMATTERS = "org.apache.kafka.tools.consumer."


def groups(lab, *arguments, **more):
    return lab.tools("ConsumerGroupCommand", *arguments, **more)


def fill(lab, topic, count, partition=0, **settings):
    words = [word for key, value in settings.items() for word in ("-X", f"{key.replace('_', '.')}={value}")]
    text = "".join(f"k{n}:value {n}\n" for n in range(count))
    subprocess.run(["kcat", "-b", lab.bootstrap, "-P", "-t", topic, "-p", str(partition), "-K:", *words], input=text, text=True, check=True, timeout=30)


def consume(lab, topic, group, count):
    """Reads `count` records as a member of `group`, commits and leaves."""
    lab.tools("ConsoleConsumer", "--topic", topic, "--group", group, "--from-beginning", "--max-messages", count, "--timeout-ms", 15000)


def rows(shown):
    """The table that a tool printed, as dictionaries."""
    found, head = [], None
    for line in shown.splitlines():
        words = line.split()
        if not words:
            head = None
        elif head is None and words[0].isupper():
            head = words
        elif head:
            found.append(dict(zip(head, words)))
    return found


def offsets(lab, group):
    """(topic, partition) to (committed, end, lag)."""
    shown = groups(lab, "--describe", "--group", group)
    return {(row["TOPIC"], int(row["PARTITION"])): (row["CURRENT-OFFSET"], row["LOG-END-OFFSET"], row["LAG"]) for row in rows(shown) if row.get("GROUP") == group}


def member(lab, topic, group, protocol, instance=None):
    more = ["--group-instance-id", instance] if instance else []
    # The tool sends a classic member's session time-out of 30 s by default, but the other protocol refuses any.
    program = lab.java("org.apache.kafka.tools.VerifiableConsumer", "--bootstrap-server", lab.bootstrap, "--topic", topic, "--group-id", group, "--group-protocol", protocol,
                       *more, name=f"member-{protocol.lower()}")
    program.wait_for("partitions_assigned", 60)
    return program


@suite.test()
def groups_are_listed_by_state_and_type(lab):
    topic, idle = lab.create("list", 2), lab.fresh("idle")
    fill(lab, topic, 10)
    consume(lab, topic, idle, 5)
    classic, consumer = lab.fresh("classic"), lab.fresh("consumer")
    one, two = member(lab, topic, classic, "CLASSIC"), member(lab, topic, consumer, "CONSUMER")
    listed = groups(lab, "--list").split()
    same({idle, classic, consumer} <= set(listed), True, "all three are listed")
    state = {row["GROUP"]: (row["TYPE"], row["STATE"]) for row in rows(groups(lab, "--list", "--state", "--type"))}
    same((state[idle], state[classic], state[consumer]), (("Classic", "Empty"), ("Classic", "Stable"), ("Consumer", "Stable")), "type and state")
    stable = groups(lab, "--list", "--state", "stable")
    same((classic in stable, idle in stable), (True, False), "stable ones")
    by_type = groups(lab, "--list", "--type", "consumer")
    same((consumer in by_type, classic in by_type), (True, False), "those of the new protocol")
    for program in (one, two):
        program.stop()
    until("all are empty", lambda: {idle, classic, consumer} <= {row["GROUP"] for row in rows(groups(lab, "--list", "--state", "empty"))})


@suite.test()
def groups_are_described_with_members_and_state(lab):
    for protocol, assignor in (("CLASSIC", "range"), ("CONSUMER", "uniform")):
        topic, group = lab.create("describe", 3), lab.fresh("described")
        fill(lab, topic, 30)
        program = member(lab, topic, group, protocol)
        until("all is committed", lambda: offsets(lab, group).get((topic, 0)) == ("30", "30", "0"), 30, 0.5)
        described = [row for row in rows(groups(lab, "--describe", "--group", group)) if row.get("GROUP") == group]
        same([row["PARTITION"] for row in described], ["0", "1", "2"], "partitions")
        same(len({row["CONSUMER-ID"] for row in described}), 1, "one member has them all")
        same({row["HOST"] for row in described}, {"/127.0.0.1"}, "its host")
        members = [row for row in rows(groups(lab, "--describe", "--group", group, "--members")) if row.get("GROUP") == group]
        same([row["#PARTITIONS"] for row in members], ["3"], "its partitions")
        verbose = groups(lab, "--describe", "--group", group, "--members", "--verbose")
        same(f"{topic}:0,1,2" in verbose, True, f"assignment in {verbose.split()[-12:]}")
        state = [row for row in rows(groups(lab, "--describe", "--group", group, "--state")) if row.get("GROUP") == group]
        shown = groups(lab, "--describe", "--group", group, "--state").splitlines()[-1].split() if not state else list(state[0].values())
        same(("Stable" in shown, assignor in shown, shown[-1]), (True, True, "1"), f"state {shown}")
        refused = groups(lab, "--delete", "--group", group, status=None)
        same("NotEmpty" in refused, True, f"deleting it: {refused}")
        refused = groups(lab, "--reset-offsets", "--group", group, "--all-topics", "--to-earliest", "--execute", status=None)
        same("inactive" in refused, True, f"resetting it: {refused}")
        refused = groups(lab, "--delete-offsets", "--group", group, "--topic", topic, status=None)
        same("subscribed" in refused.lower(), True, f"deleting its offsets: {refused}")
        program.stop()
    missing = groups(lab, "--describe", "--group", lab.fresh("missing"), status=None)
    same("not found" in missing, True, f"a missing group: {missing}")


@suite.test()
def offsets_are_reset_in_every_way(lab):
    topic, group = lab.create("reset", 2), lab.fresh("reset")
    fill(lab, topic, 60)
    time.sleep(0.1)
    between = datetime.datetime.now(datetime.timezone.utc)
    time.sleep(0.1)
    fill(lab, topic, 40)
    fill(lab, topic, 20, partition=1)
    consume(lab, topic, group, 110)
    after = {row: offsets(lab, group)[(topic, row)][0] for row in (0, 1)}

    def reset(*how, scope=("--all-topics",), wanted):
        planned = rows(groups(lab, "--reset-offsets", "--group", group, *scope, *how, "--dry-run"))
        same({int(row["PARTITION"]): row["NEW-OFFSET"] for row in planned}, wanted, f"plan of {how}")
        groups(lab, "--reset-offsets", "--group", group, *scope, *how, "--execute")
        now = offsets(lab, group)
        same({partition: now[(topic, partition)][0] for partition in wanted}, wanted, f"outcome of {how}")

    same(offsets(lab, group)[(topic, 0)][1:], ("100", str(100 - int(after[0]))), "end and lag")
    reset("--to-earliest", wanted={0: "0", 1: "0"})
    reset("--to-latest", wanted={0: "100", 1: "20"})
    reset("--to-offset", "15", wanted={0: "15", 1: "15"})
    reset("--shift-by", "-5", wanted={0: "10", 1: "10"})
    reset("--shift-by", "1000", wanted={0: "100", 1: "20"})
    reset("--shift-by", "-1000", wanted={0: "0", 1: "0"})
    reset("--to-datetime", between.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3], scope=("--topic", f"{topic}:0"), wanted={0: "60"})
    reset("--to-current", wanted={0: "60", 1: "0"})
    reset("--by-duration", "PT1H", wanted={0: "0", 1: "0"})
    reset("--by-duration", "PT0S", wanted={0: "100", 1: "20"})
    reset("--to-offset", "7", scope=("--topic", f"{topic}:1"), wanted={1: "7"})
    plan = groups(lab, "--reset-offsets", "--group", group, "--all-topics", "--to-current", "--export", "--dry-run")
    same(sorted(plan.split()), [f'"{topic}",0,100', f'"{topic}",1,7'] if '"' in plan else [f"{topic},0,100", f"{topic},1,7"], "export")
    reset("--from-file", lab.file("plan.csv", f"{topic},0,33\n{topic},1,3\n"), scope=(), wanted={0: "33", 1: "3"})
    # A group that does not exist yet is made by being given offsets.
    groups(lab, "--reset-offsets", "--group", fresh := lab.fresh("made"), "--topic", topic, "--to-earliest", "--execute")
    same(offsets(lab, fresh)[(topic, 0)], ("0", "100", "100"), "a new group")


@suite.test()
def groups_and_offsets_are_deleted(lab):
    topic, other, group = lab.create("deleted", 2), lab.create("gone"), lab.fresh("deleted")
    for name, partition in ((topic, 0), (topic, 1), (other, 0)):
        fill(lab, name, 10, partition)
    consume(lab, topic, group, 20)
    consume(lab, other, group, 10)
    same(sorted(offsets(lab, group)), sorted([(topic, 0), (topic, 1), (other, 0)]), "offsets at first")
    shown = groups(lab, "--delete-offsets", "--group", group, "--topic", f"{topic}:0")
    same("Successful" in shown, True, shown)
    same(sorted(offsets(lab, group)), sorted([(topic, 1), (other, 0)]), "offsets left")
    # Offsets go with their topic.
    lab.tools("TopicCommand", "--delete", "--topic", other)
    until("the deleted topic's offsets are gone", lambda: list(offsets(lab, group)) == [(topic, 1)], 20, 0.5)
    shown = groups(lab, "--delete", "--group", group)
    same("successful" in shown, True, shown)
    same(group in groups(lab, "--list").split(), False, "listed")
    missing = groups(lab, "--delete", "--group", group, status=None)
    same("GroupIdNotFound" in missing, True, f"deleted twice: {missing}")


@suite.test()
def formatters_read_the_internal_topics(lab):
    topic, group, ident = lab.create("formats"), lab.fresh("formats"), lab.fresh("formats-id")
    fill(lab, topic, 25)
    consume(lab, topic, group, 25)
    transact(lab, topic, ident, 3)
    read = lambda internal, formatter: objects(lab.tools("ConsoleConsumer", "--topic", internal, "--from-beginning", "--formatter", FORMATTERS + formatter,
                                                         "--timeout-ms", 3000, "--command-property", "exclude.internal.topics=false"))
    commits = [record for record in read("__consumer_offsets", "OffsetsMessageFormatter") if record["key"]["data"]["group"] == group]
    same([(r["key"]["data"]["topic"], r["key"]["data"]["partition"], r["value"]["data"]["offset"]) for r in commits][-1:], [(topic, 0, 25)], "the commit")
    states = [record["value"]["data"] for record in read("__consumer_offsets", "GroupMetadataMessageFormatter") if record["value"] and record["key"]["data"]["group"] == group]
    # Once with its member, at last without.
    same(("consumer", 1) in [(state["protocolType"], len(state["members"])) for state in states], True, f"a member among {len(states)} records of the group")
    same(states[-1]["members"], [], "members at last")
    steps = [record["value"]["data"] for record in read("__transaction_state", "TransactionLogMessageFormatter") if record["key"]["data"]["transactionalId"] == ident]
    # Empty, Ongoing, PrepareCommit, CompleteCommit, as Kafka numbers them.
    status = [step["transactionStatus"] for step in steps]
    same((status[0], 1 in status, 2 in status, status[-1]), (0, True, True, 4), f"states {status}")
    ongoing = next(step for step in steps if step["transactionStatus"] == 1)
    same(ongoing["transactionPartitions"], [{"topic": topic, "partitionIds": [0]}], "partitions")


def objects(shown):
    """The JSON objects that a formatter printed, which are not always a line each."""
    found, decoder, at = [], json.JSONDecoder(), shown.find("{")
    while at >= 0:
        try:
            record, end = decoder.raw_decode(shown, at)
            found.append(record)
        except ValueError:
            end = at + 1
        at = shown.find("{", end)
    return found


def transact(lab, topic, ident, count):
    """A transaction of `count` records, by ProducerPerformance."""
    lab.tools("ProducerPerformance", "--topic", topic, "--num-records", count, "--record-size", 20, "--throughput", -1, "--transactional-id", ident,
              "--transaction-duration-ms", 1000, "--command-property", f"bootstrap.servers={lab.bootstrap}")


def transactions(lab, *arguments, **more):
    return lab.tools("TransactionsCommand", *arguments, **more)


def committed_end(lab, topic):
    """Records that a read-committed reader may see."""
    shown = lab.tools("ConsoleConsumer", "--topic", topic, "--from-beginning", "--timeout-ms", 2500, "--command-property", "isolation.level=read_committed")
    return [line for line in shown.splitlines() if line.startswith(("value", "in a"))]


@suite.test()
def transactions_are_listed_described_and_aborted(lab):
    topic, ident = lab.create("transactions"), lab.fresh("open")
    fill(lab, topic, 3)
    program = lab.java("Transactions", "open", lab.bootstrap, topic, ident)
    program.wait_for("OPEN")
    fill(lab, topic, 2)
    listed = next(row for row in rows_of(transactions(lab, "list")) if row["TransactionalId"] == ident)
    same(listed["TransactionState"], "Ongoing", "state")
    same([row["TransactionalId"] for row in rows_of(transactions(lab, "list", "--transactional-id-pattern", f"{ident[:-1]}."))], [ident], "by pattern")
    same(ident in transactions(lab, "list", "--duration-filter", 600_000), False, "by duration")
    described = rows_of(transactions(lab, "describe", "--transactional-id", ident))[0]
    same((described["TransactionState"], described["TransactionTimeoutMs"], described["TopicPartitions"]), ("Ongoing", "600000", f"{topic}-0"), "described")
    producer = next(row for row in rows_of(transactions(lab, "describe-producers", "--topic", topic, "--partition", 0)) if row["CurrentTransactionStartOffset"] != "None")
    same((producer["CurrentTransactionStartOffset"], producer["ProducerId"]), ("3", listed["ProducerId"]), "the producer")
    same(len(committed_end(lab, topic)), 3, "records before the open transaction")
    # The coordinator knows of it: it does not hang.
    same(rows_of(transactions(lab, "find-hanging", "--topic", topic)), [], "hanging")
    transactions(lab, "abort", "--topic", topic, "--partition", 0, "--start-offset", 3)
    until("the readers go on", lambda: len(committed_end(lab, topic)) == 5, 20)
    program.kill9()
    missing = transactions(lab, "describe", "--transactional-id", lab.fresh("missing"), status=None)
    same("could not be found" in missing, True, f"missing: {missing[:300]}")


@suite.test()
def a_transaction_is_terminated_by_force(lab):
    topic, ident = lab.create("force"), lab.fresh("forced")
    program = lab.java("Transactions", "open", lab.bootstrap, topic, ident)
    program.wait_for("OPEN")
    transactions(lab, "forceTerminateTransaction", "--transactionalId", ident)
    until("it has ended", lambda: next(row for row in rows_of(transactions(lab, "list")) if row["TransactionalId"] == ident)["TransactionState"] != "Ongoing", 20)
    fill(lab, topic, 2)
    until("the readers go on", lambda: len(committed_end(lab, topic)) == 2, 20)
    program.kill9()


@suite.test()
def hanging_transactions_are_refused_or_found_and_aborted(lab):
    topic, ident = lab.create("hanging"), lab.fresh("hangs")
    verification = lambda on: lab.tools("ConfigCommand", "--alter", "--entity-type", "brokers", "--entity-default", "--add-config", f"transaction.partition.verification.enable={on}")
    # TRANSACTION_ABORTABLE: verification (KIP-890) finds that the coordinator knows of no such transaction.
    lab.java("Transactions", "hang", lab.bootstrap, topic, lab.fresh("refused")).wait_for("REFUSED 120")
    same(lab.tools("GetOffsetShell", "--topic", topic).strip(), f"{topic}:0:0", "nothing was appended")
    verification("false")
    try:
        time.sleep(0.5)
        lab.java("Transactions", "hang", lab.bootstrap, topic, ident).wait_for("HANGS")
    finally:
        verification("true")
    fill(lab, topic, 2)
    found = rows_of(transactions(lab, "find-hanging", "--topic", topic))
    same([(row["Topic"], row["Partition"], row["StartOffset"]) for row in found], [(topic, "0", "0")], "hanging")
    same(len(committed_end(lab, topic)), 0, "records that may be read")
    transactions(lab, "abort", "--topic", topic, "--partition", 0, "--start-offset", 0)
    until("the readers go on", lambda: len(committed_end(lab, topic)) == 2, 20)
    same(rows_of(transactions(lab, "find-hanging", "--topic", topic)), [], "hanging afterwards")


def rows_of(shown):
    """TransactionsCommand's table, whose columns are separated by tabs."""
    lines = [line for line in shown.splitlines() if "\t" in line]
    head = [word.strip() for word in lines[0].split("\t")] if lines else []
    return [dict(zip(head, (word.strip() for word in line.split("\t")))) for line in lines[1:]]


@suite.test()
def consumer_performance_reads_as_a_group(lab):
    topic = lab.create("performance", 4)
    count = 500_000 if lab.scale > 1 else 50_000
    lab.tools("ProducerPerformance", "--topic", topic, "--num-records", count, "--record-size", 100, "--throughput", -1, "--command-property", f"bootstrap.servers={lab.bootstrap}")
    for protocol in ("classic", "consumer"):
        group = lab.fresh(f"perf-{protocol}")
        shown = lab.tools("ConsumerPerformance", "--topic", topic, "--num-records", count, "--group", group, "--command-property", f"group.protocol={protocol}", "--command-property",
                          "auto.offset.reset=earliest")
        read = int(shown.splitlines()[-1].split(",")[4])
        same(read, count, f"records read: {shown}")
