"""The sides of scripts/compare that are neither Kafka nor Ringlog, and the lines that all are measured on: each by its usual client."""

import glob
import os
import re
import shutil
import subprocess
import time

import perf

ROOT = perf.ROOT
HERE = f"{ROOT}/scripts/compare-others"
QUEUES = 6
ABOUT = {
    "rabbitmq": "rabbitmq: classic durable queues, persistent messages; confirms what its queues have persisted",
    "artemis": "artemis: its journal is synced before it answers (its default), for all that its sessions sent meanwhile",
    "nats": "nats: file storage; JetStream acknowledges from the page cache by default (sync_interval); its client is one Python thread, which may be what limits it",
}
ALIKE = ("lines by each side's own client: on all sides 6 threads or tasks, 1,000 messages in flight on each, every one acknowledged by itself; read back with a commit or "
         "an acknowledgement every 500 messages (nats: none); the processor time is that of writing and reading together; Kafka and Ringlog by Kafka's Java client as it comes")


class Group(perf.Broker):
    """A broker whose first process is a shell's: the whole group is stopped."""

    def __init__(self, command, port, log):
        super().__init__(["setsid", "--wait", *command], port, log)

    def stop(self):
        pid = listening(self.port)
        if pid:
            subprocess.run(["kill", str(pid)], stderr=subprocess.DEVNULL)
        super().stop()


class Others:
    """Part of Compare."""

    def other(self, side):
        server = {"rabbitmq": self.start_rabbit, "nats": self.start_nats, "artemis": self.start_artemis}[side]()
        if server is None:
            return
        broker, client = server
        try:
            self.queue_line(side, broker.port, listening(broker.port) or broker.process.pid, client)
            self.remark(ABOUT[side])
        finally:
            broker.stop()

    def topic_queues(self, broker, side):
        """The same of Kafka and Ringlog: a partition in the place of a queue."""
        topic = self.create(broker, QUEUES, side)
        classes = perf.shell(f"java_build compare-topics {HERE}/Queues.java {HERE}/Topics.java")
        self.queue_line(side, broker.port, broker.process.pid, [*java(classes), "Topics"], topic)
        self.drop(broker, topic)

    def queue_line(self, side, port, pid, client, *more):
        count = self.options.messages
        used, own, began = cpu(pid), perf.children_cpu(), time.monotonic()
        command = perf.pinned(self.options.client_cpus, [*client, str(port), str(QUEUES), str(count), "1024", *more])
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
        if done.returncode:
            raise SystemExit((done.stderr.strip() or done.stdout.strip())[-300:])
        seconds, used = time.monotonic() - began, cpu(pid) - used
        produced = list(map(float, re.search(r"produced (.*)", done.stdout)[1].split()))
        consumed = float(re.search(r"consumed (.*)", done.stdout)[1])
        self.note("queue-produce", side, {
            "records/s": count / produced[0], "p50 ms": produced[1], "p99 ms": produced[2], "p99.9 ms": produced[3], "CPU s per million": used / count * 1e6,
            "broker cores": used / seconds, "client cores": (perf.children_cpu() - own) / seconds, "MB resident": resident_mb(pid),
        })
        self.note("queue-consume", side, {"records/s": count / consumed})
        self.remark(ALIKE)

    def start_nats(self):
        if not (program := installed("nats-server", "nats-server")):
            return self.skipped("nats", "Debian's package nats-server cannot be installed here")
        try:
            python = perf.shell(f"venv=$CACHE/venv-compare; wanted={HERE}/requirements.txt; cmp -s $wanted $venv/requirements.txt || "
                                "{ python3 -m venv $venv && $venv/bin/pip install -q -r $wanted && cp $wanted $venv/; } >&2; echo $venv/bin/python")
            subprocess.run([python, "-c", "import nats"], check=True, stderr=subprocess.DEVNULL)
        except (subprocess.CalledProcessError, OSError):
            return self.skipped("nats", "its Python client, nats-py, cannot be installed here")
        port = perf.free_port()
        command = [program, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", f"{self.work}/nats"]
        return perf.Broker(perf.pinned(self.options.broker_cpus, command), port, self.log), [python, f"{HERE}/nats_bench.py"]

    def start_rabbit(self):
        if not installed("rabbitmq-server", "rabbitmq-server"):
            return self.skipped("rabbitmq", "Debian's package rabbitmq-server cannot be installed here")
        if not (classes := self.java_classes("rabbitmq")):
            return None
        port, directory = perf.free_port(), f"{self.work}/rabbitmq"
        os.makedirs(directory, exist_ok=True)
        with open(f"{directory}/rabbitmq.conf", "w") as file:
            file.write(f"listeners.tcp.1 = 127.0.0.1:{port}\nloopback_users = none\n")
        environment = {
            **os.environ, "HOME": directory, "RABBITMQ_NODENAME": f"compare{port}@localhost", "RABBITMQ_MNESIA_BASE": f"{directory}/mnesia",
            "RABBITMQ_LOG_BASE": f"{directory}/log", "RABBITMQ_CONFIG_FILE": f"{directory}/rabbitmq.conf", "RABBITMQ_DIST_PORT": str(perf.free_port()),
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{directory}/plugins", "RABBITMQ_PID_FILE": f"{directory}/pid", "ERL_EPMD_PORT": str(perf.free_port()),
        }
        program = next((p for p in ("/usr/lib/rabbitmq/bin/rabbitmq-server", shutil.which("rabbitmq-server")) if p and os.path.exists(p)), None)
        command = ["env", *(f"{name}={value}" for name, value in environment.items() if name.startswith(("RABBITMQ", "HOME", "ERL"))), program]
        return Group(perf.pinned(self.options.broker_cpus, command), port, self.log), [*java(classes), "Rabbit"]

    def start_artemis(self):
        if not (classes := self.java_classes("artemis")):
            return None
        port = perf.free_port()
        # As much memory as Kafka has.
        command = [*java(classes, "1g"), "Artemis", "broker", str(port), f"{self.work}/artemis"]
        return perf.Broker(perf.pinned(self.options.broker_cpus, command), port, self.log), [*java(classes), "Artemis"]

    def java_classes(self, side):
        sources = " ".join(f"{HERE}/{name}.java" for name in ("Queues", "Rabbit", "Artemis"))
        try:
            return perf.shell(f"cp=$(maven_classpath compare-others {HERE}/pom.xml) && java_build_with \"$cp\" compare-others {sources}")
        except subprocess.CalledProcessError:
            return self.skipped(side, "its artifacts cannot be fetched here")

    def skipped(self, side, why):
        self.remark(f"{side} is skipped: {why}")

    def others_versions(self):
        found, measured = {}, self.results.get("queue-produce", {})
        for side, program in (("rabbitmq", "rabbitmq-server"), ("nats", "nats-server")):
            if side in measured:
                done = subprocess.run(["dpkg-query", "-W", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                found[side] = done.stdout.strip().replace("\t", " ") or "unknown"
        if "artemis" in measured:
            found["artemis"] = re.search(r"artemis-server-([\d.]+)\.jar", self.java_classes("artemis"))[1]
        return found


def java(classes, heap="512m"):
    return ["java", f"-Xmx{heap}", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", classes]


def installed(program, package):
    """The path of a program of Debian's, installed where it is missing; nothing that starts at boot is started now."""
    found = shutil.which(program) or (f"/usr/sbin/{program}" if os.path.exists(f"/usr/sbin/{program}") else None)
    if not found:
        # Without a run level no script of a package starts its service.
        subprocess.run(["bash", "-c", f". {ROOT}/tests/lib.sh; RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive need_apt {program} {package}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        found = shutil.which(program) or (f"/usr/sbin/{program}" if os.path.exists(f"/usr/sbin/{program}") else None)
    return found


def listening(port):
    """The process that listens on a port of the loopback address."""
    inode = None
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in open(table).read().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inode = fields[9]
    for path in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            if inode and os.readlink(path) == f"socket:[{inode}]":
                return int(path.split("/")[2])
        except OSError:
            pass
    return None


def cpu(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / perf.TICKS


def resident_mb(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) / 1024
