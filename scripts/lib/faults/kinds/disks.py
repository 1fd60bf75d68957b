"""Disks that fail, dawdle, fill up, forget and lie.

In one run these befall one and the same node: a second damaged copy before the first was made anew is more than a cluster of
three promises to survive.
"""

import os
import shutil
import subprocess
import time

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from faults.checkers.whole import contents, lead_everything
from faults.cluster import Trouble
from faults.fault import Fault, registered
from faults.shim import CONTROL, build
from faults.workload import DATABASE

MIB = 1 << 20
HEAL_SECONDS = 120
ROOMY_BYTES = 8 << 30


def unlucky(fault):
    """The node of this run whose disk goes wrong."""
    cluster = fault.cluster
    if cluster.unlucky not in cluster.nodes:
        cluster.unlucky = fault.any_node()
    return cluster.unlucky


def heal(cluster, number):
    """Waits until a node has noticed what is damaged, and has got it anew. What is not read is not noticed, so all of it is
    read, and from this node."""
    deadline, last = time.monotonic() + HEAL_SECONDS, "nothing was read"
    while time.monotonic() < deadline:
        status = cluster.status(number)
        whole = status and all("failure" not in replica and number in replica["voters"] for replica in status["groups"])
        if whole and lead_everything(cluster, number, min(deadline, time.monotonic() + 20)):
            try:
                with MongoClient(cluster.uri, serverSelectionTimeoutMS=5000) as client:
                    contents(client[DATABASE])
                status = cluster.status(number)
                if status and not any("failure" in replica for replica in status["groups"]):
                    return
            except PyMongoError as failure:
                last = str(failure)[:200]
        time.sleep(0.3)
    raise Trouble(f"node {number} is not whole {HEAL_SECONDS} s after its disk was damaged; {last}")


class Disturbed(Fault):
    """Runs one node with a shim between it and its disk (see shim.c)."""

    @classmethod
    def missing(cls, nodes):
        return super().missing(nodes) or (None if shutil.which("cc") else "needs a C compiler, cc")

    def restart(self, pattern, sync=(0, 0, 0), write=(0, 0, 0), read=(0, 0, 0)):
        """Each operation: how many in a million fail, how many wait, and for how many milliseconds."""
        self.victim = unlucky(self)
        node, library = self.cluster.nodes[self.victim], build(self.cluster.folder)
        self.control = node.home / "shim"
        self.control.write_bytes(CONTROL.pack(*[0] * 9, b""))
        self.cluster.kill(self.victim)
        node.environment = {"LD_PRELOAD": str(library), "FAULTS_SHIM_CONTROL": str(self.control)}
        node.may_end = True
        self.cluster.start_node(self.victim)
        with open(self.control, "r+b") as file:
            file.write(CONTROL.pack(*sync, *write, *read, pattern.encode()))

    def mend(self):
        # The same file, which is mapped.
        with open(self.control, "r+b") as file:
            file.write(CONTROL.pack(*[0] * 9, b""))
        node = self.cluster.nodes[self.victim]
        self.cluster.kill(self.victim)
        node.environment, node.may_end = {}, False
        self.cluster.start_node(self.victim)


@registered
class SlowDisk(Disturbed):
    name = "slow-disk"
    about = "one node's syncs take long: many a little, or a few for seconds"

    def inject(self):
        milliseconds, often = self.random.choice(((30, 500_000), (300, 200_000), (3000, 20_000)))
        self.restart("/raft/" if self.random.random() < 0.5 else "/data/", sync=(0, often, milliseconds))
        return f"node {self.victim}: {often / 10_000:.0f} % of its syncs take {milliseconds} ms"


@registered
class BrokenDisk(Disturbed):
    name = "broken-disk"
    about = "one node's writes, syncs or reads fail now and then (EIO); it may end, and says which file"

    def inject(self):
        name, often = self.random.choice((("sync", 20_000), ("write", 5_000), ("read", 50_000)))
        self.restart("/data/", **{name: (often, 0, 0)})
        return f"node {self.victim}: {often / 10_000:.1f} % of its {name}s fail"

    def mend(self):
        super().mend()
        heal(self.cluster, self.victim)


@registered
class FullDisk(Fault):
    name = "full-disk"
    about = "one node's file system, a small one of its own, has little room left or none"
    needs_root = True

    @classmethod
    def missing(cls, nodes):
        if reason := super().missing(nodes):
            return reason
        # A mount namespace is for those who may mount.
        may_mount = subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0
        return None if may_mount else "needs to mount a file system"

    def inject(self):
        self.victim = unlucky(self)
        node = self.cluster.nodes[self.victim]
        if not os.path.ismount(node.data):
            self.move_to_own_disk(node)
        free = self.random.choice((24, 8, 0)) * MIB
        for _ in range(20):
            disk = os.statvfs(node.data)
            # Refused if the node has written so much meanwhile.
            if self.resize(node, (disk.f_blocks - disk.f_bfree) * disk.f_frsize + free):
                return f"node {self.victim} has {free // MIB} MiB left"
        raise Trouble(f"the disk of node {self.victim} cannot be made small")

    def mend(self):
        self.resize(self.cluster.nodes[self.victim], ROOMY_BYTES)

    def move_to_own_disk(self, node):
        """Mounts a file system in memory over the node's folder, with what was in the folder, and leaves it there for the run."""
        self.cluster.stop(node.number)
        kept = node.home / "kept"
        node.data.rename(kept)
        node.data.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOMY_BYTES}", "cairn-faults", node.data], check=True)
        shutil.copytree(kept, node.data, dirs_exist_ok=True)
        shutil.rmtree(kept)
        self.cluster.start_node(node.number)

    @staticmethod
    def resize(node, size):
        done = subprocess.run(["mount", "-o", f"remount,size={size}", node.data], capture_output=True)
        return done.returncode == 0


@registered
class BitFlips(Fault):
    name = "bit-flips"
    about = "while one node is down, bits flip in its tables, its manifests or its Raft log"
    seconds = (5.0, 10.0)
    places = {"tables": "groups/*/tablet*/*.sst", "manifests": "groups/*/tablet*/MANIFEST-*", "log segments": "raft/segment-*"}

    def files(self, data, what):
        return sorted(path for path in data.glob(self.places[what]) if not path.name.endswith(".new"))

    def inject(self):
        self.victim = unlucky(self)
        data = self.cluster.nodes[self.victim].data
        self.cluster.kill(self.victim)
        what = self.random.choice(list(self.places))
        if not self.files(data, what):
            what = "log segments"
        files = self.files(data, what)
        chosen = self.random.sample(files, min(len(files), self.random.randint(1, 2)))
        for path in chosen:
            # What is preallocated and not used is nobody's loss.
            used = len(path.read_bytes().rstrip(b"\0"))
            for _ in range(self.random.randint(1, 3)):
                if used:
                    flip(path, self.random.randrange(used), self.random.randrange(8))
        self.cluster.start_node(self.victim)
        return f"node {self.victim}: {what} ({', '.join(str(path.relative_to(data)) for path in chosen)})"

    def mend(self):
        heal(self.cluster, self.victim)


def flip(path, offset, bit):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))
