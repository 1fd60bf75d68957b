"""A cluster of three nodes with many groups that nobody uses: what starting it takes, what it costs while nothing happens,
and how fast its groups come back (see scripts/bench)."""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

from pymongo import MongoClient, WriteConcern
from pymongo.errors import PyMongoError

NODES = 3
# What the figures are to stay below.
BOUNDS = {"first start": 5.0, "restart": 5.0, "idle CPU": 2.0}


def free_base_port():
    """A base port for which the three ports of each node are free, below those that outgoing connections get."""
    for _ in range(200):
        base = random.randrange(20000, 31000)
        probes = []
        try:
            for offset in [*range(NODES), *range(100, 100 + NODES), *range(1000, 1000 + NODES)]:
                probe = socket.socket()
                probes.append(probe)
                probe.bind(("127.0.0.1", base + offset))
            return base
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
    raise RuntimeError("no free ports")


class Node:
    """One process of the cluster."""

    def __init__(self, number, base, folder, config, binary):
        self.number, self.port = number, base + number - 1
        self.data, self.log = folder / f"node-{number}", folder / f"node-{number}.log"
        self.command = [str(binary), "serve", "--config", str(config), "--node", str(number), "--data", str(self.data)]
        self.process = None
        self.client = MongoClient(f"mongodb://127.0.0.1:{self.port}/?directConnection=true", serverSelectionTimeoutMS=200,
                                  socketTimeoutMS=10000, connect=False, heartbeatFrequencyMS=60000, retryWrites=False)

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def end(self, number):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(60)
        self.process = None

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=0.2):
                return True
        except OSError:
            return False

    def groups(self):
        return self.client.admin.command("cairnStatus")["groups"]

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


class Cluster:
    def __init__(self, folder, groups, binary):
        self.groups = groups + 1  # and the one that holds the layout
        base = free_base_port()
        config = folder / "cluster.yaml"
        config.write_text("cluster:\n  name: bench-groups\n  nodes:\n" + "".join(
            f'    - "{n} client=127.0.0.1:{base + n - 1} peer=127.0.0.1:{base + 99 + n} http=127.0.0.1:{base + 999 + n}"\n'
            for n in range(1, NODES + 1)) + f"  groups: {groups}\n  replicas: 3\n")
        self.nodes = [Node(n, base, folder, config, binary) for n in range(1, NODES + 1)]

    @property
    def up(self):
        return [node for node in self.nodes if node.process]

    def start(self):
        """Starts all nodes; seconds until the last of them answers, and until every group has a leader."""
        begun = time.monotonic()
        for node in self.nodes:
            node.start()
        while not all(node.answers() for node in self.nodes):
            for node in self.nodes:
                if node.process.poll() is not None:
                    raise RuntimeError(f"node {node.number} ended: {node.log.read_text()[-2000:]}")
            time.sleep(0.02)
        answered = time.monotonic() - begun
        self.wait_for_leaders()
        return answered, time.monotonic() - begun

    def led(self):
        led = set()
        for node in self.up:
            led |= {group["group"] for group in node.groups() if group["role"] == "leader"}
        return led

    def wait_for_leaders(self, seconds=300):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if len(self.led()) == self.groups:
                    return
            except PyMongoError:
                pass
            time.sleep(0.05)
        raise RuntimeError(f"{self.groups - len(self.led())} groups without a leader after {seconds} s")

    def wait_until_quiet(self, seconds=60):
        """Waits until nearly all replicas are quiet, and returns which part is when patience ends."""
        deadline = time.monotonic() + seconds
        while True:
            all_groups = [group for node in self.up for group in node.groups()]
            share = sum(group.get("quiet", False) for group in all_groups) / len(all_groups)
            # The meta group is asked for the layout all the time.
            if share > 0.995 or time.monotonic() > deadline:
                return share
            time.sleep(1)

    def stop(self, number=signal.SIGTERM):
        for node in self.up:
            if node.process.poll() is None:
                node.process.send_signal(number)
        for node in self.up:
            node.end(number)

    def idle_cpu(self, seconds):
        """Percent of a core that each node takes while nothing happens."""
        before = [node.cpu_seconds() for node in self.up]
        time.sleep(seconds)
        return [100 * (node.cpu_seconds() - then) / seconds for node, then in zip(self.up, before)]


def first_writes(client, ids, patience=30):
    """Seconds until a write to each document's group is acknowledged, each tried until it is."""
    items = client.bench.get_collection("items", write_concern=WriteConcern("majority"))
    seconds = []
    for key in ids:
        begun = time.monotonic()
        while True:
            try:
                items.update_one({"_id": key}, {"$inc": {"n": 1}}, upsert=True)
                break
            except PyMongoError:
                if time.monotonic() - begun > patience:
                    raise
        seconds.append(time.monotonic() - begun)
    return seconds


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench groups")
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true", help="200 groups, and shorter waits")
    parser.add_argument("--groups", type=int, help="groups that hold data (default 1000)")
    parser.add_argument("--sample", type=int, default=100, help="groups that are written to (default 100)")
    arguments = parser.parse_args()
    groups = arguments.groups or (200 if arguments.quick else 1000)
    idle_seconds = 5 if arguments.quick else 20
    folder = pathlib.Path(os.environ.get("CAIRN_BENCH_DIR", arguments.root / ".cairn-bench")) / "groups"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cluster = Cluster(folder, groups, pathlib.Path(os.environ["CAIRN_BINARY"]))
    rows = []

    def report(row, value, unit):
        bound = next((bound for name, bound in BOUNDS.items() if row.startswith(name)), None)
        verdict = "" if bound is None else f"  (bound {bound:g}: {'met' if value < bound else 'MISSED'})"
        print(f"{row:<58} {value:>10.2f} {unit}{verdict}", flush=True)
        rows.append({"row": row, "ours": round(value, 3), "peer": None, "unit": unit, "ratio": None})

    def report_state(row):
        share = cluster.wait_until_quiet(15 if arguments.quick else 60)
        report(f"{row}: quiet replicas", 100 * share, "%")
        for node, percent in zip(cluster.up, cluster.idle_cpu(idle_seconds)):
            report(f"{row}: idle CPU of node {node.number}" if row != "idle" else f"idle CPU of node {node.number}", percent,
                   "% of a core")

    try:
        machine = f"{os.cpu_count()} cores of {cpu_name()}"
        print(f"{machine}; {NODES} nodes with {groups} groups of three replicas each, on one machine\n")
        answered, led = cluster.start()
        report("first start: every node answers", answered, "s")
        report("first start: every group has a leader", led, "s")
        report_state("idle")
        for node in cluster.up:
            report(f"memory of node {node.number}", node.resident_bytes() / 2**20, "MiB")
            report(f"file descriptors of node {node.number}", node.descriptors(), "")

        first, second = cluster.nodes[0], cluster.nodes[1]
        draw = random.Random(1)
        # Documents of a collection are spread over all groups by a hash.
        ids = [draw.randrange(2**62) for _ in range(2 * arguments.sample)]
        first_writes(first.client, ids[:1])
        cluster.wait_until_quiet()
        cold = [1000 * s for s in first_writes(first.client, ids[1:arguments.sample])]
        warm = [1000 * s for s in first_writes(first.client, ids[1:arguments.sample])]
        report("first write to a quiet group, median", statistics.median(cold), "ms")
        report("first write to a quiet group, 99th of 100", percentile(cold, 0.99), "ms")
        report("second write, median", statistics.median(warm), "ms")

        cluster.wait_until_quiet()
        killed = time.monotonic()
        cluster.nodes[2].end(signal.SIGKILL)
        outage = first_writes(first.client, ids[arguments.sample:])
        report("first writes to all groups of the sample after SIGKILL", time.monotonic() - killed, "s")
        report("longest wait of one of them", 1000 * max(outage), "ms")
        begun = time.monotonic()
        cluster.wait_for_leaders()
        report("every group has a leader after SIGKILL", time.monotonic() - killed, "s")
        report_state("one node down")

        cluster.stop()
        answered, led = cluster.start()
        report("restart: every node answers", answered, "s")
        report("restart: every group has a leader", led, "s")
        cluster.stop(signal.SIGKILL)
        answered, led = cluster.start()
        report("restart after SIGKILL: every node answers", answered, "s")
        report("restart after SIGKILL: every group has a leader", led, "s")
        report_state("after restarts")
    finally:
        cluster.stop(signal.SIGKILL)
        if not os.environ.get("CAIRN_BENCH_KEEP"):
            shutil.rmtree(folder, ignore_errors=True)
    print()
    print(json.dumps({"bench": "groups", "machine": machine, "groups": groups, "rows": rows, "geomean": None}))


def cpu_name():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


if __name__ == "__main__":
    main()
