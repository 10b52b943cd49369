"""Kafka Streams' own system tests: StreamsSmokeTest with both guarantees and StreamsEosTest (whose last artifact is 4.2.0's).

Two instances run; one is killed -9 and replaced, then the broker is, while records are still being sent. Kafka's own
verifier judges: the smoke test's SUCCESS, the other's ALL-RECORDS-DELIVERED.
"""

import signal
import time

from lab import Suite, apps_classpath

# The names of topics and groups are Kafka's: each test has a broker of its own.
suite = Suite("streams", broker_each=True)
SMOKE = "org.apache.kafka.streams.tests.StreamsSmokeTest"
EOS = "org.apache.kafka.streams.tests.StreamsEosTest"


def instance(lab, main, name, guarantee, classpath=None, command="process"):
    lab.serial += 1
    settings = lab.properties(f"{name}-{lab.serial}.properties", bootstrap_servers=lab.bootstrap, processing_guarantee=guarantee, state_dir=f"{lab.work}/{name}",
                              group_protocol="classic", session_timeout_ms=6000, heartbeat_interval_ms=1000)
    return lab.java(main, settings, command, name=name, memory="384m", classpath=classpath)


def smoke(lab, guarantee, kill_broker):
    keys, records, seconds = (20, 1000, 90) if lab.scale > 1 else (10, 400, 20)
    driver = lab.java("SmokeDriver", lab.bootstrap, keys, records, seconds, guarantee, memory="384m")
    driver.wait_for("TOPICS CREATED")
    kept, killed = (instance(lab, SMOKE, name, guarantee) for name in ("smoke-a", "smoke-b"))
    kept.wait_for("-> RUNNING")
    killed.wait_for("-> RUNNING")
    time.sleep(seconds / 6)
    killed.kill9()
    if kill_broker:
        time.sleep(seconds / 6)
        lab.broker.kill9()
    again = instance(lab, SMOKE, "smoke-b", guarantee)
    again.wait_for("-> RUNNING", 90)
    driver.wait_for("ALL SENT", 60 + 2 * seconds)
    driver.wait(180)
    driver.wait_for(r"\bSUCCESS\b", 1)


@suite.test(300)
def smoke_test_at_least_once_with_an_instance_killed(lab):
    smoke(lab, "at_least_once", kill_broker=False)


@suite.test(300)
def smoke_test_exactly_once_with_an_instance_and_the_broker_killed(lab):
    lab.broker.may_be_killed()
    smoke(lab, "exactly_once_v2", kill_broker=True)


@suite.test(300)
def eos_test_with_an_instance_and_the_broker_killed(lab):
    lab.broker.may_be_killed()
    classpath = apps_classpath("4.2.0")
    lab.create_named(5, "data", "echo", "min", "max", "sum", "cnt", "repartition")
    # The program wants three replicas of its changelogs, but takes those that it finds.
    lab.create_named(5, *(f"EosTest-KSTREAM-AGGREGATE-STATE-STORE-{n:010}-changelog" for n in (3, 7, 14, 18)), cleanup_policy="compact")
    settings = lab.properties("eos.properties", bootstrap_servers=lab.bootstrap, processing_guarantee="exactly_once_v2", group_protocol="classic")
    driver = lab.java(EOS, settings, "run", name="eos-driver", classpath=classpath)
    start = lambda name: instance(lab, EOS, name, "exactly_once_v2", classpath, "process-complex")
    kept, killed = start("eos-a"), start("eos-b")
    pause = 20 if lab.scale > 1 else 5
    for program in (kept, killed):
        program.wait_for("-> RUNNING")
    time.sleep(pause)
    killed.kill9()
    time.sleep(pause)
    lab.broker.kill9()
    again = start("eos-b")
    again.wait_for("-> RUNNING", 90)
    time.sleep(pause)
    driver.signal(signal.SIGTERM)
    driver.wait(60, status=None)
    # The verifier wants everything processed and the application down; the instances end by themselves on SIGTERM.
    time.sleep(pause)
    for program in (kept, again):
        program.stop(60)
    verifier = lab.java(EOS, settings, "verify-complex", name="eos-verifier", classpath=classpath)
    verifier.wait_for("ALL-RECORDS-DELIVERED", 180)
