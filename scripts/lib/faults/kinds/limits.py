"""Too little of what the kernel gives."""

import contextlib
import os
import pathlib
import shutil
import time

from faults.fault import Fault, registered

FEW_DESCRIPTORS = 160


@registered
class FewDescriptors(Fault):
    name = "few-descriptors"
    about = "one node may open few files and connections, fewer than it has clients and tables"
    seconds = (6.0, 12.0)

    @classmethod
    def missing(cls, nodes):
        return super().missing(nodes) or (None if shutil.which("prlimit") else "needs prlimit, of util-linux")

    def inject(self):
        self.victim = self.any_node()
        self.cluster.stop(self.victim)
        self.cluster.nodes[self.victim].prefix = ["prlimit", f"--nofile={FEW_DESCRIPTORS}:{FEW_DESCRIPTORS}"]
        self.cluster.start_node(self.victim)
        return f"node {self.victim}: {FEW_DESCRIPTORS} descriptors"

    def mend(self):
        self.cluster.stop(self.victim)
        self.cluster.nodes[self.victim].prefix = []
        self.cluster.start_node(self.victim)


@registered
class LittleMemory(Fault):
    name = "little-memory"
    about = "one node gets little memory (a control group of its own); the kernel may end it"
    needs_root = True
    seconds = (6.0, 12.0)

    @classmethod
    def missing(cls, nodes):
        return super().missing(nodes) or (None if cls.place() else "needs control groups of memory")

    @staticmethod
    def place():
        """The folder of control groups, and the name of the file with the limit; None where there are none."""
        old, new = pathlib.Path("/sys/fs/cgroup/memory"), pathlib.Path("/sys/fs/cgroup")
        if os.access(old / "memory.limit_in_bytes", os.W_OK):
            return old, "memory.limit_in_bytes"
        with contextlib.suppress(OSError):
            if "memory" in (new / "cgroup.subtree_control").read_text().split() and os.access(new, os.W_OK):
                return new, "memory.max"
        return None

    def inject(self):
        parent, limit = self.place()
        self.victim = self.any_node()
        mebibytes = self.random.choice((48, 96, 160))
        self.group = parent / f"cairn-faults-{os.getpid()}"
        self.group.mkdir(exist_ok=True)
        self.cluster.at_end.append(self.give_back)
        (self.group / limit).write_text(str(mebibytes << 20))
        node = self.cluster.nodes[self.victim]
        self.cluster.stop(self.victim)
        node.may_end = True
        node.prefix = ["sh", "-c", f'echo $$ >{self.group}/cgroup.procs && exec "$@"', "sh"]
        self.cluster.start_node(self.victim)
        return f"node {self.victim}: {mebibytes} MiB"

    def mend(self):
        node = self.cluster.nodes[self.victim]
        self.cluster.kill(self.victim)
        node.prefix, node.may_end = [], False
        self.give_back()
        self.cluster.start_node(self.victim)

    def give_back(self):
        # Empty a moment after its last process has ended.
        for _ in range(20):
            try:
                self.group.rmdir()
                return
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.05)
