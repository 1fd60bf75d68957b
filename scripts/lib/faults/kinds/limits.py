"""Too little of what the kernel gives."""

import shutil

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
