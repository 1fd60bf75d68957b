"""Kills leaders and moves leaders under load, and prints how long their groups took no writes (see scripts/bench)."""

import argparse
import contextlib
import itertools
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from peers import Cairn, wait_for
from report import geomean, machine, print_json, print_table

KILL_BOUND_MS = 1500
MOVE_BOUND_MS = 50
# A client whose write failed tries the next one so soon.
RETRY_SECONDS = 0.005
# Between two writes of a group, so that the load leaves the processors to the nodes.
PAUSE_SECONDS = 0.001


class Cluster(Cairn):
    """Three nodes, and what they say of their groups."""

    @property
    def uri(self):
        return "mongodb://" + ",".join(f"127.0.0.1:{self.port + n}" for n in range(3)) + "/"

    def run(self, *words):
        subprocess.run([self.root / "scripts/cluster", *map(str, words)], env=self.environment, check=True,
                       stdout=subprocess.DEVNULL)

    def statuses(self, number):
        """Group -> what the node says of its replica."""
        address = f"mongodb://127.0.0.1:{self.port + number - 1}/?directConnection=true"
        with MongoClient(address, serverSelectionTimeoutMS=2000, socketTimeoutMS=3000) as client:
            return {group["group"]: group for group in client.admin.command("cairnStatus")["groups"]}

    def leaders(self):
        """Group -> the node that leads it; None while a node does not answer, lags, or a group has no leader."""
        try:
            nodes = {number: self.statuses(number) for number in (1, 2, 3)}
        except PyMongoError:
            return None
        found = {}
        for group in nodes[1]:
            leading = [number for number in nodes if nodes[number][group]["role"] == "leader"]
            applied = [nodes[number][group]["appliedIndex"] for number in nodes]
            if len(leading) != 1 or max(applied) - min(applied) > 100:
                return None
            found[group] = leading[0]
        return found

    def wait_until_healthy(self):
        found = {}

        def check():
            found.update(self.leaders() or {})
            return bool(found)

        wait_for("a leader for every group, and nobody behind", 60, check)
        return found


class Writer(threading.Thread):
    """Writes documents of one group, one after another, and remembers when each that was acknowledged began and ended."""

    def __init__(self, uri, group):
        super().__init__(daemon=True)
        self.uri, self.group = uri, group
        self.acknowledged, self.failures, self.stopped = [], 0, threading.Event()
        self.ids = []

    def run(self):
        client = MongoClient(self.uri, serverSelectionTimeoutMS=20000)
        stones = client.bench.failover
        for number in itertools.count():
            if self.stopped.is_set():
                break
            key = self.ids[number % len(self.ids)]
            began = time.monotonic()
            try:
                stones.update_one({"_id": key}, {"$set": {"n": number, "text": "granite " * 30}}, upsert=True)
            except PyMongoError:
                self.failures += 1
                time.sleep(RETRY_SECONDS)
                continue
            self.acknowledged.append((began, time.monotonic()))
            time.sleep(PAUSE_SECONDS)
        client.close()

    def first_after(self, moment):
        """When the first write was acknowledged that began after `moment`; None if none was yet."""
        return next((ended for began, ended in self.acknowledged[-1000:] if began >= moment), None)

    def longest_gap(self, start, end):
        """The longest time between two acknowledgements that lies at least in part between `start` and `end`."""
        ends = [ended for _, ended in self.acknowledged[-20000:]]
        return max(after - before for before, after in itertools.pairwise(ends) if after >= start and before <= end)


def ids_by_group(client, count):
    """For each data group, some _ids of documents that it owns."""
    stones = client.bench.failover
    stones.insert_one({"_id": -1})
    found = {}
    groups = {group["id"] for group in client.admin.command("cairnLayout")["groups"]} - {0}
    for number in itertools.count():
        plan = client.bench.command(
            "explain", {"find": "failover", "filter": {"_id": number}}, verbosity="queryPlanner")
        group = int(plan["shard"].removeprefix("g"))
        if len(found.setdefault(group, [])) < count:
            found[group].append(number)
        if groups <= found.keys() and all(len(ids) == count for ids in found.values()):
            return found


def percentile(values, percent):
    """The smallest value that as many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * percent // 100) - 1))]


def kill(cluster, writers, round_number, rounds):
    """Kills the node that leads the most groups; milliseconds until each of them took a write again."""
    leaders = cluster.wait_until_healthy()
    led = [group for group in leaders.values() if group]
    victim = max((1, 2, 3), key=lambda node: (led.count(node), (node + round_number) % 3))
    groups = [group for group, node in leaders.items() if node == victim and group in writers]
    pid = cluster.pids[victim - 1]
    killed_at = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    firsts = {}
    while len(firsts) < len(groups):
        if time.monotonic() > killed_at + 60:
            raise RuntimeError(f"a minute after node {victim} was killed a group that it led still takes no writes")
        time.sleep(0.02)
        for group in groups:
            if group not in firsts and (first := writers[group].first_after(killed_at)):
                firsts[group] = (first - killed_at) * 1000
    cluster.run("start", victim)
    print(f"kill {round_number + 1}/{rounds}: node {victim} with {len(groups)} groups, "
          f"longest {max(firsts.values()):.0f} ms", file=sys.stderr)
    return list(firsts.values())


def move(cluster, writers, round_number, rounds):
    """Moves one group's leader; the gap of the group at the moment when it changed, and that of another group then."""
    leaders = cluster.wait_until_healthy()
    groups = sorted(writers)
    group = groups[round_number % len(groups)]
    bystanders = [other for other in groups if other != group]
    target = next(node for node in (1, 2, 3) if node != leaders[group])
    command = [cluster.binary, "leader", "move", str(group), str(target), f"127.0.0.1:{cluster.port}"]
    address = f"mongodb://127.0.0.1:{cluster.port + target - 1}/?directConnection=true"
    with MongoClient(address) as client, subprocess.Popen(command, stdout=subprocess.DEVNULL) as mover:
        # The leader changes between two looks at its heir.
        deadline, looked = time.monotonic() + 60, time.monotonic()
        while True:
            began, looked_before = time.monotonic(), looked
            status = client.admin.command("cairnStatus")["groups"]
            looked = began
            if next(replica for replica in status if replica["group"] == group)["role"] == "leader":
                break
            if began > deadline or mover.poll():
                raise RuntimeError(f"group {group} was not moved to node {target}")
            time.sleep(0.003)
        changed = (looked_before, time.monotonic())
        if mover.wait(timeout=60) != 0:
            raise RuntimeError(f"cairn leader move {group} {target} failed")
    # Until every writer has gone on.
    time.sleep(0.5)
    gap = writers[group].longest_gap(*changed) * 1000
    quiet = writers[bystanders[round_number % len(bystanders)]].longest_gap(*changed) * 1000
    print(f"move {round_number + 1}/{rounds}: group {group} to node {target}, {gap:.0f} ms", file=sys.stderr)
    return gap, quiet


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench failover")
    parser.add_argument("root", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="15 kills and 15 moves, less than five minutes in all")
    parser.add_argument("--kills", type=int, help="how often a node is killed (default 50)")
    parser.add_argument("--moves", type=int, help="how often a leader is moved (default 50)")
    given = parser.parse_args()
    kills = given.kills if given.kills is not None else (15 if given.quick else 50)
    moves = given.moves if given.moves is not None else (15 if given.quick else 50)
    # SIGTERM ends the nodes like an error does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parent = pathlib.Path(os.environ.get("CAIRN_BENCH_DIR", given.root / ".cairn-bench"))
    parent.mkdir(parents=True, exist_ok=True)
    folder = pathlib.Path(tempfile.mkdtemp(dir=parent))
    cluster = Cluster(given.root, folder)
    writers, killed, moved, beside = {}, [], [], []
    try:
        cluster.start()
        with MongoClient(cluster.uri) as client:
            for group, ids in ids_by_group(client, 20).items():
                writers[group] = Writer(cluster.uri, group)
                writers[group].ids = ids
        for writer in writers.values():
            writer.start()
        time.sleep(2)
        for number in range(moves):
            gap, quiet = move(cluster, writers, number, moves)
            moved.append(gap)
            beside.append(quiet)
        for number in range(kills):
            killed += kill(cluster, writers, number, kills)
    finally:
        for writer in writers.values():
            writer.stopped.set()
        for writer in writers.values():
            if writer.is_alive():
                writer.join(timeout=30)
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            parent.rmdir()

    print(f"\n{machine()}; three nodes and a client a group on one disk; milliseconds without an acknowledged write:")
    print("from a SIGKILL of the node that leads to the end of the first write that began later, for each group that it")
    print("led; and the gap in a group's writes at the moment when its leader was moved (where no leader moved there are gaps, too)\n")
    table = [("row", "groups", "p50", "p99", "longest", "bound", "ratio")]
    rows = []
    for name, values, bound in (
        (f"{kills} kills of a leader", killed, KILL_BOUND_MS), (f"{moves} planned moves", moved, MOVE_BOUND_MS),
        ("no move, meanwhile", beside, None),
    ):
        if not values:
            continue
        p50, p99, longest = percentile(values, 50), percentile(values, 99), max(values)
        ratio = bound / p99 if bound else None
        table.append((name, f"{len(values)}", f"{p50:.1f}", f"{p99:.1f}", f"{longest:.1f}",
                      f"{bound}" if bound else "-", f"{ratio:.2f}" if bound else "-"))
        if bound:
            rows.append({"row": f"{name}: p99 without writes", "ours": round(p99, 1), "peer": bound, "unit": "ms",
                         "ratio": round(ratio, 3), "p50": round(p50, 1), "longest": round(longest, 1)})
    print_table(table, words=1)
    print("\nthe ratio is that of the bound to the 99th percentile\n")
    print_json("failover", rows, geomean(row["ratio"] for row in rows))


if __name__ == "__main__":
    main()
