"""Kafka Connect: a file is read into a topic and out into another, by one standalone worker and by two distributed ones.

The distributed workers write their source exactly once (KIP-618); the one that reads the file is killed -9 in the middle and the
other takes over: every line is in the topic once and in order. The sink may write lines again that it had written (it is at
least once by design) only where its own worker was killed.
"""

import json
import time
import urllib.error
import urllib.request

from lab import Suite, free_port, same, until

suite = Suite("connect")
CLI = "org.apache.kafka.connect.cli."
# Scanning the class path for plugins would take longer than the copying.
WORKER = {"key.converter": "org.apache.kafka.connect.storage.StringConverter", "value.converter": "org.apache.kafka.connect.storage.StringConverter",
          "plugin.discovery": "service_load", "offset.flush.interval.ms": 1000}
SOURCE = "org.apache.kafka.connect.file.FileStreamSourceConnector"
SINK = "org.apache.kafka.connect.file.FileStreamSinkConnector"


def settings(lab, name, values):
    return lab.file(name, "".join(f"{key}={value}\n" for key, value in values.items()))


def lines(first, count):
    return [f"line {n} of some text" for n in range(first, first + count)]


def append(path, more):
    with open(path, "a") as file:
        file.write("".join(f"{line}\n" for line in more))


def read(path):
    try:
        with open(path) as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


@suite.test(120)
def a_standalone_worker_copies_a_file(lab):
    topic, source, sink = lab.create("connect-file", 1), lab.file("standalone.in"), f"{lab.work}/standalone.out"
    wanted = lines(0, 2000)
    append(source, wanted)
    worker = settings(lab, "standalone.properties", {"bootstrap.servers": lab.bootstrap, **WORKER, "offset.storage.file.filename": f"{lab.work}/offsets",
                                                     "listeners": f"http://127.0.0.1:{free_port()}"})
    reads = settings(lab, "source.properties", {"name": "reads", "connector.class": SOURCE, "tasks.max": 1, "file": source, "topic": topic})
    writes = settings(lab, "sink.properties", {"name": "writes", "connector.class": SINK, "tasks.max": 1, "file": sink, "topics": topic})
    run = lambda: lab.java(CLI + "ConnectStandalone", worker, reads, writes, memory="384m")
    first = run()
    until(lambda: f"the first lines are copied ({len(read(sink))})", lambda: len(read(sink)) >= len(wanted), 60)
    # A second life goes on where the first ended.
    first.stop()
    append(source, lines(2000, 1000))
    wanted += lines(2000, 1000)
    second = run()
    until(lambda: f"all lines are copied ({len(read(sink))})", lambda: len(read(sink)) >= len(wanted), 60)
    second.stop()
    same(read(sink) == wanted, True, "the files are equal")


class Workers:
    """Distributed workers of one Connect cluster, asked by REST."""

    def __init__(self, lab, group, count):
        self.lab = lab
        self.ports = [free_port() for _ in range(count)]
        self.programs = {}
        for number, port in enumerate(self.ports):
            path = settings(lab, f"{group}-{number}.properties", {
                "bootstrap.servers": lab.bootstrap, "group.id": group, **WORKER, "listeners": f"http://127.0.0.1:{port}",
                "config.storage.topic": f"{group}-configs", "offset.storage.topic": f"{group}-offsets", "status.storage.topic": f"{group}-status",
                "config.storage.replication.factor": 1, "offset.storage.replication.factor": 1, "status.storage.replication.factor": 1,
                "exactly.once.source.support": "enabled", "scheduled.rebalance.max.delay.ms": 2000,
                "session.timeout.ms": 6000, "heartbeat.interval.ms": 1000, "rebalance.timeout.ms": 10000,
                "rest.advertised.host.name": "127.0.0.1", "rest.advertised.port": port})
            self.programs[f"127.0.0.1:{port}"] = lab.java(CLI + "ConnectDistributed", path, name=f"worker-{number}", memory="384m")
        # One that joins later would take tasks over in the middle of what a test does.
        for worker in self.programs:
            until(f"{worker} is one of the cluster", lambda: self.answer(worker, "/health"), 120, 0.5)

    @staticmethod
    def answer(worker, path, body=None, method=None):
        """What `worker` says to one request, None where it does not."""
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(f"http://{worker}{path}", data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.load(answer)
        except (urllib.error.URLError, OSError, ValueError):
            return None

    def ask(self, path, body=None, method=None):
        """JSON from any worker that answers, None while none does."""
        running = (worker for worker, program in self.programs.items() if program.running())
        answers = (self.answer(worker, path, body, method or (body and "PUT")) for worker in running)
        return next((answer for answer in answers if answer is not None), None)

    def create(self, name, config):
        until(f"the connector {name} is made", lambda: self.ask(f"/connectors/{name}/config", config), 90, 1)

    def task_of(self, name):
        """The worker that runs the connector's task, None while none does. A task that has failed is started again, as operators
        do: one whose worker cannot ask a dead leader to fence its predecessor fails for good."""
        tasks = (self.ask(f"/connectors/{name}/status") or {}).get("tasks") or []
        if any(task["state"] == "FAILED" for task in tasks):
            self.ask(f"/connectors/{name}/restart?includeTasks=true&onlyFailed=true", method="POST")
        return next((task["worker_id"] for task in tasks if task["state"] == "RUNNING"), None)


@suite.test(240)
def distributed_workers_take_over_exactly_once(lab):
    topic, source, sink = lab.create("connect-once", 1), lab.file("once.in"), f"{lab.work}/once.out"
    each = 20_000 if lab.scale > 1 else 2000
    wanted = lines(0, each)
    append(source, wanted)
    workers = Workers(lab, lab.fresh("connect"), 2)
    workers.create("reads", {"connector.class": SOURCE, "tasks.max": "1", "file": source, "topic": topic, "transaction.boundary": "poll", "batch.size": "100"})
    workers.create("writes", {"connector.class": SINK, "tasks.max": "1", "file": sink, "topics": topic, "consumer.override.isolation.level": "read_committed", "consumer.override.session.timeout.ms": 6000})
    until(lambda: f"the first lines are copied ({len(read(sink))})", lambda: workers.task_of("reads") and len(read(sink)) >= each, 120, 0.5)
    reader, writer = (until(f"{name} runs", lambda: workers.task_of(name)) for name in ("reads", "writes"))
    # Lines are on their way while the worker dies.
    for n in range(1, 11):
        more = lines(n * each, each)
        append(source, more)
        wanted += more
        if n == 5:
            workers.programs[reader].kill9()
        time.sleep(0.2)
    until("the other worker reads on", lambda: workers.task_of("reads") not in (None, reader), 60, 0.5)
    tasks = lambda: ", ".join(f"{name} {workers.ask(f'/connectors/{name}/status')}" for name in ("reads", "writes"))
    run_on = lambda: all([workers.task_of("reads"), workers.task_of("writes")]) and len(set(read(sink))) >= len(wanted)
    until(lambda: f"all lines are copied ({len(set(read(sink)))} of {len(wanted)}; {tasks()})", run_on, 90, 0.5)
    in_topic = lab.tools("ConsoleConsumer", "--topic", topic, "--from-beginning", "--timeout-ms", 4000, "--command-property", "isolation.level=read_committed").splitlines()
    in_topic = [line for line in in_topic if line.startswith("line ")]
    same(in_topic == wanted, True, f"every line is in the topic once and in order ({len(in_topic)} of {len(wanted)})")
    if writer != reader:
        same(read(sink) == wanted, True, "the files are equal")
    same(sorted(set(read(sink))) == sorted(wanted), True, "the file written has every line")


@suite.test(180)
def distributed_workers_survive_the_broker(lab):
    lab.broker.may_be_killed()
    topic, source, sink = lab.create("connect-crash", 1), lab.file("crash.in"), f"{lab.work}/crash.out"
    wanted = lines(0, 1000)
    append(source, wanted)
    workers = Workers(lab, lab.fresh("connect"), 1)
    workers.create("reads", {"connector.class": SOURCE, "tasks.max": "1", "file": source, "topic": topic, "transaction.boundary": "poll", "batch.size": "100"})
    workers.create("writes", {"connector.class": SINK, "tasks.max": "1", "file": sink, "topics": topic, "consumer.override.isolation.level": "read_committed", "consumer.override.session.timeout.ms": 6000})
    until("the first lines are copied", lambda: workers.task_of("reads") and len(read(sink)) >= 1000, 120, 0.5)
    lab.broker.kill9()
    append(source, lines(1000, 1000))
    wanted += lines(1000, 1000)
    until(lambda: f"all lines are copied ({len(read(sink))})", lambda: workers.task_of("reads") and len(read(sink)) >= len(wanted), 120, 0.5)
    in_topic = lab.tools("ConsoleConsumer", "--topic", topic, "--from-beginning", "--timeout-ms", 4000, "--command-property", "isolation.level=read_committed").splitlines()
    same([line for line in in_topic if line.startswith("line ")] == wanted, True, "every line is in the topic once and in order")
