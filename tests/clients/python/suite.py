"""A few lines of test runner: each function under @test is one test of the suite named in Suite(...).

Prints `ok SUITE NAME` or `FAIL SUITE NAME: why` and exits 1 where one failed. A test that hangs fails by an alarm.
"""

import os
import random
import signal
import sys
import time
import traceback

BOOTSTRAP = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
SECONDS_MAX = 60


class Suite:
    def __init__(self, name):
        self.name = name
        self.tests = []

    def test(self, function):
        self.tests.append(function)
        return function

    def run(self):
        failed = 0
        wanted = sys.argv[2:]
        signal.signal(signal.SIGALRM, self._too_long)
        for function in self.tests:
            name = function.__name__
            if wanted and name not in wanted:
                continue
            signal.alarm(SECONDS_MAX)
            began = time.monotonic()
            try:
                function()
                print(f"ok {self.name} {name} ({time.monotonic() - began:.1f} s)", flush=True)
            except Exception as error:  # every failure is a finding, none ends the suite
                failed += 1
                text = " ".join(str(error).split()) or type(error).__name__
                print(f"FAIL {self.name} {name}: {type(error).__name__}: {text[:400]}", flush=True)
                if os.environ.get("TRACE"):
                    traceback.print_exc()
            finally:
                signal.alarm(0)
        sys.stdout.flush()
        os._exit(1 if failed else 0)

    @staticmethod
    def _too_long(_signal, _frame):
        raise TimeoutError(f"no end after {SECONDS_MAX} s")


def fresh(label):
    """A topic name that no run has used."""
    return f"{label}-{os.getpid()}-{random.randrange(1 << 30):x}"


def same(got, wanted, what="value"):
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r:.200}, wanted {wanted!r:.200}")


def until(what, condition, seconds=15):
    """Polls, for what a cluster may take a moment to show."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")
