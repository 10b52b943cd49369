"""Kafka's TransactionalMessageCopier: three of them in one group copy a topic in transactions, aborting at random, while the broker is killed.

VerifiableProducer writes the input before and a read-committed VerifiableConsumer reads the output: nothing is lost and nothing is
there twice. The copier judges nothing by itself.
"""

import collections
import json
import re
import time

from lab import Suite, same, until

suite = Suite("copier")


def events(program, name):
    found = []
    for line in program.output().splitlines():
        if line.startswith("{"):
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if event.get("name") == name:
                found.append(event)
    return found


def produce(lab, topic, count):
    producer = lab.java("org.apache.kafka.tools.VerifiableProducer", "--bootstrap-server", lab.bootstrap, "--topic", topic, "--max-messages", count)
    producer.wait(60)
    same(len(events(producer, "producer_send_success")), count, "records acknowledged")


def copier(lab, source, target, number, group, size):
    return lab.java("org.apache.kafka.tools.TransactionalMessageCopier", "--broker-list", lab.bootstrap, "--input-topic", source, "--input-partition", 0,
                    "--output-topic", target, "--max-messages", -1, "--consumer-group", group, "--transaction-size", size, "--transaction-timeout", 10000,
                    "--transactional-id", f"{group}-{number}", "--enable-random-aborts", "--group-mode", "--use-group-metadata", name=f"copier-{number}")


def progress(copiers):
    """Records that the copiers say they have copied, in this life of theirs."""
    return sum(int(match) for program in copiers for match in re.findall(r'"consumed":"?(\d+)', program.output())[-1:])


def read_committed(lab, topic, count, group):
    """Values of `topic` in the order read, until `count` have come and nothing follows."""
    settings = lab.properties("committed.properties", isolation_level="read_committed", auto_offset_reset="earliest")
    reader = lab.java("org.apache.kafka.tools.VerifiableConsumer", "--bootstrap-server", lab.bootstrap, "--topic", topic, "--group-id", group,
                      "--command-config", settings, "--verbose", name=f"reader-{group}")
    values = lambda: [event["value"] for event in events(reader, "record_data")]
    until(lambda: f"{count} records of {topic}", lambda: len(values()) >= count, 60, 0.5)
    time.sleep(2)
    found = values()
    reader.stop()
    return found


def nothing_lost_nothing_twice(found, count):
    twice = [value for value, times in collections.Counter(found).items() if times > 1]
    lost = {str(n) for n in range(count)} - set(found)
    if twice or lost:
        raise AssertionError(f"{len(lost)} lost ({sorted(lost)[:5]}), {len(twice)} twice ({twice[:5]}) of {count}")


def copy(lab, kills):
    count, size = (100_000, 500) if lab.scale > 1 else (10_000, 100)
    source, target, group = lab.create("copy-in", 3), lab.create("copy-out", 3), lab.fresh("copiers")
    produce(lab, source, count)
    copiers = [copier(lab, source, target, n, group, size) for n in range(3)]
    for _ in range(kills):
        before = progress(copiers)
        until("the copiers get on", lambda: progress(copiers) > before or not any(c.running() for c in copiers), 60)
        time.sleep(1)
        lab.broker.kill9()
    # One that ends because the broker went under it is started again, as whoever runs it would do.
    restarts = 0
    while any(c.running() for c in copiers) or remaining(lab, group):
        for n, program in enumerate(copiers):
            if not program.running() and program.process.returncode:
                restarts += 1
                if restarts > 10:
                    raise AssertionError(f"a copier ends again and again: {program.tail()}")
                copiers[n] = copier(lab, source, target, n, group, size)
        time.sleep(1)
    nothing_lost_nothing_twice(read_committed(lab, target, count, lab.fresh("readers")), count)


def remaining(lab, group):
    """The group's lag, summed."""
    shown = lab.tools("ConsumerGroupCommand", "--describe", "--group", group, status=None)
    lags = [line.split()[5] for line in shown.splitlines() if line.startswith(group)]
    return sum(int(lag) for lag in lags if lag.isdigit()) or (None if lags else 1)


@suite.test(180)
def three_copiers_with_random_aborts(lab):
    copy(lab, kills=0)


@suite.test(240)
def three_copiers_while_the_broker_is_killed(lab):
    lab.broker.may_be_killed()
    copy(lab, kills=3 * lab.scale)
