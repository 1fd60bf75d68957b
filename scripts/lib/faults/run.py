"""One run: a cluster, clients that work on it, faults, and the judges."""

import contextlib
import dataclasses
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import tempfile
import threading
import time

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from faults import fault, history, kinds, schedule, workload, workloads  # noqa: F401
from faults.checkers import whole
from faults.checkers.verdict import Verdict
from faults.cluster import Cluster, Trouble, die_with_parent
from faults.wiring import Loopback, Namespaces

TICK_SECONDS = 0.25
SAMPLE_SECONDS = 0.5
# Clients go on so long after the last fault.
AFTERMATH_SECONDS = 12.0
# Whatever a client waits for, its own limits end that sooner.
STOP_SECONDS = 60.0
# A run of all faults takes so long for each, unless it is told otherwise.
MINUTES_EACH = 0.2
# What all searches of a run's checkers may take together, and what is added for each minute of the run.
SEARCH_SECONDS = 90.0
SEARCH_SECONDS_EACH_MINUTE = 45.0


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
    # The deliberate bugs that the nodes were told to have, by their names with commas between.
    defects: str | None = None
    # When the clients began, by the machine's monotonic clock; every other moment is counted from here.
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

    def __init__(self, workloads, cluster, folder, seed, began):
        self.cluster, self.folder, self.processes = cluster, folder, {}
        self.tell_addresses()
        for name, task in workloads.items():
            process = subprocess.Popen(
                task.worker, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
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
            # Nothing more is to be written there.
            process.stdin = None
        failures, deadline = [], time.monotonic() + STOP_SECONDS
        for name, process in self.processes.items():
            try:
                printed, _ = process.communicate(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                failures.append(f"the workload {name} did not end within {STOP_SECONDS:.0f} s: a client waits for ever")
                continue
            if process.returncode != 0:
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

    def __init__(self, root, what, seed, minutes, nodes, workload_names, say, keep=False, defects=None):
        self.keep, self.say = keep, say
        self.faults = chosen(what, nodes)
        self.each_once = what == "all"
        if minutes is None:
            minutes = MINUTES_EACH * len(self.faults) if self.each_once else 1.0
        self.workloads = {name: workload.REGISTRY[name]() for name in workload_names}
        command = f"scripts/faults run {what} --seed {seed} --minutes {minutes:g} --nodes {nodes}"
        if set(workload_names) != set(workload.REGISTRY):
            command += f" --workloads {','.join(workload_names)}"
        if defects:
            command += f" --defect {defects}"
        binary = pathlib.Path(os.environ["CAIRN_BINARY"]).absolute()
        version = subprocess.run([binary, "--version"], text=True, capture_output=True, check=True).stdout.strip()
        self.parent = pathlib.Path(os.environ.get("CAIRN_FAULTS_DIR", root / ".cairn-faults")).resolve()
        self.parent.mkdir(parents=True, exist_ok=True)
        unmount_leftovers(self.parent)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"run-{os.getpid()}-", dir=self.parent))
        wiring = Namespaces() if Namespaces.are_possible() else Loopback()
        self.cluster = Cluster(root, binary, self.folder, nodes, wiring, {"CAIRN_DEFECT": defects} if defects else None)
        self.outcome = Outcome(command, what, seed, nodes, minutes, wiring.name, version, defects, folder=self.folder)
        self.workers = self.sampler = None
        self.baseline, self.mended = {}, 0.0

    def make(self):
        """The run, from the first node's start to the last one's end."""
        try:
            self.start()
            self.break_and_mend()
            self.judge()
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

    def start(self):
        outcome, cluster = self.outcome, self.cluster
        self.note(f"{outcome.nodes} nodes start; their folder is {self.folder}")
        cluster.start()
        with MongoClient(cluster.uri) as client:
            for task in self.workloads.values():
                task.prepare(client[workload.DATABASE])
        self.histories = self.folder / "histories"
        self.histories.mkdir()
        outcome.began = history.now()
        self.workers = Workers(self.workloads, cluster, self.histories, outcome.seed, outcome.began)
        self.sampler = Sampler(cluster, outcome)
        self.sampler.start()

    def break_and_mend(self):
        outcome, cluster = self.outcome, self.cluster
        plan = schedule.draw(self.faults, outcome.seed, outcome.minutes * 60, self.each_once)
        self.wait_until(outcome.began + schedule.WARM_UP_SECONDS)
        self.baseline = {number: (cluster.descriptors(number), cluster.resident_bytes(number)) for number in cluster.numbers}
        late, name = 0.0, "the cluster can be mended"
        try:
            for episode in plan:
                # A fault that took longer than was drawn moves those after it.
                self.wait_until(outcome.began + episode.begins + late)
                self.happen(episode)
                late = max(late, history.now() - outcome.began - episode.begins - episode.seconds)
            outcome.verdicts.append(Verdict(name, True, f"{len(outcome.bands)} faults were"))
        except Trouble as trouble:
            self.note(str(trouble))
            outcome.verdicts.append(Verdict(name, False, f"not after {outcome.bands[-1].fault}", str(trouble).splitlines()))
            # What can be, so that there is something to judge.
            with contextlib.suppress(Trouble):
                cluster.mend()
        self.mended = history.now() - outcome.began
        self.wait_until(outcome.began + self.mended + AFTERMATH_SECONDS)
        self.workers.stop()
        self.sampler.stop()
        outcome.histories = {name: history.load(self.histories, name, outcome.began) for name in self.workloads}

    def wait_until(self, moment):
        while (left := moment - history.now()) > 0:
            time.sleep(min(left, TICK_SECONDS))
            self.cluster.notice_ends()

    def happen(self, episode):
        kind = fault.REGISTRY[episode.fault](self.cluster, random.Random(episode.seed))
        start, began = self.outcome.began, history.now()
        band = Band(episode.fault, "", began - start, began - start, began - start)
        self.outcome.bands.append(band)
        try:
            band.text = kind.inject()
            self.note(f"{episode.fault}: {band.text} ({episode.seconds:.1f} s)")
            while (left := began + episode.seconds - history.now()) > 0:
                time.sleep(min(TICK_SECONDS, left))
                kind.tick()
                self.cluster.notice_ends()
            band.ended = history.now() - start
            kind.mend()
            self.cluster.mend()
            self.workers.tell_addresses()
        finally:
            band.mended = history.now() - start
            band.ended = max(band.ended, band.began)

    # The judges.

    def judge(self):
        outcome, cluster = self.outcome, self.cluster
        self.note("the clients have stopped; the checkers look at what they were told and at what is there")
        leaderless_until = next((moment for moment, leaders in outcome.leaders
                                 if moment >= self.mended and leaders and all(leaders.values())), None)
        outcome.verdicts.append(whole.progress_verdict(outcome.histories, leaderless_until, self.mended))
        budget = (SEARCH_SECONDS + SEARCH_SECONDS_EACH_MINUTE * outcome.minutes) / len(self.workloads)
        with MongoClient(cluster.uri, serverSelectionTimeoutMS=20000) as client:
            db = client[workload.DATABASE]
            for name, task in self.workloads.items():
                self.ask(f"the workload {name}", lambda: task.verdicts(
                    outcome.histories[name], task.read_back(db), budget))
            self.ask("documents and index entries agree", lambda: [whole.indexes_verdict(db)])
        damage = whole.damage_verdict(cluster)
        outcome.verdicts.append(damage)
        # A damaged one would be waited for, and does not come.
        if damage.kept is not False:
            self.ask("all replicas are equal", lambda: [whole.replicas_verdict(cluster)])
        outcome.verdicts.append(whole.resources_verdict(cluster, self.baseline))
        cluster.notice_ends()
        outcome.verdicts.append(whole.endings_verdict(cluster))
        count = sum(len(operations) for operations in outcome.histories.values())
        self.note(f"{count} operations were judged")

    def ask(self, name, judge):
        """A judge who cannot see anything, because the cluster does not answer, has seen enough."""
        try:
            self.outcome.verdicts += judge()
        except (PyMongoError, Trouble) as failure:
            reason = f"{type(failure).__name__}: {failure}"
            self.outcome.verdicts.append(Verdict(name, False, "the cluster cannot be read", [reason]))


def chosen(what, nodes):
    """The kinds of faults that a run is about."""
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


def unmount_leftovers(parent):
    """Gives back the file systems of runs that were killed; their folders stay for whoever wants to know why."""
    for mount in pathlib.Path("/proc/mounts").read_text().splitlines():
        place = mount.split()[1]
        found = re.match(rf"{re.escape(str(parent))}/run-(\d+)-", place)
        if found and not os.path.exists(f"/proc/{found[1]}"):
            subprocess.run(["umount", place], check=False)
