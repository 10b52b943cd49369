"""What the application tests are made of: a broker that can be killed, programs and their output, one runner of tests."""

import os
import re
import signal
import socket
import subprocess
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.environ.get("RINGLOG_TESTS_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "ringlog-tests"
)

# What JVMs log besides what each program asks for; None: no more than that.
LOG_LEVEL = None


class Skipped(Exception):
    """This test needs what this run does not have."""


def shell(script):
    """What `script` prints, with the functions of tests/lib.sh at hand."""
    done = subprocess.run(["bash", "-c", f". '{HERE}/../lib.sh'; {script}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise AssertionError(f"{script}: {done.stderr.strip()[-400:]}")
    return done.stdout.strip()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(what, condition, seconds=30, pause=0.1):
    """Polls until `condition` is true and returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(pause)


def same(got, wanted, what="value"):
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r:.300}, wanted {wanted!r:.300}")


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Program:
    """A process of its own session whose output goes to a file."""

    all = []

    def __init__(self, name, command, log, **more):
        self.name, self.log = name, log
        with open(log, "ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True, **more)
        Program.all.append(self)

    def output(self):
        with open(self.log, errors="replace") as file:
            return file.read()

    def running(self):
        return self.process.poll() is None

    def tail(self):
        lines = [line for line in self.output().splitlines() if line.strip() and not re.match(r"\s+at |\s*\.\.\. ", line)]
        return " | ".join(lines[-3:])[-500:]

    def wait_for(self, pattern, seconds=60):
        """Until the output shows `pattern`; the match."""

        def found():
            match = re.search(pattern, self.output())
            if not match and not self.running():
                raise AssertionError(f"{self.name} ended ({self.process.returncode}) without {pattern!r}: {self.tail()}")
            return match

        return until(lambda: f"{self.name} prints {pattern!r} (last: {self.tail()})", found, seconds, 0.2)

    def wait(self, seconds=60, status=0):
        """Until the process ends by itself, with `status` unless that is None; its output."""
        try:
            ended = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} has not ended within {seconds} s: {self.tail()}") from None
        if status is not None and ended != status:
            raise AssertionError(f"{self.name} ended with status {ended}: {self.tail()}")
        return self.output()

    def signal(self, number):
        if self.running():
            os.killpg(self.process.pid, number)

    def kill9(self):
        self.signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, seconds=30):
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill9()

    @classmethod
    def end_all(cls, but=()):
        for program in cls.all:
            if program not in but:
                program.kill9()
        cls.all = list(but)


class Broker:
    """One broker: either somebody else's at `bootstrap`, or one that `command DIR PORT` runs in the foreground."""

    def __init__(self, work, bootstrap=None, command=None):
        self.work, self.command, self.program = work, command, None
        self.port = int(bootstrap.rpartition(":")[2]) if bootstrap else free_port()
        self.bootstrap = bootstrap or f"127.0.0.1:{self.port}"
        if command:
            self.start()

    def start(self):
        self.program = Program("the broker", [*self.command, f"{self.work}/broker", str(self.port)], f"{self.work}/broker.log")
        self._up()

    def _up(self):
        until(lambda: f"the broker is up ({self.program.tail()})", lambda: accepts(self.port) or not self.program.running(), 60, 0.05)
        if not self.program.running():
            raise AssertionError(f"the broker does not start: {self.program.tail()}")

    def kill9(self):
        """Kills the broker as a crash would and starts it again on what it left."""
        if not self.command:
            raise Skipped("needs a broker that it may kill (--broker)")
        self.program.kill9()
        self.start()

    def may_be_killed(self):
        if not self.command:
            raise Skipped("needs a broker that it may kill (--broker)")


class Lab:
    """What one program's tests share: broker, a directory, class paths."""

    def __init__(self, work, scale, bootstrap, command):
        os.makedirs(work)
        self.work, self.scale = work, scale
        self.broker = Broker(work, bootstrap, command)
        self.bootstrap = self.broker.bootstrap
        self.serial = 0
        self._tools = None

    def fresh(self, label):
        self.serial += 1
        return f"{label}-{os.getpid()}-{self.serial}"

    def file(self, name, text=""):
        path = f"{self.work}/{name}"
        with open(path, "w") as file:
            file.write(text)
        return path

    def properties(self, name, **values):
        return self.file(name, "".join(f"{key.replace('_', '.')}={value}\n" for key, value in values.items()))

    def java(self, main, *arguments, name=None, classpath=None, memory="256m", quiet=True, **more):
        """Starts a JVM; `main`'s last word names the program unless `name` does."""
        name = name or main.rpartition(".")[2]
        self.serial += 1
        level = LOG_LEVEL or ("off" if quiet else "warn")
        command = ["java", f"-Xmx{memory}", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", f"-Dorg.slf4j.simpleLogger.defaultLogLevel={level}",
                   "-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
                   "-cp", classpath or apps_classpath(), main, *map(str, arguments)]
        return Program(name, command, f"{self.work}/{name}-{self.serial}.log", **more)

    @property
    def tools(self):
        if self._tools is None:
            self._tools = Tools(self)
        return self._tools

    def create(self, label, partitions=1, **configs):
        topic = self.fresh(label)
        self.create_named(partitions, topic, **configs)
        return topic

    def create_named(self, partitions, *topics, **configs):
        more = [word for key, value in configs.items() for word in ("--config", f"{key.replace('_', '.')}={value}")]
        for topic in topics:
            self.tools("TopicCommand", "--create", "--topic", topic, "--partitions", partitions, *more)

    def wait_for_records(self, topic, count, seconds=60):
        """Until the topic's ends add up to `count` at least."""
        ends = lambda: sum(int(line.split(":")[2] or 0) for line in self.tools("GetOffsetShell", "--topic", topic, status=None).splitlines() if line.startswith(f"{topic}:"))
        until(lambda: f"{count} records in {topic} ({ends()})", lambda: ends() >= count, seconds, 0.3)

    def end(self):
        if self._tools:
            self._tools.process.kill()
            self._tools.process.wait()
        Program.end_all()


_classpaths = {}


def apps_classpath(version="4.3.1"):
    """Kafka's artifacts of `version`, with our own Java programs where they are compiled against it."""
    if version not in _classpaths:
        pom = f"{HERE}/java/pom.xml"
        if version == "4.3.1":
            sources = " ".join(f"'{HERE}/java/{name}'" for name in sorted(os.listdir(f"{HERE}/java")) if name.endswith(".java"))
            _classpaths[version] = shell(f"cp=$(maven_classpath apps '{pom}') && java_build_with \"$cp\" apps {sources}")
        else:
            _classpaths[version] = shell(f"maven_classpath apps-{version} '{pom}' -Dkafka.version={version}")
    return _classpaths[version]


class Tools:
    """Kafka's command line tools, run one after the other in one JVM (java/ToolShell.java), for a JVM's start takes longer than what they do."""

    LONG = {"ConfigCommand": "kafka.admin.ConfigCommand", "ConsumerGroupCommand": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
            "ConsoleConsumer": "org.apache.kafka.tools.consumer.ConsoleConsumer", "DumpLogSegments": "org.apache.kafka.tools.DumpLogSegments"}
    NO_BOOTSTRAP = ("DumpLogSegments", "VerifiableProducer", "ProducerPerformance")

    def __init__(self, lab):
        self.bootstrap = lab.bootstrap
        command = ["java", "-Xmx384m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=off",
                   "-cp", apps_classpath(), "ToolShell"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True)

    def __call__(self, tool, *arguments, status=0):
        """Runs `tool` with the bootstrap server; what it printed. `status` None: however it ends."""
        main = self.LONG.get(tool, f"org.apache.kafka.tools.{tool}")
        words = [main, *([] if tool in self.NO_BOOTSTRAP else ["--bootstrap-server", self.bootstrap]), *map(str, arguments)]
        self.process.stdin.write("\t".join(words) + "\n")
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line.startswith("\x01"):
                ended = int(line[1:])
                break
            lines.append(line)
        else:
            raise AssertionError(f"{tool}: the JVM ended: {''.join(lines)[-300:]}")
        out = "".join(lines)
        if status is not None and (ended == 0) != (status == 0):
            raise AssertionError(f"{tool} {' '.join(map(str, arguments))}: status {ended}: {out.strip()[-400:]}")
        return out


class Suite:
    """The tests of one program: functions under @test, each given the lab; all on one broker or, `broker_each`, one each."""

    def __init__(self, name, broker_each=False):
        self.name, self.broker_each, self.tests = name, broker_each, []

    def test(self, seconds=120):
        def add(function):
            self.tests.append((function, seconds))
            return function

        return add

    def run(self, make_lab, wanted, report):
        lab = None
        for function, seconds in self.tests:
            if wanted and function.__name__ not in wanted:
                continue
            try:
                if lab and self.broker_each:
                    lab.end()
                    lab = None
                lab = lab or make_lab()
            except Exception as error:  # the broker or the fetching failed: one finding, and the next program goes on
                report("FAIL", f"{self.name} {function.__name__}: {one_line(error)}")
                continue
            self.one(lab, function, seconds * max(1, lab.scale), report)
            if lab.broker.program and not self.healthy(lab, function, report):
                lab.end()
                lab = None
        if lab:
            lab.end()

    def healthy(self, lab, function, report):
        """A broker that went down or panicked fails the test, whatever the test saw of it."""
        broker = lab.broker.program
        panic = re.search(r"[^\n]*panicked[^\n]*\n?[^\n]*", broker.output())
        if panic or not broker.running():
            report("FAIL", f"{self.name} {function.__name__}: the broker {'panicked' if panic else 'is gone'}: {panic[0] if panic else broker.tail()}")
        return broker.running() and not panic

    def one(self, lab, function, seconds, report):
        def too_long(_signal, _frame):
            raise TimeoutError(f"no end after {seconds} s")

        signal.signal(signal.SIGALRM, too_long)
        signal.alarm(int(seconds))
        began = time.monotonic()
        say = lambda word, more: report(word, f"{self.name} {function.__name__}{more}")
        try:
            # A test that ran tests of somebody else's says what became of each.
            theirs = function(lab) or []
            for name, why in theirs:
                report("FAIL" if why else "ok", f"{self.name} {name}{f': {why}' if why else ''}")
            say("ok", f" ({time.monotonic() - began:.0f} s)")
        except Skipped as why:
            say("skip", f": {why}")
        except Exception as error:  # every failure is a finding, none ends the run
            if os.environ.get("TRACE"):
                traceback.print_exc()
            say("FAIL", f": {one_line(error)}")
        finally:
            signal.alarm(0)
            Program.end_all([lab.broker.program] if lab.broker.program else [])


def one_line(error):
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:600]

