"""franz-go's own tests of its client, from the module that the clients' suite uses: all that speak to a broker and are not about several brokers.

The module's source is copied from the module cache, since its tests can only be built inside it. KGO_TEST_RF=1, KGO_TEST_RECORDS=10000
(100000 in longer runs) as its documentation has it.
"""

import os
import re
import shutil
import subprocess

from lab import CACHE, HERE, Program, Suite

suite = Suite("kgo")

# Of another coordinator (share groups), of SCRAM, and the client's own units, which no broker hears of.
TESTS = """TestGroupETL TestTxnEtl TestUnknownGroupOffsetFetchPinned TestPing TestIssue1034 TestConsumeTopicRetrieval TestConsumeTopicRetrieval_Many TestConsumeRegex
Test848RegexBrokerResolves TestIssue325 TestIssue337 TestDirectPartitionPurge TestIssue434 TestAddRemovePartitions TestPauseIssue489 TestPauseIssueOct2023 TestIssue523
TestIssue648 TestIssue810 TestIssue865 TestIssueFetchLargerThanBrokerMaxReadBytes TestPooling TestGroupSimple TestHookPollStart TestPollWaitStateNoUnderflow TestLookbackMilli
TestConsumeMaxDecompressBatchBytes TestClient_Produce TestIssue769 TestIssueProduceBrokerTooOldFailsRecords TestIssueProduceSyncManualPartitionNegativeDoesNotPanic
TestIssue831 TestClient_ProduceLargeMessages""".split()


def build():
    go = lambda *words, cwd: subprocess.run(["go", *words], cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    here = f"{HERE}/../clients/go"
    go("mod", "download", "github.com/twmb/franz-go", cwd=here)
    module = go("list", "-m", "-f", "{{.Dir}}", "github.com/twmb/franz-go", cwd=here)
    binary = f"{CACHE}/go/{os.path.basename(module)}.test"
    if not os.path.exists(binary):
        copy = f"{CACHE}/go/{os.path.basename(module)}"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(module, copy)
        for folder, _, files in os.walk(copy):
            for name in (folder, *(f"{folder}/{name}" for name in files)):
                os.chmod(name, 0o755)
        go("test", "-c", "-o", binary, "./pkg/kgo", cwd=copy)
    return binary


@suite.test(600)
def the_clients_own_tests(lab):
    records = 100_000 if lab.scale > 1 else 10_000
    environment = {**os.environ, "KGO_TEST_RF": "1", "KGO_TEST_RECORDS": str(records), "KGO_SEEDS": lab.bootstrap, "KGO_TEST_UNSAFE": "1", "KGO_LOG_LEVEL": "none"}
    command = [build(), "-test.v", "-test.timeout", f"{400 * lab.scale}s", "-test.run", f"^({'|'.join(TESTS)})$"]
    program = Program("kgo", command, f"{lab.work}/kgo.log", env=environment, cwd=lab.work)
    program.wait(410 * lab.scale, status=None)
    output = program.output()
    found = []
    for line in output.splitlines():
        ended = re.match(r"--- (PASS|FAIL): (\w+) \(([\d.]+)s\)", line)
        if ended:
            found.append((ended[2], None if ended[1] == "PASS" else reason(output, ended[2])))
    seen = {name for name, _ in found} | set(re.findall(r"--- SKIP: (\w+)", output))
    return found + [(name, f"did not end: {program.tail()}") for name in TESTS if name not in seen]


def reason(output, name):
    """What the test and its parts said before they failed: with -v that stands where it was said, under the name of who said it."""
    said, speaker = [], ""
    for line in output.splitlines():
        named = re.match(r"=== (?:RUN|NAME|CONT|PAUSE)\s+(\S+)", line)
        if named:
            speaker = named[1]
        elif re.match(r"\s+\w+_test\.go:\d+:", line) and speaker.split("/")[0] == name:
            said.append(f"{speaker}: {line.strip()}")
    failed = re.findall(rf"--- FAIL: ({name}\S*)", output)
    return " ".join(failed + [line for line in said if any(line.startswith(f"{part}:") for part in failed)])[:1000]
