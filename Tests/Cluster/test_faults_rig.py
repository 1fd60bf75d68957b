"""The rig that looks for broken promises finds them where they are, and only there."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "scripts/lib"))

from faults import fault, kinds, schedule, workload, workloads  # noqa: E402, F401
from faults.checkers.ledger import counter_verdict, set_verdicts  # noqa: E402
from faults.checkers.linearizability import AppendList, Counter, Register, linearizability_verdict  # noqa: E402
from faults.checkers.whole import progress_verdict  # noqa: E402
from faults.history import FAILED, OK, UNKNOWN, Operation  # noqa: E402
from faults.page import Timeline, write_page  # noqa: E402
from faults.relay import Relay  # noqa: E402
from faults.report import effects  # noqa: E402
from faults.run import Band, Outcome  # noqa: E402
from faults.shim import CONTROL, build  # noqa: E402


def did(name, argument, result, began, ended, outcome=OK, client="a", key="k"):
    return Operation(client, name, key, argument, result, outcome, began, ended)


def verdict(model, *operations, budget=5.0):
    return linearizability_verdict("it is linearizable", list(operations), model, budget)


GOOD = {
    "one after the other": (Register, [did("write", "x", None, 0, 1), did("read", None, "x", 2, 3)]),
    "a read beside a write may miss it": (Register, [did("write", "x", None, 0, 5), did("read", None, None, 1, 2)]),
    "a read beside a write may see it": (Register, [did("write", "x", None, 0, 5), did("read", None, "x", 1, 2)]),
    "an unknown write may happen late": (Register, [
        did("write", "x", None, 0, 1, UNKNOWN), did("read", None, None, 2, 3), did("read", None, "x", 4, 5)]),
    "an unknown write may never happen": (Register, [did("write", "x", None, 0, 1, UNKNOWN), did("read", None, None, 2, 3)]),
    "of two that compare one sets": (Register, [
        did("write", "x", None, 0, 1), did("cas", ["x", "y"], True, 2, 4), did("cas", ["x", "z"], False, 2, 4),
        did("read", None, "y", 5, 6)]),
    "an unknown compare-and-set explains a refusal": (Register, [
        did("write", "x", None, 0, 1), did("cas", ["x", "y"], None, 2, 3, UNKNOWN), did("cas", ["x", "z"], False, 4, 5)]),
    "a failed write is as none": (Register, [did("write", "x", None, 0, 1, FAILED), did("read", None, None, 2, 3)]),
    "moments that touch are concurrent": (Register, [did("write", "x", None, 0, 1), did("read", None, None, 1, 2)]),
    "additions in any order": (Counter, [did("add", None, 2, 0, 5), did("add", None, 1, 0, 5), did("read", None, 2, 6, 7)]),
    "an unknown addition": (Counter, [
        did("add", None, None, 0, 1, UNKNOWN), did("add", None, 2, 2, 3), did("read", None, 2, 4, 5)]),
    "a list in order": (AppendList, [
        did("append", "x", None, 0, 1), did("append", "y", None, 2, 3), did("read", None, ["x", "y"], 4, 5)]),
}

BAD = {
    "a stale read": (Register, [
        did("write", "x", None, 0, 1), did("write", "y", None, 2, 3), did("read", None, "x", 4, 5)]),
    "a lost write": (Register, [did("write", "x", None, 0, 1), did("read", None, None, 2, 3)]),
    "a read that goes back": (Register, [
        did("write", "x", None, 0, 9), did("read", None, "x", 1, 2), did("read", None, None, 3, 4)]),
    "an unknown write that comes and goes": (Register, [
        did("write", "x", None, 0, 1, UNKNOWN), did("read", None, "x", 2, 3), did("read", None, None, 4, 5)]),
    "two that both compared and set": (Register, [
        did("write", "x", None, 0, 1), did("cas", ["x", "y"], True, 2, 4), did("cas", ["x", "z"], True, 2, 4)]),
    "a failed write that is seen": (Register, [did("write", "x", None, 0, 1, FAILED), did("read", None, "x", 2, 3)]),
    "an addition that happened twice": (Counter, [did("add", None, None, 0, 1), did("read", None, 2, 2, 3)]),
    "two additions with one result": (Counter, [did("add", None, 1, 0, 5), did("add", None, 1, 0, 5)]),
    "a list that changes its order": (AppendList, [
        did("append", "x", None, 0, 9), did("append", "y", None, 0, 9), did("read", None, ["x", "y"], 10, 11),
        did("read", None, ["y", "x"], 12, 13)]),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_history_with_an_order_is_kept(name):
    model, operations = GOOD[name]
    assert verdict(model, *operations).kept is True


@pytest.mark.parametrize("name", BAD)
def test_a_history_without_an_order_is_broken_and_explained(name):
    model, operations = BAD[name]
    found = verdict(model, *operations)
    assert found.kept is False
    assert "explains this answer" in found.details[0]


def test_an_explanation_shows_the_shortest_violation():
    fine = [did("write", f"w{n}", None, 10 * n, 10 * n + 1) for n in range(50)]
    reads = [did("read", None, f"w{n}", 10 * n + 2, 10 * n + 3) for n in range(50)]
    stale = did("read", None, "w19", 205, 206, client="b")
    found = verdict(Register, *fine, *reads, stale)
    assert found.kept is False
    assert str(stale) in found.details[0]
    assert not any("w21" in line for line in found.details), "nothing that came later is shown"


def test_a_long_history_with_many_unknown_outcomes_is_decided_in_time():
    operations = []
    for n in range(300):
        operations.append(did("write", f"w{n}", None, n, n + 0.4))
        operations.append(did("write", f"u{n}", None, n + 0.1, n + 0.2, UNKNOWN if n % 10 == 0 else FAILED))
        operations.append(did("read", None, f"w{n}", n + 0.5, n + 0.6))
    began = time.monotonic()
    assert verdict(Register, *operations).kept is True
    assert time.monotonic() - began < 5


def test_a_search_without_time_says_that_it_does_not_know():
    operations = [did("add", None, None, 0, 1, UNKNOWN) for _ in range(40)]
    operations += [did("add", None, None, 0, 1000) for _ in range(40)] + [did("read", None, 99, 2, 3)]
    assert verdict(Counter, *operations, budget=0.0).kept is None


def told(verdicts, name):
    return next(verdict for verdict in verdicts if name in verdict.name)


def test_the_ledger_of_a_set_finds_what_is_lost_undone_and_invented():
    insert = did("insert", ["x"], None, 0, 1)
    unknown = did("insert", ["u"], None, 0, 1, UNKNOWN)
    failed = did("insert", ["f"], None, 0, 1, FAILED)
    both = [insert, unknown, failed]
    assert all(v.kept for v in set_verdicts([*both, did("read", None, ["x"], 2, 3)], {"k": ["x", "u"]}))
    assert told(set_verdicts(both, {"k": []}), "are there").kept is False
    assert told(set_verdicts([*both, did("read", None, [], 2, 3)], {"k": ["x"]}), "are there").kept is False
    assert told(set_verdicts([*both, did("read", None, [], 0.5, 3)], {"k": ["x"]}), "are there").kept is True
    assert told(set_verdicts(both, {"k": ["x", "f"]}), "what failed").kept is False
    assert told(set_verdicts(both, {"k": ["x", "y"]}), "what failed").kept is False
    assert told(set_verdicts(both, {"k": ["x", "x"]}), "what failed").kept is False
    assert told(set_verdicts([*both, did("read", None, ["x", "u"], 2, 3)], {"k": ["x"]}), "one for good").kept is False


def test_the_ledger_of_counters_allows_what_is_unknown_and_no_more():
    operations = [did("add", None, None, 0, 1), did("add", None, None, 0, 1, UNKNOWN), did("add", None, None, 0, 1, FAILED)]
    assert [counter_verdict(operations, {"k": value}).kept for value in (0, 1, 2, 3)] == [False, True, True, False]


def test_queues_and_unique_values_have_their_judges():
    queue, unique = workload.REGISTRY["queue"](), workload.REGISTRY["unique"]()
    put, take = did("put", None, None, 0, 1, key="job"), did("take", None, "job", 2, 3, key="t1")
    assert queue.verdicts([put, take], {"job": "t1"}, 1)[0].kept is True
    assert queue.verdicts([put, take, did("take", None, "job", 2, 3, key="t2")], {"job": "t1"}, 1)[0].kept is False
    assert queue.verdicts([put], {}, 1)[0].kept is False
    assert queue.verdicts([put], {"job": "somebody"}, 1)[0].kept is False
    first, second = did("claim", "a", None, 0, 1, key="name"), did("claim", "b", None, 0, 1, FAILED, key="name")
    assert unique.verdicts([first, second], [("name", "a")], 1)[0].kept is True
    assert unique.verdicts([first, second], [("name", "a"), ("name", "b")], 1)[0].kept is False
    assert unique.verdicts([first, second], [("name", "b")], 1)[0].kept is False


def test_bulk_loads_are_all_there_or_all_deleted():
    bulk = workload.REGISTRY["bulk"]()
    load, unload = did("load", 200, 200, 0, 1), did("unload", None, 200, 2, 3)
    part, nobody_knows = did("unload", None, 199, 2, 3), did("unload", None, None, 2, 3, UNKNOWN)
    expected = [
        ([load], {0: False, 199: False, 200: True}), ([load, unload], {0: True, 1: False}), ([load, part], {0: False}),
        ([load, nobody_knows], {0: True, 50: True, 200: True})]
    for operations, counts in expected:
        for count, kept in counts.items():
            assert bulk.verdicts(operations, {"k": count}, 1)[0].kept is kept, (operations, count)


def test_progress_is_asked_of_every_workload():
    quick, slow = did("add", None, None, 100.5, 101), did("add", None, None, 100.5, 111)
    assert progress_verdict({"a": [quick]}, 101.0, 100.0).kept is True
    assert progress_verdict({"a": [quick], "b": [slow]}, 101.0, 100.0).kept is False
    assert progress_verdict({"a": [quick]}, None, 100.0).kept is False


def test_a_report_says_how_long_nobody_got_on_under_each_kind_of_fault():
    def acknowledged(*ends):
        return [did("add", None, None, end, end) for end in ends]

    outcome = Outcome("scripts/faults run x --seed 1", "x", 1, 3, 1.0, "loopback", "0")
    outcome.histories = {"a": acknowledged(0, 1, 5, 6, 20, 21), "b": acknowledged(0, 2, 6, 7, 9, 21)}
    outcome.histories["b"].append(did("add", None, None, 15, 15, UNKNOWN))
    outcome.bands = [Band("kill", "node 1", 1.5, 2.0, 4.0), Band("kill", "node 2", 6.5, 6.6, 6.8), Band("cut", "", 8, 9, 10)]
    # Together: 0 1 2 5 6 7 9 20 21. A silence counts as a whole, also where it began before the fault or ends after it.
    assert effects(outcome) == {"kill": (2, 3, 14), "cut": (1, 11, 14)}


def test_a_seed_draws_the_same_schedule_again_and_all_draws_each_fault_once():
    possible = list(fault.REGISTRY.values())
    assert schedule.draw(possible, 7, 120) == schedule.draw(possible, 7, 120)
    assert schedule.draw(possible, 7, 120) != schedule.draw(possible, 8, 120)
    once = schedule.draw(possible, 7, 1, each_once=True)
    assert [episode.fault for episode in once] == list(fault.REGISTRY)
    assert [episode.seconds for episode in once] == [kind.seconds[0] for kind in possible]
    episodes = schedule.draw(possible[:3], 7, 60)
    assert all(later.begins >= earlier.begins + earlier.seconds for earlier, later in zip(episodes, episodes[1:]))


def test_the_page_shows_what_happened_and_runs_nothing(tmp_path):
    outcome = Outcome("scripts/faults run x --seed 1", "x", 1, 3, 1.0, "loopback", "0")
    outcome.histories = {"set": [did("insert", ["<b>"], None, 0, 1), did("insert", ["y"], None, 1, 2, UNKNOWN)]}
    outcome.leaders = [(0.5, {0: 1, 1: None}), (1.0, {0: 2, 1: 2})]
    outcome.bands = [Band("x", "node 1 <script>", 0.5, 1.0, 1.5)]
    outcome.verdicts = set_verdicts(outcome.histories["set"], {"k": ["<b>"]})
    write_page(outcome, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "<svg" in text and "node 2 leads group 1" in text and outcome.command in text
    assert "<script" not in text and "http://" not in text and "https://" not in text
    assert Timeline(outcome).seconds == 2


needs_a_compiler = pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler is installed")


@needs_a_compiler
def test_the_shim_fails_and_delays_what_it_is_told_to_and_nothing_else(tmp_path):
    library, control, file = build(tmp_path, "-Wall", "-Wextra", "-Werror"), tmp_path / "control", tmp_path / "data-file"

    def outcome(pattern, sync=(0, 0, 0), write=(0, 0, 0), read=(0, 0, 0)):
        """What a process comes to that writes, syncs and reads a file; and how many seconds it took."""
        control.write_bytes(CONTROL.pack(*sync, *write, *read, pattern))
        program = (
            "import os, sys, time\n"
            "began = time.monotonic()\n"
            "file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
            "for name, call in (('write', lambda: os.pwrite(file, b'x', 0)), ('sync', lambda: os.fdatasync(file)),\n"
            "                   ('read', lambda: os.pread(file, 1, 0))):\n"
            "    try:\n"
            "        call()\n"
            "    except OSError as failure:\n"
            "        print(name, failure.errno)\n"
            "print(time.monotonic() - began)\n")
        preloaded = {**os.environ, "LD_PRELOAD": str(library), "FAULTS_SHIM_CONTROL": str(control)}
        done = subprocess.run(
            [sys.executable, "-c", program, file], env=preloaded, text=True, capture_output=True, check=True)
        *failures, seconds = done.stdout.splitlines()
        return failures, float(seconds)

    always = 1_000_000
    assert outcome(b"")[0] == []
    assert outcome(b"data-file", sync=(always, 0, 0))[0] == ["sync 5"]
    assert outcome(b"data-file", write=(always, 0, 0))[0] == ["write 5"]
    assert outcome(b"data-file", read=(always, 0, 0))[0] == ["read 5"]
    assert outcome(b"another", sync=(always, 0, 0), write=(always, 0, 0))[0] == []
    assert outcome(b"", sync=(always, 0, 0))[0] == []
    failures, seconds = outcome(b"data-file", sync=(0, always, 300))
    assert failures == [] and seconds >= 0.3


def test_a_relay_delays_both_ways_and_ends_what_it_carries():
    with socket.create_server(("127.0.0.1", 0)) as server:
        relay = Relay("127.0.0.1", server.getsockname(), 0.1, None)
        near = socket.create_connection(("127.0.0.1", relay.port), timeout=10)
        far, _ = server.accept()
        far.settimeout(10)
        began = time.monotonic()
        near.sendall(b"there")
        assert far.recv(100) == b"there"
        far.sendall(b"back")
        assert near.recv(100) == b"back"
        assert time.monotonic() - began >= 0.2
        relay.close()
        try:
            assert near.recv(100) == b""
        except ConnectionResetError:
            pass
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", relay.port), timeout=1)
        near.close()
        far.close()


def test_a_relay_carries_no_more_than_it_may():
    with socket.create_server(("127.0.0.1", 0)) as server:
        relay = Relay("127.0.0.1", server.getsockname(), 0.0, 1_000_000)
        near = socket.create_connection(("127.0.0.1", relay.port), timeout=10)
        far, _ = server.accept()
        far.settimeout(10)
        sender = threading.Thread(target=near.sendall, args=(bytes(400_000),))
        began = time.monotonic()
        sender.start()
        left = 400_000
        while left:
            left -= len(far.recv(65536))
        assert 0.3 <= time.monotonic() - began
        sender.join()
        relay.close()
        near.close()
        far.close()


def faults(tmp_path, *words, timeout=300):
    environment = {"CAIRN_BINARY": str(ROOT / ".build/release/cairn"), **os.environ, "CAIRN_FAULTS_DIR": str(tmp_path / "runs")}
    return subprocess.run(
        [str(ROOT / "scripts/faults"), *words], env=environment, text=True, capture_output=True, timeout=timeout)


def processes_with(text):
    """Command lines of the processes that have it in their environment: nodes and clients of a run, by its folder."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if text.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


def test_list_names_faults_and_workloads_and_what_does_not_exist_is_refused(tmp_path):
    done = faults(tmp_path, "list")
    assert done.returncode == 0, done.stderr
    for name in ("sigkill", "pause", "one way", "register", "swift-register", "needs 5 nodes"):
        assert name in done.stdout
    for words in (["run", "nonsense"], ["run", "ring", "--nodes", "3"], ["run", "sigkill", "--workloads", "nonsense"]):
        refused = faults(tmp_path, *words)
        assert refused.returncode == 2 and "scripts/faults:" in refused.stderr, refused.stderr
    assert faults(tmp_path).returncode == 2


@pytest.mark.parametrize("what, minutes", [("sigkill", "0.3"), ("power-cut", "0.3"), ("frozen", "0.3"), ("random", "0.7")])
def test_a_short_run_keeps_every_promise_and_leaves_nothing_behind(tmp_path, what, minutes):
    done = faults(tmp_path, "run", what, "--minutes", minutes, "--seed", "1", "--report", str(tmp_path / "report.html"))
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["good"] and told["seed"] == 1 and told["episodes"]
    assert set(told["workloads"]) == set(workload.REGISTRY)
    assert all(count["ok"] > 0 for count in told["workloads"].values())
    assert "broken" not in told["verdicts"].values()
    assert "<svg" in (tmp_path / "report.html").read_text()
    assert not (tmp_path / "runs").exists()


def test_clients_in_swift_go_on_after_each_fault(tmp_path):
    names = [name for name in workload.REGISTRY if name.startswith("swift-")]
    done = faults(tmp_path, "run", "sigkill", "--minutes", "0.5", "--seed", "2", "--keep", "--workloads", ",".join(names))
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert set(told["workloads"]) == set(names) and len(told["episodes"]) > 1
    for name in names:
        histories = list(pathlib.Path(told["folder"], "histories").glob(f"{name}-*.jsonl"))
        assert len(histories) > 2, name
        ends = []
        for path in histories:
            operations = [Operation(*json.loads(line)) for line in path.read_text().splitlines()]
            ends.append(max(operation.ended for operation in operations))
            assert sum(operation.outcome == OK for operation in operations) > 20, path
            # Each client by itself, whether it knows all nodes or began with one. Names that are taken are an answer too.
            answered = sorted(o.ended for o in operations if o.outcome == OK or o.error.startswith("11000"))
            assert max(later - earlier for earlier, later in zip(answered, answered[1:])) < 10, path
            assert answered[-1] > ends[-1] - 1, path
        assert max(ends) - min(ends) < 10, f"a client of {name} ended before the others"


def test_a_run_that_is_interrupted_leaves_no_process(tmp_path):
    environment = {"CAIRN_BINARY": str(ROOT / ".build/release/cairn"), **os.environ, "CAIRN_FAULTS_DIR": str(tmp_path / "runs")}
    process = subprocess.Popen(
        [str(ROOT / "scripts/faults"), "run", "pause", "--minutes", "2"], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for line in process.stderr:
        if "pause:" in line:
            break
    running = " ".join(processes_with(environment["CAIRN_FAULTS_DIR"]))
    assert "cairn serve" in running and "fault-workload" in running, running
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2 and "ended by SIGTERM" in said
    assert processes_with(environment["CAIRN_FAULTS_DIR"]) == []
    assert not (tmp_path / "runs").exists()


def test_the_list_of_scenarios_names_what_there_is():
    text = (ROOT / "scripts/lib/faults/scenarios.md").read_text()
    found = re.findall(r"^\| ([A-E]\d\d|–) \|.*\| (.*) \|$", text, re.MULTILINE)
    rows = {number: set(re.findall(r"`([^`]+)`", names)) for number, names in found}
    assert [number for number, _ in found] == sorted(rows)
    sources = "".join(path.read_text() for path in (ROOT / "Tests/Cluster").glob("test_*.py"))
    tests = set(re.findall(r"^def (test_\w+)\(", sources, re.MULTILINE))
    named = set().union(*rows.values())
    assert named <= tests | set(fault.REGISTRY), named - tests - set(fault.REGISTRY)
    assert set(fault.REGISTRY) <= named, set(fault.REGISTRY) - named
    for test in tests:
        for number in re.findall(r"_([A-E]\d\d)(?=_)", test):
            assert test in rows[number], f"{test} is not beside {number}"
