"""One run: a cluster, clients that work on it, faults, and the judges."""

import contextlib
import dataclasses
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from pymongo import MongoClient

from faults import fault, history, kinds, schedule, workload, workloads  # noqa: F401
from faults.checkers import whole
from faults.cluster import Cluster, Trouble, die_with_parent
from faults.wiring import Loopback, Namespaces

TICK_SECONDS = 0.25
SAMPLE_SECONDS = 0.5
# Clients go on so long after the last fault.
AFTERMATH_SECONDS = 12.0
# What all searches of a run's checkers may take together.
SEARCH_SECONDS = 60.0


@dataclasses.dataclass
class Band:
    """A fault as it happened; moments are seconds since the workloads began."""

    fault: str
    text: str
    began: float
    ended: float
    mended: float


@dataclasses.dataclass
class Outcome:
    """Everything that a report tells."""

    command: str
    what: str
    seed: int
    nodes: int
    minutes: float
    wiring: str
    version: str
    began: float = 0.0
    bands: list = dataclasses.field(default_factory=list)
    # (moment, group -> leader)
    leaders: list = dataclasses.field(default_factory=list)
    histories: dict = dataclasses.field(default_factory=dict)
    verdicts: list = dataclasses.field(default_factory=list)
    folder: pathlib.Path | None = None

    @property
    def is_good(self):
        return all(verdict.kept is not False for verdict in self.verdicts)


class Workers:
    """A process of clients for each workload."""

    def __init__(self, names, cluster, folder, seed, began):
        self.cluster, self.folder, self.processes = cluster, folder, {}
        self.tell_addresses()
        for name in names:
            process = subprocess.Popen(
                [sys.executable, "-m", "faults.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                start_new_session=True, preexec_fn=die_with_parent)
            self.processes[name] = process
            process.stdin.write(json.dumps({
                "workload": name, "folder": str(folder), "seed": seed, "began": began}) + "\n")
            process.stdin.flush()

    def tell_addresses(self):
        """Which nodes there are now; clients look when they connect anew."""
        new = self.folder / "addresses.new"
        new.write_text(json.dumps([node.client for node in self.cluster.nodes.values()]))
        new.rename(self.folder / "addresses")

    def stop(self):
        """Lets every client finish what it does; fails if one of them made a mistake of its own."""
        for process in self.processes.values():
            with contextlib.suppress(OSError):
                process.stdin.close()
        failures = []
        for name, process in self.processes.items():
            printed = process.stdout.read()
            if process.wait() != 0:
                failures.append(f"the workload {name} failed: {printed[-2000:]}")
        self.processes = {}
        if failures:
            raise Trouble("\n".join(failures))

    def kill(self):
        for process in self.processes.values():
            process.kill()
            process.wait()


class Sampler(threading.Thread):
    """Asks who leads what, for as long as the run goes on."""

    def __init__(self, cluster, outcome):
        super().__init__(daemon=True)
        self.cluster, self.outcome, self.stopped = cluster, outcome, threading.Event()

    def run(self):
        while not self.stopped.wait(SAMPLE_SECONDS):
            moment = history.now()
            self.outcome.leaders.append((moment - self.outcome.began, self.cluster.leaders_in(self.cluster.statuses(0.4))))

    def stop(self):
        self.stopped.set()
        if self.is_alive():
            self.join()


class Run:
    """Makes a cluster, breaks it, judges it, and removes it, whatever happens."""

    def __init__(self, root, what, seed, minutes, nodes, workload_names, say, keep=False):
        self.root, self.keep, self.say = root, keep, say
        self.faults = self.chosen(what, nodes)
        self.each_once = what == "all"
        if minutes is None:
            minutes = 0.3 * len(self.faults) if self.each_once else 1.0
        self.workloads = {name: workload.REGISTRY[name]() for name in workload_names}
        command = f"scripts/faults run {what} --seed {seed} --minutes {minutes:g} --nodes {nodes}"
        if set(workload_names) != set(workload.REGISTRY):
            command += f" --workloads {','.join(workload_names)}"
        binary = pathlib.Path(os.environ["CAIRN_BINARY"]).absolute()
        version = subprocess.run([binary, "--version"], text=True, capture_output=True, check=True).stdout.strip()
        self.parent = pathlib.Path(os.environ.get("CAIRN_FAULTS_DIR", root / ".cairn-faults")).absolute()
        self.parent.mkdir(parents=True, exist_ok=True)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=self.parent))
        self.wiring = Namespaces() if os.geteuid() == 0 else Loopback()
        self.cluster = Cluster(root, binary, self.folder, nodes, self.wiring)
        self.outcome = Outcome(command, what, seed, nodes, minutes, self.wiring.name, version, folder=self.folder)
        self.workers = self.sampler = None

    @staticmethod
    def chosen(what, nodes):
        possible = [kind for kind in fault.REGISTRY.values() if not kind.missing(nodes)]
        if what == "all":
            return possible
        if what == "random":
            # What takes minutes for one time is for those who ask for it.
            return [kind for kind in possible if kind.seconds[0] < 20]
        if what not in fault.REGISTRY:
            raise Trouble(f"there is no fault '{what}'; see scripts/faults list")
        if reason := fault.REGISTRY[what].missing(nodes):
            raise Trouble(f"{what} cannot be had here: it {reason}")
        return [fault.REGISTRY[what]]

    def make(self):
        """The run. Its folder stays if something went wrong."""
        try:
            self.work()
            self.judge()
            self.note(f"{sum(len(o) for o in self.outcome.histories.values())} operations, {len(self.outcome.bands)} faults")
        finally:
            if self.sampler:
                self.sampler.stop()
            if self.workers:
                self.workers.kill()
            self.cluster.remove()
        return self.outcome

    def clean_up(self, is_good):
        """Removes the folder when nobody has a reason to look into it."""
        if is_good and not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.parent.rmdir()

    def note(self, text):
        moment = f"{history.now() - self.outcome.began:7.1f} s  " if self.outcome.began else ""
        self.say(f"{moment}{text}")

    # The faults.

    def work(self):
        outcome, cluster = self.outcome, self.cluster
        self.note(f"{outcome.nodes} nodes start; their folder is {self.folder}")
        cluster.start()
        with MongoClient(cluster.uri) as client:
            for task in self.workloads.values():
                task.prepare(client[workload.DATABASE])
        plan = schedule.draw(self.faults, outcome.seed, outcome.minutes * 60, self.each_once)
        outcome.began = history.now()
        histories = self.folder / "histories"
        histories.mkdir()
        self.workers = Workers(self.workloads, cluster, histories, outcome.seed, outcome.began)
        self.sampler = Sampler(cluster, outcome)
        self.sampler.start()
        self.wait_until(outcome.began + schedule.WARM_UP_SECONDS)
        self.baseline = {number: (cluster.descriptors(number), cluster.resident_bytes(number)) for number in cluster.numbers}
        shift = 0.0
        for episode in plan:
            # A fault that took longer than was drawn moves those after it.
            self.wait_until(outcome.began + episode.begins + shift)
            self.happen(episode)
            shift = max(shift, history.now() - outcome.began - episode.begins - episode.seconds)
        self.mended = history.now()
        self.wait_until(self.mended + AFTERMATH_SECONDS)
        self.workers.stop()
        self.sampler.stop()
        cluster.notice_ends()
        outcome.histories = {name: history.load(histories, name) for name in self.workloads}

    def wait_until(self, moment):
        while (left := moment - history.now()) > 0:
            time.sleep(min(left, TICK_SECONDS))
            self.cluster.notice_ends()

    def happen(self, episode):
        kind = fault.REGISTRY[episode.fault](self.cluster, random.Random(episode.seed))
        began = history.now()
        text = kind.inject()
        self.note(f"{episode.fault}: {text} ({episode.seconds:.1f} s)")
        while history.now() < began + episode.seconds:
            time.sleep(min(TICK_SECONDS, max(0.0, began + episode.seconds - history.now())))
            kind.tick()
            self.cluster.notice_ends()
        ended = history.now()
        kind.mend()
        self.cluster.mend()
        self.workers.tell_addresses()
        start = self.outcome.began
        self.outcome.bands.append(Band(episode.fault, text, began - start, ended - start, history.now() - start))

    # The judges.

    def judge(self):
        outcome, cluster = self.outcome, self.cluster
        self.note("the clients have stopped; the checkers look at what they were told and at what is there")
        led_again = next((moment for moment, leaders in outcome.leaders
                          if moment >= self.mended - outcome.began and leaders and all(leaders.values())), None)
        verdicts = outcome.verdicts
        verdicts.append(whole.progress_verdict(
            outcome.histories, None if led_again is None else led_again + outcome.began, self.mended))
        with MongoClient(cluster.uri, serverSelectionTimeoutMS=20000) as client:
            db = client[workload.DATABASE]
            for name, task in self.workloads.items():
                verdicts += task.verdicts(outcome.histories[name], task.read_back(db), SEARCH_SECONDS / len(self.workloads))
            verdicts.append(whole.indexes_verdict(db))
        verdicts.append(whole.replicas_verdict(cluster))
        verdicts.append(whole.resources_verdict(cluster, self.baseline))
        cluster.notice_ends()
        verdicts.append(whole.endings_verdict(cluster))
