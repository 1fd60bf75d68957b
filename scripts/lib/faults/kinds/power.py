"""Power that goes: processes die, and what they had not synced is gone."""

import shutil
import time

from faults.fault import Fault, registered
from faults.shim import CONTROL, build, cut_power, noting

# A disk that takes its time, so that there is more that is not synced: of a million syncs so many take so many milliseconds.
SLOW_SYNCS = (300_000, 100)


@registered
class PowerCut(Fault):
    name = "power-cut"
    about = ("again and again all nodes at once, or as many as the cluster can do without, die by SIGKILL and lose what they "
             "have not synced: all of it, or some of its sectors")
    seconds = (8.0, 14.0)

    @classmethod
    def missing(cls, nodes):
        return super().missing(nodes) or (None if shutil.which("cc") else "needs a C compiler, cc")

    def inject(self):
        cluster, library = self.cluster, build(self.cluster.folder)
        cluster.kill(*cluster.numbers)
        for number in cluster.numbers:
            node = cluster.nodes[number]
            control = node.home / "shim"
            control.write_bytes(CONTROL.pack(0, *SLOW_SYNCS, *[0] * 6, b"/raft/"))
            node.environment = {**noting(library, node.data, node.home / "undo"), "FAULTS_SHIM_CONTROL": str(control)}
        self.start()
        return "changing nodes"

    def tick(self):
        if time.monotonic() < self.next:
            return
        self.cut()
        self.start()

    def mend(self):
        # Once at least it befalls all of them amid the clients' work.
        self.cluster.wait_for_leaders(60)
        time.sleep(1.0)
        self.cut(self.cluster.numbers)
        for node in self.cluster.nodes.values():
            node.environment = {}
            shutil.rmtree(node.home / "undo", ignore_errors=True)

    def cut(self, victims=None):
        if not victims:
            victims = self.cluster.numbers if self.random.random() < 0.5 else self.minority()
        kept = self.random.choice((0.0, 0.0, 0.5))
        self.cluster.kill(*victims)
        for number in victims:
            node = self.cluster.nodes[number]
            cut_power(node.data, node.home / "undo", self.random, kept)

    def start(self):
        for number in self.cluster.numbers:
            self.cluster.start_node(number, wait=False)
        for number in self.cluster.numbers:
            self.cluster.wait_until_listening(number)
        # Sometimes amid the election, mostly amid the clients' work.
        self.next = time.monotonic() + self.random.uniform(0.5, 3.5)
