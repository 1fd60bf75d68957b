"""Wall clocks that jump."""

import glob

from faults.fault import Fault, registered

FAKETIME = "/usr/lib/*/faketime/libfaketimeMT.so.1"


@registered
class ClockJumps(Fault):
    name = "clock-jumps"
    about = "one node's wall clock jumps, by a second or by an hour, forwards and back"
    seconds = (8.0, 15.0)

    @classmethod
    def missing(cls, nodes):
        return super().missing(nodes) or (None if glob.glob(FAKETIME) else "needs Debian's package faketime")

    def inject(self):
        self.victim = self.any_node()
        self.clock = self.cluster.folder / f"node-{self.victim}" / "clock"
        self.clock.write_text("+0")
        self.cluster.kill(self.victim)
        self.cluster.nodes[self.victim].environment = {
            "LD_PRELOAD": glob.glob(FAKETIME)[0], "FAKETIME_TIMESTAMP_FILE": str(self.clock), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        self.cluster.start_node(self.victim)
        self.countdown = 0
        return f"node {self.victim}"

    def tick(self):
        self.countdown -= 1
        if self.countdown < 0:
            self.countdown = self.random.randrange(4, 12)
            self.clock.write_text(self.random.choice(("+0", "-2", "+2", "+20", "-20", "+3600", "-3600")))

    def mend(self):
        self.cluster.kill(self.victim)
        self.cluster.nodes[self.victim].environment = {}
        self.cluster.start_node(self.victim)
